package console

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

func signInRoutes() []route {
	return []route{
		{"GET " + pathSignIn, "", (*visit).signInPage},
		{"POST " + pathSignIn, "", (*visit).signInNow},
		{"POST " + pathSignOut, "", (*visit).signOut},
	}
}

// signInForm is what the page shows.
type signInForm struct {
	name, to string
	problem  string
}

// signInPage asks for the password, unless they are signed in.
func (v *visit) signInPage() error {
	to := destination(v.r.URL.Query().Get("to"))
	if _, err := v.Operators.Recognize(v.r.Context(), v.token()); err == nil {
		v.redirect(to)
		return nil
	}
	v.show(http.StatusOK, "Sign in", "", signInPage(signInForm{to: to}))
	return nil
}

func (v *visit) signInNow() error {
	form := signInForm{name: v.r.PostFormValue("name"), to: destination(v.r.PostFormValue("to"))}
	token, session, err := v.Operators.SignIn(v.r.Context(), operator.Try{
		Name: form.name, Password: password.New(v.r.PostFormValue("password")), Client: v.Client(v.r), By: v.author(),
	})
	if err != nil {
		var status int
		status, form.problem = v.whyNot(err)
		v.show(status, "Sign in", "", signInPage(form))
		return nil
	}
	v.begin(token, session)
	v.redirect(form.to)
	return nil
}

// whyNot says why somebody cannot be signed in, and what is safe to repeat.
func (v *visit) whyNot(err error) (status int, problem string) {
	var busy *operator.Busy
	var invalid *operator.Invalid
	switch {
	case errors.Is(err, operator.ErrWrong):
		return http.StatusUnauthorized, sentence(operator.ErrWrong.Error())
	case errors.As(err, &busy):
		v.w.Header().Set("Retry-After", strconv.Itoa(max(1, int(busy.RetryIn/time.Second))))
		return http.StatusTooManyRequests, "Too many tries. Try again in " + span(max(time.Second, busy.RetryIn.Truncate(time.Second))) + "."
	case errors.As(err, &invalid):
		return http.StatusBadRequest, sentence(invalid.Reason)
	}
	v.Log.ErrorContext(v.r.Context(), "console", "route", v.r.Pattern, "error", err)
	return http.StatusServiceUnavailable, "This is not possible just now: something it needs does not answer. Nothing was changed; it is safe to try again."
}

// begin gives the browser a new session. The former one, whoever's it was, ends.
func (v *visit) begin(token operator.Secret, s operator.Session) {
	if former := v.token(); former != "" {
		if err := v.Operators.SignOut(v.r.Context(), v.author(), former); err != nil {
			v.Log.WarnContext(v.r.Context(), "end former session of the console", "error", err)
		}
	}
	v.setCookie(sessionCookie, token.Reveal(), s.ExpiresAt.Sub(v.Now()))
}

// signOut ends the session. Where it cannot be ended the cookie stays, so that it
// can be tried again.
func (v *visit) signOut() error {
	if err := v.Operators.SignOut(v.r.Context(), v.author(), v.token()); err != nil {
		return err
	}
	v.setCookie(sessionCookie, "", 0)
	return v.done(pathSignIn, "You are signed out.")
}

// token is what the browser has of a session, empty if it has none.
func (v *visit) token() string {
	cookie, err := v.r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// maxTo is how long the way back may be.
const maxTo = 2048

// destination is where they go once they are signed in: a page of the console, as it
// is written here and never as it was sent, or the overview.
func destination(to string) string {
	home := base + "/"
	u, err := url.Parse(to)
	if err != nil || len(to) > maxTo || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" {
		return home
	}
	clean := path.Clean(u.Path)
	if clean == base {
		clean = home
	}
	if !strings.HasPrefix(clean, home) || strings.ContainsAny(u.Path, "\\") || strings.Contains(u.Path, "//") {
		return home
	}
	for _, way := range []string{pathSignIn, pathSignOut, pathSetUp} {
		if clean == way {
			return home
		}
	}
	return (&url.URL{Path: clean, RawQuery: u.Query().Encode()}).RequestURI()
}
