package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

func setUpRoutes() []route {
	return []route{
		{"GET " + pathSetUp, "", (*visit).setUpPage},
		{"POST " + pathSetUp, "", (*visit).setUpNow},
	}
}

// SetUpURL is where somebody with a set-up link sets their password; admin is the
// base URL of the admin listener. It is as secret as the link.
func SetUpURL(admin string, link operator.Secret) string {
	return strings.TrimSuffix(admin, "/") + pathSetUp + "?" + url.Values{linkKey: {link.Reveal()}}.Encode()
}

const (
	linkKey    = "link"
	linkCookie = "usher_console_link"
	// linkTime is how long the page may be open.
	linkTime = time.Hour
)

// setUpForm is what the page shows.
type setUpForm struct{ name, problem string }

// setUpPage shows the form. It takes the link out of the address at once, so that it
// stays in no history and goes to nobody as a referrer; that changes nothing yet.
func (v *visit) setUpPage() error {
	v.w.Header().Set("Referrer-Policy", "no-referrer")
	if link := v.r.URL.Query().Get(linkKey); link != "" {
		v.setCookieBelow(pathSetUp, linkCookie, link, linkTime)
		v.redirect(pathSetUp)
		return nil
	}
	o, err := v.Operators.Linked(v.r.Context(), v.link())
	if err != nil {
		return v.noLink(err)
	}
	v.show(http.StatusOK, "Set up", "", setUpPage(setUpForm{name: o.Name}))
	return nil
}

func (v *visit) setUpNow() error {
	v.w.Header().Set("Referrer-Policy", "no-referrer")
	o, err := v.Operators.Linked(v.r.Context(), v.link())
	if err != nil {
		return v.noLink(err)
	}
	form := setUpForm{name: o.Name}
	chosen := v.r.PostFormValue("password")
	if chosen != v.r.PostFormValue("again") {
		form.problem = "The two passwords are not the same."
		v.show(http.StatusBadRequest, "Set up", "", setUpPage(form))
		return nil
	}
	token, session, err := v.Operators.SetUp(v.r.Context(), v.author(), v.link(), password.New(chosen))
	switch {
	case errors.Is(err, operator.ErrLink):
		return v.noLink(err)
	case err != nil:
		var status int
		status, form.problem = v.whyNot(err)
		v.show(status, "Set up", "", setUpPage(form))
		return nil
	}
	v.begin(token, session)
	v.setCookieBelow(pathSetUp, linkCookie, "", 0)
	return v.done(base+"/", "Your password is set. You are signed in as "+session.Name+".")
}

func (v *visit) link() string {
	cookie, err := v.r.Cookie(linkCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// noLink says that there is nothing to set up.
func (v *visit) noLink(err error) error {
	if !errors.Is(err, operator.ErrLink) {
		return err
	}
	v.show(http.StatusGone, "Set up", "", noLinkPage())
	return nil
}
