package pages

import (
	"net/http"
	"net/url"
)

// start leads to the page that fits whoever comes.
func (p *pages) start(w http.ResponseWriter, r *http.Request) {
	redirect(w, root(r)+"ui/welcome")
}

// welcome shows who is signed in, or the way to become it.
func (p *pages) welcome(w http.ResponseWriter, r *http.Request) {
	a := p.ask(w, r, typeJSON, pathWhoami, nil)
	switch a.status {
	case http.StatusOK:
		var s session
		if !p.read(w, r, a, &s) {
			return
		}
		d := p.document(r)
		p.draw(w, r, http.StatusOK, welcomePage(d.titled(d.say.SignedIn), s, p.Settings != nil && p.Settings(), p.logout(w, r)))
	case http.StatusUnauthorized:
		p.signedOut(w, r)
	default:
		p.refused(w, r, a)
	}
}

func (p *pages) signedOut(w http.ResponseWriter, r *http.Request) {
	d := p.document(r)
	p.draw(w, r, http.StatusOK, signedOutPage(d.titled(d.say.SignedOut)))
}

// savedError shows an error that the API sent the browser here for.
func (p *pages) savedError(w http.ResponseWriter, r *http.Request) {
	a := p.ask(w, r, typeJSON, pathErrors, url.Values{"id": {r.URL.Query().Get("id")}})
	switch a.status {
	case http.StatusOK:
	case http.StatusNotFound:
		p.fail(w, r, http.StatusNotFound, p.texts.of(r).Words.ErrorGone)
		return
	default:
		p.refused(w, r, a)
		return
	}
	var saved struct {
		Error apiError `json:"error"`
	}
	if !p.read(w, r, a, &saved) {
		return
	}
	p.explain(w, r, http.StatusOK, saved.Error.Code, saved.Error.text(), saved.Error.Request)
}

func (p *pages) unknown(w http.ResponseWriter, r *http.Request) {
	p.fail(w, r, http.StatusNotFound, p.texts.of(r).Words.CheckAddress)
}

// refused tells that the API did not do what a page needs.
func (p *pages) refused(w http.ResponseWriter, r *http.Request, a *answer) {
	if later := a.header.Get("Retry-After"); later != "" {
		w.Header().Set("Retry-After", later)
	}
	if a.status < http.StatusBadRequest {
		p.fail(w, r, http.StatusInternalServerError, "") // no refusal, but not what the contract says
		return
	}
	p.fail(w, r, a.status, a.problem().text())
}

// read decodes an answer. False says that it could not be read, and that the
// browser was told.
func (p *pages) read(w http.ResponseWriter, r *http.Request, a *answer, v any) bool {
	if err := a.decode(v); err != nil {
		p.Log.ErrorContext(r.Context(), "decode answer of the API", "route", r.Pattern, "error", err)
		p.fail(w, r, http.StatusInternalServerError, "")
		return false
	}
	return true
}

// fail tells what went wrong; the text may be empty.
func (p *pages) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	p.explain(w, r, status, status, text, w.Header().Get("X-Request-Id"))
}

// explain shows what went wrong by the status of it, a text, which may be empty, and
// what the logs know it by.
func (p *pages) explain(w http.ResponseWriter, r *http.Request, status, wrong int, text, reference string) {
	d := p.document(r)
	said, lang := d.reason(text)
	d = d.titled(headline(wrong, d.say))
	p.draw(w, r, status, problemPage(d, said, lang, reference))
}

// headline says in few words what a status means to a person.
func headline(status int, say *words) string {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return say.NotThere
	case http.StatusUnauthorized, http.StatusForbidden:
		return say.NotAllowed
	case http.StatusTooManyRequests:
		return say.Later // the text says when
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return say.Moments
	}
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError {
		return say.NotWorked
	}
	return say.Wrong
}

// encoded gives a query with its question mark, nothing if it is empty.
func encoded(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}
