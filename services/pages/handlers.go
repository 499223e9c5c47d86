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
		p.draw(w, r, http.StatusOK, welcomePage(p.document(r, "You are signed in"), s, p.Settings != nil && p.Settings(), p.logout(w, r)))
	case http.StatusUnauthorized:
		p.signedOut(w, r)
	default:
		p.refused(w, r, a)
	}
}

func (p *pages) signedOut(w http.ResponseWriter, r *http.Request) {
	p.draw(w, r, http.StatusOK, signedOutPage(p.document(r, "You are not signed in")))
}

// savedError shows an error that the API sent the browser here for.
func (p *pages) savedError(w http.ResponseWriter, r *http.Request) {
	a := p.ask(w, r, typeJSON, pathErrors, url.Values{"id": {r.URL.Query().Get("id")}})
	switch a.status {
	case http.StatusOK:
	case http.StatusNotFound:
		p.fail(w, r, http.StatusNotFound, "There is nothing to tell about this error any more.")
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
	title := headline(saved.Error.Code)
	p.draw(w, r, http.StatusOK, problemPage(p.document(r, title), title, saved.Error.text(), saved.Error.Request))
}

func (p *pages) unknown(w http.ResponseWriter, r *http.Request) {
	p.fail(w, r, http.StatusNotFound, "Please check the address.")
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
	title := headline(status)
	p.draw(w, r, status, problemPage(p.document(r, title), title, text, w.Header().Get("X-Request-Id")))
}

// headline says in few words what a status means to a person.
func headline(status int) string {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return "This page does not exist"
	case http.StatusUnauthorized, http.StatusForbidden:
		return "This is not allowed"
	case http.StatusTooManyRequests:
		return "Please try again later" // the text says when
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "Please try again in a moment"
	}
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError {
		return "This did not work"
	}
	return "Something went wrong"
}

// encoded gives a query with its question mark, nothing if it is empty.
func encoded(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}
