package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/override"
)

const (
	pathPreview = pathSettings + "/preview"
	pathHistory = pathSettings + "/history"
	pathCompare = pathSettings + "/compare"
	pathRevert  = pathSettings + "/revert"

	titleSettings = "Authentication Settings"

	adminSettings = "/admin/settings"
)

func settingsRoutes() []route {
	return []route{
		{"GET " + pathSettings, operator.RoleOperator, (*visit).settings},
		{"POST " + pathSettings, operator.RoleOperator, (*visit).saveSettings},
		{"GET " + pathPreview, operator.RoleOperator, (*visit).settings}, // somebody loads it again
		{"POST " + pathPreview, operator.RoleOperator, (*visit).previewSettings},
		{"GET " + pathHistory, operator.RoleOperator, (*visit).settingsHistory},
		{"GET " + pathCompare, operator.RoleOperator, (*visit).compareSettings},
		{"GET " + pathRevert, operator.RoleOperator, (*visit).previewRevert},
		{"POST " + pathRevert, operator.RoleOperator, (*visit).revertSettings},
	}
}

// settingsChange is what the admin API is asked to save: a change of what was seen.
type settingsChange struct {
	Revision int64 `json:"revision"`
	override.Change
}

// settingsView is the page of the settings: what is in force, what an operator
// wants instead, and what that does.
type settingsView struct {
	visit *visit
	now   override.Snapshot
	draft draft
	// changes are the operator's; others those that somebody else has saved since
	// the operator looked.
	changes, others []change
	effect          comparison
	refused         []string
	// failed says why what would be cannot be shown: then nothing can be saved.
	failed error
}

// settings shows what is in force.
func (v *visit) settings() error {
	now := load[override.Snapshot](v, adminSettings, nil)
	content := settingsMissing(now.err)
	if now.err == nil {
		content = settingsPage(settingsView{visit: v, now: now.value, effect: compare(now.value.Effect, now.value.Effect)})
	}
	v.show(http.StatusOK, titleSettings, pathSettings, content)
	return nil
}

// previewSettings shows what a form would do, and saves nothing.
func (v *visit) previewSettings() error {
	view, err := v.drafted()
	if err != nil {
		return err
	}
	v.preview(&view)
	if v.r.Header.Get("HX-Request") != "" {
		v.draw(http.StatusOK, settingsEffect(view, true))
		return nil
	}
	v.show(http.StatusOK, titleSettings, pathSettings, settingsPage(view))
	return nil
}

// drafted reads a form and holds it against what is in force.
func (v *visit) drafted() (settingsView, error) {
	view := settingsView{visit: v}
	form, err := v.form()
	if err != nil {
		return view, err
	}
	if err := v.get(adminSettings, nil, &view.now); err != nil {
		return view, err
	}
	view.draft = readDraft(form)
	view.changes = view.draft.changes(view.now.Settings)
	view.others = view.draft.others(view.now.Settings)
	return view, nil
}

// preview asks what the changes would do.
func (v *visit) preview(view *settingsView) {
	view.effect = compare(view.now.Effect, view.now.Effect)
	if len(view.changes) == 0 {
		return
	}
	var p override.Preview
	err := v.ask(http.MethodPost, adminSettings+"/preview", nil, wanted(view.changes), &p)
	if reasons := reasonsOf(err); len(reasons) > 0 {
		p.Today, p.Refused, err = view.now.Effect, reasons, nil
	}
	view.failed, view.refused = err, p.Refused
	switch {
	case err != nil:
	case len(p.Refused) > 0:
		view.effect = compare(p.Today, p.Today)
	default:
		view.effect = compare(p.Today, p.After)
	}
}

// reasonsOf is why what was asked for cannot hold, nothing for other errors.
func reasonsOf(err error) []string {
	refused, ok := asRefusal(err)
	switch {
	case !ok || refused.Status != http.StatusBadRequest:
		return nil
	case len(refused.Reasons) > 0:
		return refused.Reasons
	case refused.Reason != "":
		return []string{refused.Reason}
	}
	return nil
}

// saveSettings saves what was previewed. Where somebody else has saved since, or it
// cannot hold, the page says so and shows what would be now.
func (v *visit) saveSettings() error {
	view, err := v.drafted()
	if err != nil {
		return err
	}
	if len(view.changes) == 0 {
		return v.done(pathSettings, "Nothing was to be changed: all of it is in force already.")
	}
	body := settingsChange{view.draft.seen, wanted(view.changes)}
	var saved override.Snapshot
	err = v.ask(http.MethodPatch, adminSettings, nil, body, &saved)
	if err == nil {
		return v.done(pathSettings, savedNotice(saved))
	}
	status, ok := mendable(err)
	if !ok {
		return err
	}
	view, failed := v.drafted() // upon what is in force now
	if failed != nil {
		return failed
	}
	v.preview(&view)
	if len(view.refused) == 0 {
		view.refused = reasonsOf(err)
	}
	v.show(status, titleSettings, pathSettings, settingsPage(view))
	return nil
}

// mendable tells whether an operator can mend a refusal on the page, and its status.
func mendable(err error) (status int, ok bool) {
	refused, ok := asRefusal(err)
	if !ok {
		return 0, false
	}
	return refused.Status, refused.Status == http.StatusConflict || refused.Status == http.StatusBadRequest
}

// savedNotice says what a save has come to in this process, which is what it knows.
func savedNotice(saved override.Snapshot) string {
	if len(saved.Refused) > 0 {
		return fmt.Sprintf("Saved as revision %d, which is not in force here: %s", saved.Revision.Number, sentence(strings.Join(saved.Refused, "; ")))
	}
	return fmt.Sprintf("Saved as revision %d, and in force here. The other processes look within a second, or within ten where the bus is away.", saved.Revision.Number)
}

// stale tells whether somebody else has saved since the operator looked.
func (s settingsView) stale() bool { return s.draft.read && s.draft.seen != s.now.Revision.Number }

// savable tells whether what is shown can be saved.
func (s settingsView) savable() bool {
	return len(s.changes) > 0 && len(s.refused) == 0 && s.failed == nil
}

// keepsSocial tells whether social sign-up goes on to sign people in although the
// operator wants sign-in after registration off.
func (s settingsView) keepsSocial() bool {
	off := slices.ContainsFunc(s.changes, func(c change) bool { return c.Name == override.SignIn && c.to == "false" })
	social, ok := stateOf(s.now, override.SocialSignIn)
	return off && ok && s.shown(social) == "true"
}

// shown is what the field of a setting holds: what the operator wants, else what is
// in force.
func (s settingsView) shown(state override.State) string {
	for _, c := range s.changes {
		if c.Name == state.Name {
			return c.to
		}
	}
	return standing(state)
}

// resets tells whether a setting is to be as the file says.
func (s settingsView) resets(name string) bool {
	return slices.ContainsFunc(s.changes, func(c change) bool { return c.Name == name && c.reset })
}

// stateOf is that of a setting; false if this version does not have it.
func stateOf(n override.Snapshot, name string) (override.State, bool) {
	at := slices.IndexFunc(n.Settings, func(s override.State) bool { return s.Name == name })
	if at < 0 {
		return override.State{}, false
	}
	return n.Settings[at], true
}

// settingsGroup are settings under one heading.
type settingsGroup struct {
	title, lead string
	settings    []override.State
}

// groupsOf are all settings but the first, in the order of the page.
func groupsOf(n override.Snapshot) []settingsGroup {
	groups := []settingsGroup{
		{title: "Verification gate", lead: "Whether a login needs a verified address. The session that comes with the registration bypasses it, once; the next login does not."},
		{title: "Social sign-in", lead: "Whoever registers through a provider is signed in by itself, also where the switch above is off."},
		{title: "When the session cannot be issued", lead: "The account exists then in either case: what differs is what the person is told."},
		{title: "Registration", lead: "Whether somebody can register at all."},
		{title: "Lifetimes", lead: "For what begins after saving; what has begun keeps its time. Such as 24h, 90m or 7d."},
		{title: "Other settings"},
	}
	for _, s := range n.Settings {
		if s.Name == override.SignIn {
			continue
		}
		at := groupOf(s.Setting)
		groups[at].settings = append(groups[at].settings, s)
	}
	return slices.DeleteFunc(groups, func(g settingsGroup) bool { return len(g.settings) == 0 })
}

// groupOf is the place of a setting among the groups.
func groupOf(s override.Setting) int {
	switch {
	case s.Name == override.Gate, s.Kind == override.Switch && strings.Contains(s.Name, ".verification."):
		return 0
	case s.Name == override.SocialSignIn:
		return 1
	case strings.HasSuffix(s.Name, "on_failure"):
		return 2
	case s.Kind == override.Duration:
		return 4
	case strings.Contains(s.Name, "registration"):
		return 3
	}
	return 5
}

// revisionOf reads the number of a revision, 0 for none.
func revisionOf(values url.Values, name string) int64 {
	n, err := strconv.ParseInt(values.Get(name), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
