package console_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/override"
)

// form is what a browser sends of the page of the settings, with what the operator
// has changed: a switch by "on" or "off".
func (s *savedSettings) form(change map[string]string, reset ...string) url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	form := url.Values{"revision": {fmt.Sprint(s.newest().Number)}, "reset": reset}
	for _, state := range s.states(s.values()) {
		if state.Source == override.Locked {
			continue
		}
		value := fmt.Sprint(state.Value)
		form.Set("was:"+state.Name, value)
		if wanted, ok := change[state.Name]; ok {
			value = wanted
		}
		switch value {
		case "true", "on":
			form.Set("value:"+state.Name, "true")
		case "false", "off": // as browsers send a checkbox that is not checked
		default:
			form.Set("value:"+state.Name, value)
		}
	}
	return form
}

// saveForm is what the button Save of a page sends: all hidden fields of that form.
func saveForm(t *testing.T, p page) url.Values {
	t.Helper()
	form := url.Values{}
	for _, field := range hiddenOfSave.FindAllStringSubmatch(p.text, -1) {
		form.Add(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	if len(form) == 0 {
		t.Fatalf("the page has nothing to save:\n%s", p.text)
	}
	return form
}

var hiddenOfSave = regexp.MustCompile(`<input type="hidden" form="save" name="([^"]*)" value="([^"]*)"`)

func (p page) lacks(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(p.text, text) {
			t.Errorf("page has %q:\n%s", text, p.text)
		}
	}
}

const saveButton = `form="save">Save</button>`

func TestSettingsPageShowsWhatIsInForce(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.saves("ann", override.Values{lifespan: "12h0m0s"})
	s.settings[4].Source = override.Locked
	p := w.visit("bob", settingPage)
	p.wants(t, http.StatusOK,
		"Sign In After Registration", `role="switch"`, "anybody can tell an address that has an account", "security.account_enumeration.mitigate: true",
		"goes on to sign people in while it is off", "From 1 s to 30 d.", `name="was:sign_in_after_registration" value="true"`,
		"As the file says: <span dir=\"auto\">24 h</span>", "console.locked", "degrade", "What happens today", "signed in",
		`hx-post="/console/settings/preview"`, `action="/console/settings/preview#effect"`,
	)
	p.lacks(t, saveButton, "was:"+enabled, "Asynchronous hooks affected")
	if at := strings.Index(p.text, `role="switch"`); at > strings.Index(p.text, "<h2") {
		t.Error("the first switch does not come first")
	}
	if !regexp.MustCompile(`name="value:` + regexp.QuoteMeta(enabled) + `" value="true" checked disabled`).MatchString(p.text) {
		t.Errorf("a locked setting can be changed:\n%s", p.text)
	}
}

// TestPreview: each kind of setting, before anything is saved, with and without
// JavaScript.
func TestPreview(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change map[string]string
		wants  []string
		lacks  []string
	}{
		"sign in off": {
			map[string]string{override.SignIn: "off"},
			[]string{
				"The steps, in order", `class="removed"`, "last in the answer", "Fields, cookies and an example", "ory_st_EXAMPLE", "not signed in",
				"stays on <strong>by itself</strong>", "Registration with a password", "Apps and browsers alike",
			},
			[]string{"New warnings"},
		},
		"social off":       {map[string]string{override.SocialSignIn: "off"}, []string{"Registration through a provider", `class="removed"`, "session (by itself)"}, []string{"stays on <strong>"}},
		"gate on":          {map[string]string{override.Gate: "on"}, []string{"Login with a password", `class="added"`, "require_verified_address"}, []string{`class="removed"`}},
		"choice":           {map[string]string{onFailure: "fail"}, []string{">degrade</s>", ">fail</strong>", "stay the same"}, []string{"After saving"}},
		"duration":         {map[string]string{lifespan: "7d"}, []string{">24 h</s>", ">7 d</strong>", "same fields, other values"}, []string{`class="added"`}},
		"registration off": {map[string]string{enabled: "off"}, []string{">off</strong>"}, nil},
	} {
		for _, script := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, script %v", name, script), func(t *testing.T) {
				t.Parallel()
				w, s := withSettings(t)
				p := w.preview(s.form(tt.change), script)
				p.wants(t, http.StatusOK, append(tt.wants, saveButton, "1 change", "not saved", "Asynchronous hooks affected: <strong>none</strong>")...)
				p.lacks(t, tt.lacks...)
				if whole := strings.Contains(p.text, "<html"); whole == script {
					t.Errorf("a whole page: %v, want %v", whole, !script)
				}
				if swapped := strings.Contains(p.text, `hx-swap-oob="innerHTML"`); swapped != script {
					t.Errorf("the bar that saves is swapped: %v, want %v", swapped, script)
				}
				if slices.ContainsFunc(w.asked, func(asked string) bool { return strings.HasPrefix(asked, "PATCH") }) {
					t.Errorf("a preview has saved: %q", w.asked)
				}
			})
		}
	}
}

func (w *world) preview(form url.Values, script bool) page {
	r := httptest.NewRequest(http.MethodPost, "https://admin.example/console/settings/preview", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if script {
		r.Header.Set("HX-Request", "true")
	}
	return w.send("bob", r)
}

func TestPreviewOfNothingShowsToday(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	p := w.preview(s.form(nil), true)
	p.wants(t, http.StatusOK, "What happens today", "Nothing is changed yet.")
	p.lacks(t, saveButton)
}

// TestPreviewNamesHooksThatAreAffected: it is compared, not claimed.
func TestPreviewNamesHooksThatAreAffected(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.lost = true
	p := w.preview(s.form(map[string]string{override.SignIn: "off"}), true)
	p.wants(t, http.StatusOK, "Asynchronous hooks affected: <strong>1</strong>", "web_hook crm (identity.created), with a password: would not run any more")
	p.lacks(t, "<strong>none</strong>")
}

func TestSave(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.saves("ann", override.Values{lifespan: "12h0m0s", override.Gate: true})
	p := w.preview(s.form(map[string]string{override.SignIn: "off", onFailure: "fail"}, lifespan), false)
	p.wants(t, http.StatusOK, "3 changes", "as the file says")
	p = w.submit("bob", settingPage, saveForm(t, p))
	p.wants(t, http.StatusSeeOther)
	if want := `{"revision":1,"set":{"session.issue.on_failure":"fail","sign_in_after_registration":false},"reset":["session.lifespan"]}`; len(s.patched) != 1 || s.patched[0] != want {
		t.Errorf("asked to save %q, want %s", s.patched, want)
	}
	if got := w.actors[len(w.actors)-1]; got != "admin:bob" {
		t.Errorf("saved as %q", got)
	}
	r := httptest.NewRequest(http.MethodGet, "https://admin.example/console/settings", nil)
	for _, cookie := range p.Cookies() {
		r.AddCookie(cookie)
	}
	w.send("bob", r).wants(t, http.StatusOK, "Saved as revision 2, and in force here.")
}

func TestWhatCannotHoldIsNotSaved(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.refuse = func(v override.Values) []string {
		if v[override.Gate] == true {
			return []string{"the gate needs <b>verification</b>"}
		}
		return nil
	}
	form := s.form(map[string]string{override.Gate: "on"})
	p := w.preview(form, true)
	p.wants(t, http.StatusOK, "cannot be saved", "The gate needs &lt;b&gt;verification&lt;/b&gt;.")
	p.lacks(t, saveButton)
	w.submit("bob", settingPage, form).wants(t, http.StatusBadRequest, "cannot be saved", "The gate needs", `name="value:require_verified_address" value="true" checked`)
	if len(s.revisions) > 0 {
		t.Errorf("saved %v", s.revisions)
	}
}

// TestPreviewSaysWhatTheAPIRefuses: what is no duration is refused and not lost.
func TestPreviewSaysWhatTheAPIRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &savedSettings{settings: []override.State{setting(lifespan, "Session lifetime", override.Duration, "24h0m0s")}}
	w.answers("GET /admin/settings", http.StatusOK, s.now())
	w.answers("POST /admin/settings/preview", http.StatusBadRequest, refusedBy("session.lifespan: tomorrow is no duration"))
	p := w.preview(s.form(map[string]string{lifespan: "tomorrow"}), false)
	p.wants(t, http.StatusOK, "Session.lifespan: tomorrow is no duration.", `value="tomorrow"`)
	p.lacks(t, saveButton)
}

// TestTwoOperatorsSave: the second sees what the first has saved, nothing of it is
// taken back, and then saves upon it.
func TestTwoOperatorsSave(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	shown := w.preview(s.form(map[string]string{override.SignIn: "off", lifespan: "6h"}), false)
	s.saves("carol", override.Values{override.Gate: true, lifespan: "48h0m0s"})
	p := w.submit("bob", settingPage, saveForm(t, shown))
	p.wants(t, http.StatusConflict,
		"Somebody else has saved since", ">carol</span> saved revision 1", "ago", "nothing of yours was saved",
		"Require a verified address", ">2 d</", "both of you changed this", "Look at it again", saveButton,
		`name="value:require_verified_address" value="true" checked`, // carol's
		`name="value:session.lifespan" value="6h"`,                   // bob's
	)
	if len(s.revisions) != 1 {
		t.Fatalf("revisions = %v, want carol's alone", s.revisions)
	}
	w.submit("bob", settingPage, saveForm(t, p)).wants(t, http.StatusSeeOther)
	want := override.Values{override.Gate: true, override.SignIn: false, lifespan: "6h"}
	if got := s.newest().Values; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("saved %v, want %v", got, want)
	}
}

// TestAnOldFormTakesNothingBack: of a form that was open for long only what was
// changed in it is a change.
func TestAnOldFormTakesNothingBack(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	old := s.form(map[string]string{override.SignIn: "off"})
	s.saves("carol", override.Values{override.Gate: true})
	p := w.preview(old, true)
	p.wants(t, http.StatusOK, "1 change", "look again", "Somebody else has saved since")
	w.submit("bob", settingPage, saveForm(t, p)).wants(t, http.StatusSeeOther)
	if got := s.newest().Values; got[override.Gate] != true || got[override.SignIn] != false {
		t.Errorf("saved %v", got)
	}
}

func TestLockedSettingsAreNotSent(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	form := s.form(map[string]string{override.SignIn: "off"})
	s.settings[0].Source = override.Locked
	p := w.submit("bob", settingPage, form)
	p.wants(t, http.StatusSeeOther)
	if len(s.patched) > 0 {
		t.Errorf("asked to save %q", s.patched)
	}
}

func TestSettingsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers("GET /admin/settings", http.StatusServiceUnavailable, refusedBy("the database is away"))
	w.visit("bob", settingPage).wants(t, http.StatusOK, "The settings cannot be shown just now", "The database is away.")
	_, s := withSettings(t)
	w = newWorld(t)
	w.answers("GET /admin/settings", http.StatusOK, s.now())
	w.answers("POST /admin/settings/preview", http.StatusServiceUnavailable, refusedBy("the bus is away"))
	p := w.preview(s.form(map[string]string{override.SignIn: "off"}), true)
	p.wants(t, http.StatusOK, "What this would do cannot be shown just now", "It can be saved only once that is shown.")
	p.lacks(t, saveButton)
}

func TestForeignTextInSettingsIsHarmless(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	evil := `<script>alert(1)</script>`
	s.settings = append(s.settings, setting("other", evil, override.Choice, evil, evil, "b"))
	s.saves(evil, override.Values{"other": "b", "gone in this version": evil})
	for _, path := range []string{settingPage, settingPage + "/history", settingPage + "/compare?from=0&to=1", settingPage + "/revert?to=0"} {
		p := w.visit("bob", path)
		p.wants(t, http.StatusOK, "&lt;script&gt;")
		p.lacks(t, "<script>alert")
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	w.visit("bob", settingPage+"/history").wants(t, http.StatusOK, "Nothing was saved yet")
	for n := range 25 {
		s.saves("ann", override.Values{override.SignIn: n%2 == 0, lifespan: fmt.Sprintf("%dh0m0s", n+1)})
	}
	p := w.visit("bob", settingPage+"/history")
	p.wants(t, http.StatusOK, "Revision 25", "in force", "Revision 6", "ann", ">24 h</s>", "/console/settings/history?before=6", "/console/settings/revert?to=24")
	p.lacks(t, "Revision 5<", "revert?to=25", "The file alone")
	p = w.visit("bob", settingPage+"/history?before=6")
	p.wants(t, http.StatusOK, "Revision 5", "Revision 1<", "The file alone", "as the file says", "revert?to=0")
	p.lacks(t, "Older", "in force")

	p = w.visit("bob", settingPage+"/compare?from=1&to=2")
	p.wants(t, http.StatusOK, "From revision 1 to revision 2", "Sign In After Registration", ">on<", ">off<", "differs")
	w.visit("bob", settingPage+"/compare?from=0&to=99").wants(t, http.StatusNotFound, "There is no revision 99.")
}

func TestTakeBack(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.saves("ann", override.Values{override.SignIn: false})
	s.saves("ann", override.Values{lifespan: "2h0m0s"})
	p := w.visit("bob", settingPage+"/revert?to=1")
	p.wants(t, http.StatusOK, "Take back to revision 1", "Sign In After Registration", "Asynchronous hooks affected: <strong>none</strong>", "Session lifetime")
	form := url.Values{"revision": {"2"}, "to": {"1"}}
	s.saves("carol", override.Values{override.Gate: true})
	w.submit("bob", settingPage+"/revert", form).wants(t, http.StatusConflict, "Somebody else has saved since", ">carol</span>", `name="revision" value="3"`)
	form.Set("revision", "3")
	w.submit("bob", settingPage+"/revert", form).wants(t, http.StatusSeeOther)
	if got := s.newest(); got.Number != 4 || fmt.Sprint(got.Values) != fmt.Sprint(override.Values{override.SignIn: false}) {
		t.Errorf("newest = %+v", got)
	}
	w.visit("bob", settingPage+"/revert?to=1").wants(t, http.StatusOK, "what is in force is the same already")
}

// TestRevisionsThatAreNotInForce: one that the file refuses now, and one whose row
// was damaged.
func TestRevisionsThatAreNotInForce(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.saves("ann", override.Values{override.SignIn: false})
	s.saves("ann", override.Values{override.Gate: true})
	s.revisions[0].Damaged, s.inForce = true, []string{"require_verified_address: needs verification"}
	w.visit("bob", settingPage).wants(t, http.StatusOK, "Revision 2 was saved and is not in force.", "Require_verified_address: needs verification.")
	p := w.visit("bob", settingPage+"/history")
	p.wants(t, http.StatusOK, "cannot be read any more", "What it changed is not known", "revert?to=0")
	p.lacks(t, "revert?to=1")
	w.visit("bob", settingPage+"/revert?to=1").wants(t, http.StatusNotFound, "cannot be read any more")
}

// TestPartlyOn: neither is chosen, to press either is a change, to press none is not.
func TestPartlyOn(t *testing.T) {
	t.Parallel()
	w, s := withSettings(t)
	s.settings[0].Value, s.settings[0].Partly = false, []string{"oidc"}
	w.visit("bob", settingPage).wants(t, http.StatusOK, "On for oidc only", "On for all", "Off for all", `name="was:sign_in_after_registration" value="partly"`)
	form := func(value string) url.Values {
		return url.Values{"revision": {"0"}, "was:sign_in_after_registration": {"partly"}, "value:sign_in_after_registration": {value}}
	}
	for value, want := range map[string]string{"": "", "partly": "", "true": `true`, "false": `false`} {
		s.patched, s.revisions = nil, nil
		w.submit("bob", settingPage, form(value))
		got := strings.Join(s.patched, " ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("pressing %q sent %q, want %q", value, got, want)
		}
	}
}
