package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

const (
	// maxSessions are shown; who has more wants to end them all.
	maxSessions = 100
	// maxPost is more than the forms of the pages send.
	maxPost = 4 << 10
)

// sessions shows where the person is signed in.
func (p *pages) sessions(w http.ResponseWriter, r *http.Request) {
	a := p.ask(w, r, typeJSON, pathWhoami, nil)
	if !p.knows(w, r, a) {
		return
	}
	var list sessionList
	if !p.read(w, r, a, &list.own) {
		return
	}
	a = p.ask(w, r, typeJSON, pathSessions, url.Values{"page_size": {strconv.Itoa(maxSessions)}})
	if !p.knows(w, r, a) || !p.read(w, r, a, &list.others) {
		return
	}
	list.total = len(list.others)
	if total, err := strconv.Atoi(a.header.Get("X-Total-Count")); err == nil {
		list.total = max(total, list.total)
	}
	list.ended = r.URL.Query().Get(ended)
	list.logout = p.logout(w, r)
	d := p.document(r)
	p.draw(w, r, http.StatusOK, sessionsPage(d.titled(d.say.YourSessions), list))
}

// sessionList is what the page of the sessions shows.
type sessionList struct {
	own    session
	others []session
	total  int    // of the others, also of those that are not shown
	ended  string // what was ended just now
	logout *logoutForm
}

// ended says in the query what a post has ended.
const (
	ended    = "ended"
	endedOne = "one"
	endedAll = "all"
)

// note tells what has happened. The query alone is not believed: anybody can
// write a link.
func (l *sessionList) note(say *words) string {
	switch {
	case l.ended == endedOne:
		return say.EndedOne
	case l.ended == endedAll && l.total == 0:
		return say.EndedOthers
	}
	return ""
}

// knows tells whether the API has answered about somebody who is signed in. If
// not, the browser was told.
func (p *pages) knows(w http.ResponseWriter, r *http.Request, a *answer) bool {
	switch a.status {
	case http.StatusOK:
		return true
	case http.StatusUnauthorized:
		p.signedOut(w, r)
	default:
		p.refused(w, r, a)
	}
	return false
}

// endSessions ends one other session or all of them, as the form says. The form
// has no token: that it is ours is known from what the browser says of it, and
// other sites' posts come without the cookie besides.
func (p *pages) endSessions(w http.ResponseWriter, r *http.Request) {
	if err := p.own.Check(r); err != nil {
		p.fail(w, r, http.StatusForbidden, p.texts.of(r).Words.NotOurs)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxPost)
	if err := r.ParseForm(); err != nil {
		p.fail(w, r, http.StatusBadRequest, p.texts.of(r).Words.Unreadable)
		return
	}
	path, what := pathSessions, endedAll
	if !r.PostForm.Has("others") {
		id, err := uuid.Parse(r.PostForm.Get("session"))
		if err != nil {
			p.fail(w, r, http.StatusBadRequest, p.texts.of(r).Words.NamesNone)
			return
		}
		path, what = pathSessions+"/"+id.String(), endedOne
	}
	back := root(r) + "ui/sessions"
	switch a := p.order(w, r, http.MethodDelete, path); a.status {
	case http.StatusOK, http.StatusNoContent:
		redirect(w, back+encoded(url.Values{ended: {what}}))
	case http.StatusUnauthorized:
		redirect(w, back) // which says so
	default:
		p.refused(w, r, a)
	}
}

// logoutForm ends the session of this browser. It is a form and not a link, so
// that nothing follows it before the person does.
type logoutForm struct {
	action string
	fields []formField
}

type formField struct{ name, value string }

// logout gives the form, nil where the API gives no URL for it: a page without
// it is better than none.
func (p *pages) logout(w http.ResponseWriter, r *http.Request) *logoutForm {
	a := p.ask(w, r, typeJSON, pathLogout, nil)
	var out struct {
		URL string `json:"logout_url"`
	}
	if a.status != http.StatusOK {
		return nil
	}
	if err := a.decode(&out); err != nil {
		p.Log.ErrorContext(r.Context(), "decode logout URL", "route", r.Pattern, "error", err)
		return nil
	}
	to, err := url.Parse(out.URL)
	if err != nil || out.URL == "" {
		return nil
	}
	f := &logoutForm{}
	for name, values := range to.Query() {
		for _, value := range values {
			f.fields = append(f.fields, formField{name, value})
		}
	}
	slices.SortStableFunc(f.fields, func(a, b formField) int { return cmp.Compare(a.name, b.name) })
	to.RawQuery = "" // a form puts its fields there
	f.action = to.String()
	return f
}
