package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/services/override"
)

// shownRevisions is how many of them a page shows.
const shownRevisions = 20

// revisionView is a revision and what it has changed.
type revisionView struct {
	override.Revision
	changes []change
	// unknown says that the revision before it cannot be read: then it is not
	// known what has changed.
	unknown bool
}

// historyView is a page of the history.
type historyView struct {
	visit     *visit
	now       override.Snapshot
	revisions []revisionView
	// older is the number before which the next page begins, 0 for none.
	older int64
}

// settingsHistory lists what was saved, newest first.
func (v *visit) settingsHistory() error {
	h := historyView{visit: v}
	if err := v.get(adminSettings, nil, &h.now); err != nil {
		return err
	}
	query := url.Values{"page_size": {strconv.Itoa(shownRevisions + 1)}}
	if before := revisionOf(v.r.URL.Query(), "before"); before > 0 {
		query.Set("before", strconv.FormatInt(before, 10))
	}
	var list []override.Revision
	if err := v.get(adminSettings+"/history", query, &list); err != nil {
		return err
	}
	for n, r := range list {
		if n == shownRevisions {
			h.older = list[n-1].Number
			break
		}
		var former override.Revision // nothing saved, before the first
		if n+1 < len(list) {
			former = list[n+1]
		}
		h.revisions = append(h.revisions, revisionView{
			Revision: r, changes: between(former.Values, r.Values, h.now.Settings),
			unknown: former.Damaged,
		})
	}
	v.show(http.StatusOK, "History of the settings", pathSettings, historyPage(h))
	return nil
}

// revision gives a revision by its number; that of 0 has nothing saved.
func (v *visit) revision(number int64) (override.Revision, error) {
	if number == 0 {
		return override.Revision{Values: override.Values{}}, nil
	}
	var list []override.Revision
	query := url.Values{"before": {strconv.FormatInt(number+1, 10)}, "page_size": {"1"}}
	if err := v.get(adminSettings+"/history", query, &list); err != nil {
		return override.Revision{}, err
	}
	if len(list) == 0 || list[0].Number != number {
		return override.Revision{}, &refusal{Status: http.StatusNotFound, Reason: fmt.Sprintf("There is no revision %d.", number)}
	}
	if list[0].Damaged {
		return override.Revision{}, &refusal{Status: http.StatusNotFound, Reason: fmt.Sprintf("What was saved as revision %d cannot be read any more.", number)}
	}
	return list[0], nil
}

// revisionsView are two revisions side by side.
type revisionsView struct {
	visit    *visit
	now      override.Snapshot
	from, to override.Revision
	changes  []change
}

// compareSettings shows how two revisions differ.
func (v *visit) compareSettings() error {
	c := revisionsView{visit: v}
	if err := v.get(adminSettings, nil, &c.now); err != nil {
		return err
	}
	var err error
	if c.from, err = v.revision(revisionOf(v.r.URL.Query(), "from")); err != nil {
		return err
	}
	if c.to, err = v.revision(revisionOf(v.r.URL.Query(), "to")); err != nil {
		return err
	}
	c.changes = between(c.from.Values, c.to.Values, c.now.Settings)
	v.show(http.StatusOK, "Two revisions", pathSettings, comparePage(c))
	return nil
}

// revertView is a way back before it is taken.
type revertView struct {
	settingsView
	to override.Revision
}

// previewRevert shows what taking a revision back would do.
func (v *visit) previewRevert() error {
	to, err := v.revision(revisionOf(v.r.URL.Query(), "to"))
	if err != nil {
		return err
	}
	return v.showRevert(to, http.StatusOK, draft{})
}

// showRevert shows the way back from what is in force; seen is what an operator saw.
func (v *visit) showRevert(to override.Revision, status int, seen draft) error {
	view := revertView{settingsView: settingsView{visit: v, draft: seen}, to: to}
	if err := v.get(adminSettings, nil, &view.now); err != nil {
		return err
	}
	view.changes = back(view.now.Settings, to.Values)
	v.preview(&view.settingsView)
	v.show(status, "Take back to "+revisionName(to.Number), pathSettings, revertPage(view))
	return nil
}

// back are the changes from what is in force to the values of a revision.
func back(states []override.State, to override.Values) (all []change) {
	for _, s := range states {
		value, saved := to[s.Name]
		c := change{State: s, from: textOf(s.Kind, s.Value), to: textOf(s.Kind, value)}
		if !saved {
			c.to, c.reset = textOf(s.Kind, s.File), true
		}
		gone := c.reset && s.Source == override.Saved
		if s.Source != override.Locked && (gone || c.from != c.to) {
			all = append(all, c)
		}
	}
	return all
}

// revertSettings takes a revision back, unless somebody else has saved since.
func (v *visit) revertSettings() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	seen, number := revisionOf(form, "revision"), revisionOf(form, "to")
	var saved override.Snapshot
	body := struct {
		Revision int64 `json:"revision"`
		To       int64 `json:"to"`
	}{seen, number}
	err = v.ask(http.MethodPost, adminSettings+"/revert", nil, body, &saved)
	if err == nil {
		return v.done(pathSettings, savedNotice(saved))
	}
	status, ok := mendable(err)
	if !ok {
		return err
	}
	to, failed := v.revision(number)
	if failed != nil {
		return failed
	}
	return v.showRevert(to, status, draft{read: true, seen: seen})
}

// revisionName is a revision in a sentence.
func revisionName(number int64) string {
	if number == 0 {
		return "the file alone"
	}
	return "revision " + count(number)
}

// actorName is who acted, as the operators know them.
func actorName(actor string) string { return strings.TrimPrefix(actor, "admin:") }

// names are the settings that either of two revisions has a value for.
func (c revisionsView) names() (all []string) {
	for _, values := range []override.Values{c.from.Values, c.to.Values} {
		for name := range values {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// differs tells whether the revisions differ in a setting.
func (c revisionsView) differs(name string) bool {
	return slices.ContainsFunc(c.changes, func(ch change) bool { return ch.Name == name })
}

// label is what a setting is called here.
func (c revisionsView) label(name string) string {
	if s, ok := stateOf(c.now, name); ok {
		return labelOf(s.Setting)
	}
	return name
}

// says is what a revision has for a setting, in words.
func (c revisionsView) says(values override.Values, name string) string {
	s, _ := stateOf(c.now, name)
	value, saved := values[name]
	return savedText(s.Kind, textOf(s.Kind, value), saved)
}
