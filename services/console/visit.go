package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"

	"github.com/usher-auth/usher/services/operator"
)

// visit is one request of somebody to the console.
type visit struct {
	*console
	w http.ResponseWriter
	r *http.Request
	// who is the operator; zero where a page wants none.
	who operator.Session
	// ill finds out, once, what does not answer; cause says it.
	ill   sync.Once
	cause string
}

const (
	sessionCookie = "usher_console"
	noticeCookie  = "usher_console_notice"
)

// handler serves a route: it finds out who comes, and tells what went wrong.
func (c *console) handler(to route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{console: c, w: w, r: r}
		err := v.enter(to.role)
		if err == nil {
			end := v.endWithSession()
			defer end()
			err = to.serve(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// enter lets in who has the role.
func (v *visit) enter(role operator.Role) error {
	if role == "" {
		return nil
	}
	var err error
	if v.who, err = v.recognized(); err != nil {
		return err
	}
	if !v.who.Role.Covers(role) {
		return errRole
	}
	return nil
}

// endWithSession lets what goes on for long, such as a live list, end when the
// session does.
func (v *visit) endWithSession() context.CancelFunc {
	if v.who.Name == "" {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(v.r.Context(), v.who.ExpiresAt.Sub(v.Now()))
	v.r = v.r.WithContext(ctx)
	return cancel
}

// maxCookies is how many cookies of the session's name are tried.
const maxCookies = 4

// recognized finds out who comes. Another program on this host may have set a cookie
// of the same name, which must not hide ours.
func (v *visit) recognized() (who operator.Session, err error) {
	err = operator.ErrSignedOut
	for n, cookie := range v.r.CookiesNamed(sessionCookie) {
		if n == maxCookies {
			break
		}
		if who, err = v.Operators.Recognize(v.r.Context(), cookie.Value); !errors.Is(err, operator.ErrSignedOut) {
			return who, err
		}
	}
	return operator.Session{}, err
}

var (
	errNoPage = &refusal{Status: http.StatusNotFound, Reason: "There is no such page."}
	errRole   = &refusal{Status: http.StatusForbidden, Reason: "Only an owner may do this."}
)

// fail shows what went wrong.
func (v *visit) fail(err error) {
	refused, ok := asRefusal(err)
	switch {
	case v.r.Context().Err() != nil:
		return // whoever asked is gone
	case errors.Is(err, operator.ErrSignedOut):
		v.signIn()
		return
	case !ok:
		v.Log.ErrorContext(v.r.Context(), "console", "route", v.r.Pattern, "error", err)
		refused = v.explained(&refusal{Status: http.StatusServiceUnavailable, Reason: "The console could not do this just now."})
	}
	v.show(refused.Status, refused.title(), v.place(), problem(refused, v.afterFailure(refused)))
}

// afterFailure says what is safe after a request that nobody refused and that failed:
// what was posted may have been done before.
func (v *visit) afterFailure(r *refusal) string {
	switch {
	case r.Status < http.StatusInternalServerError || r.Said:
		return ""
	case v.r.Method == http.MethodGet || v.r.Method == http.MethodHead:
		return "Nothing was changed; it is safe to try again."
	}
	return "It is not known whether it was done: look before you do it again."
}

// place is the part of the navigation that the request belongs to, empty for none.
func (v *visit) place() string {
	for _, p := range places {
		if p.path != base+"/" && strings.HasPrefix(v.r.URL.Path, p.path) {
			return p.path
		}
	}
	return ""
}

// signIn leads to the page for that, and from there back to where they wanted to go.
func (v *visit) signIn() {
	if v.r.URL.Path == pathStream { // who comes back to it again and again is to come more seldom
		http.Error(v.w, "signed out", http.StatusUnauthorized)
		return
	}
	to := pathSignIn
	if v.r.Method == http.MethodGet && v.r.Header.Get("HX-Request") == "" {
		to += "?" + url.Values{"to": {v.r.URL.RequestURI()}}.Encode()
	}
	v.redirect(to)
}

// show answers with a page: its title, the part of the navigation it belongs to (a
// path), and its content. A request of htmx gets the content alone.
func (v *visit) show(status int, title, active string, content templ.Component) {
	if v.r.Header.Get("HX-Request") != "" {
		v.draw(status, content)
		return
	}
	v.draw(status, layout(v.document(title, active), content))
}

// draw answers with a component, as a whole or not at all.
func (v *visit) draw(status int, page templ.Component) {
	var b bytes.Buffer
	if err := page.Render(v.r.Context(), &b); err != nil {
		if v.r.Context().Err() != nil {
			return // whoever asked is gone
		}
		v.Log.ErrorContext(v.r.Context(), "draw page", "route", v.r.Pattern, "error", err)
		http.Error(v.w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // whoever asked may be gone
}

// redirect sends the browser to another page of the console.
func (v *visit) redirect(to string) {
	if v.r.Header.Get("HX-Request") != "" {
		v.w.Header().Set("HX-Redirect", to)
		v.w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// done sends the browser to a page after something was done, which it says once.
func (v *visit) done(to, notice string) error {
	v.setCookie(noticeCookie, base64.RawURLEncoding.EncodeToString([]byte(notice)), time.Minute)
	v.redirect(to)
	return nil
}

// notice takes what is to be said once.
func (v *visit) notice() string {
	cookie, err := v.r.Cookie(noticeCookie)
	if err != nil {
		return ""
	}
	v.setCookie(noticeCookie, "", -1)
	text, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return ""
	}
	return string(text)
}

// setCookie sets a cookie of the console; no life removes it.
func (v *visit) setCookie(name, value string, life time.Duration) {
	v.setCookieBelow(base, name, value, life)
}

// setCookieBelow sets a cookie for the pages below a path.
func (v *visit) setCookieBelow(path, name, value string, life time.Duration) {
	age := int(life / time.Second)
	if life <= 0 {
		age = -1
	}
	http.SetCookie(v.w, &http.Cookie{
		Name: name, Value: value, Path: path, MaxAge: age,
		Secure: strings.HasPrefix(v.AdminURL(), "https://"), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// document is what all pages have in common.
type document struct {
	title, active string
	who           operator.Session
	notice        string
	assets        assets
	public        string // URL of the registration page
}

func (v *visit) document(title, active string) document {
	return document{
		title: title, active: active, who: v.who, notice: v.notice(), assets: v.assets,
		public: strings.TrimSuffix(v.PublicURL(), "/") + "/ui/registration",
	}
}

// forged answers a request that another site's page has sent.
func (c *console) forged(w http.ResponseWriter, r *http.Request) {
	v := &visit{console: c, w: w, r: r}
	v.fail(&refusal{Status: http.StatusForbidden, Reason: "This came from another site's page. Nothing was changed."})
}
