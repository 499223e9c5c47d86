package console_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// right is a password that nothing is wrong with.
const right = "correct horse battery"

// people is the real service on a real database. down lets it fail.
type people struct {
	console.Operators
	down bool
}

func (p *people) Recognize(ctx context.Context, token string) (operator.Session, error) {
	if p.down {
		return operator.Session{}, errors.New("the database does not answer")
	}
	return p.Operators.Recognize(ctx, token)
}

func (p *people) SignIn(ctx context.Context, t operator.Try) (operator.Secret, operator.Session, error) {
	if p.down {
		return operator.Secret{}, operator.Session{}, errors.New("the database does not answer")
	}
	return p.Operators.SignIn(ctx, t)
}

func (p *people) SignOut(ctx context.Context, by audit.Author, token string) error {
	if p.down {
		return errors.New("the database does not answer")
	}
	return p.Operators.SignOut(ctx, by, token)
}

// real lets the world have the real service, and gives it.
func (w *world) real() *people {
	w.t.Helper()
	clock := func() time.Time { return w.now }
	s, err := store.Open(w.t.Context(), store.Options{DataDir: w.t.TempDir(), CipherSecrets: []string{storetest.Secret}, Now: clock})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	if err := s.Migrate(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	pool, err := password.NewPool(password.PoolOptions{}, password.Argon2id{Memory: 64, Iterations: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	p := &people{Operators: &operator.Service{Store: s, Tokens: s, Passwords: pool, Now: clock, NewToken: func() string { return "usher_at_canary" }}}
	w.options.Operators = p
	return p
}

// invite adds an operator and gives the address of the set-up page.
func (w *world) invite(p *people, name string, r operator.Role) string {
	w.t.Helper()
	link, err := p.Add(w.t.Context(), audit.Author{Actor: "admin:zoe"}, name, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return console.SetUpURL(w.options.AdminURL(), link)
}

// browser keeps cookies and follows nothing.
type browser struct {
	*world
	cookies map[string]*http.Cookie
}

func (w *world) browser() *browser { return &browser{w, map[string]*http.Cookie{}} }

func (b *browser) do(r *http.Request) page {
	b.t.Helper()
	for _, c := range b.cookies {
		if r.URL.Path == c.Path || strings.HasPrefix(r.URL.Path, c.Path+"/") {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	p := b.send("", r)
	for _, c := range p.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c
		}
	}
	return p
}

func (b *browser) get(path string) page {
	b.t.Helper()
	return b.do(httptest.NewRequest(http.MethodGet, strings.TrimPrefix(path, "https://admin.example"), nil))
}

func (b *browser) post(path string, form url.Values) page {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

func (b *browser) signIn(name, text, to string) page {
	b.t.Helper()
	return b.post("/console/sign-in", url.Values{"name": {name}, "password": {text}, "to": {to}})
}

// leads tells when an answer is no redirect to a place.
func (p page) leads(t *testing.T, to string) {
	t.Helper()
	if got := p.Header.Get("Location"); p.StatusCode != http.StatusSeeOther || got != to {
		t.Errorf("answer = %d to %q, want 303 to %q: %s", p.StatusCode, got, to, p.text)
	}
}

// TestFromTheLinkToTheConsole walks the way of an operator's first day.
func TestFromTheLinkToTheConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	link := w.invite(w.real(), "ann", operator.RoleOwner)
	secret := link[strings.Index(link, "=")+1:]
	b := w.browser()

	// The link leaves the address at once, and a page that only looks changes nothing.
	for range 2 {
		p := b.get(link)
		p.leads(t, "/console/set-up")
		if p.Header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(p.text, secret) {
			t.Errorf("the link is in the answer: %v %s", p.Header, p.text)
		}
		if c := b.cookies["usher_console_link"]; c == nil || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/console/set-up" {
			t.Errorf("cookie of the link = %+v", c)
		}
	}
	p := b.get("/console/set-up")
	p.wants(t, http.StatusOK, `value="ann"`, "At least 12 characters")
	if strings.Contains(p.text, secret) || p.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Error("the link is in the page, or goes with its referrer")
	}
	set := func(one, again string) page {
		return b.post("/console/set-up", url.Values{"password": {one}, "again": {again}})
	}
	set("short", "short").wants(t, http.StatusBadRequest, "Use at least 12 characters; this password has 5.", `role="alert"`)
	set(right, right+"x").wants(t, http.StatusBadRequest, "The two passwords are not the same.")
	set(right, right).leads(t, "/console/")
	if b.cookies["usher_console_link"] != nil {
		t.Error("the browser still has the link")
	}
	b.get("/console/").wants(t, http.StatusOK, "Overview", "Your password is set. You are signed in as ann.", "owner")

	b.get(link).leads(t, "/console/set-up")
	b.get("/console/set-up").wants(t, http.StatusGone, "This link was used or is over")
	set(right, right).wants(t, http.StatusGone, "This link was used or is over")
	w.browser().get("/console/set-up").wants(t, http.StatusGone, "This link was used or is over")

	b.post("/console/sign-out", nil).leads(t, "/console/sign-in")
	if b.cookies["usher_console"] != nil {
		t.Error("the browser still has a session")
	}
	b.get("/console/sign-in").wants(t, http.StatusOK, "You are signed out.")
	b.get("/console/").leads(t, "/console/sign-in?to=%2Fconsole%2F")
	b.signIn("ann", right, "/console/audit?type=admin.acted").leads(t, "/console/audit?type=admin.acted")
	b.get("/console/sign-in?to=/console/mail").leads(t, "/console/mail")
}

func TestSessionCookie(t *testing.T) {
	t.Parallel()
	for base, secure := range map[string]bool{"https://admin.example/": true, "http://127.0.0.1:4434/": false} {
		w := newWorld(t)
		w.options.AdminURL = func() string { return base }
		b := w.browser()
		b.get(strings.Replace(w.invite(w.real(), "ann", operator.RoleOwner), strings.TrimSuffix(base, "/"), "", 1))
		p := b.post("/console/set-up", url.Values{"password": {right}, "again": {right}})
		p.leads(t, "/console/")
		c := b.cookies["usher_console"]
		if c == nil || c.Secure != secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/console" || c.Domain != "" || c.MaxAge != 12*60*60 {
			t.Errorf("%s: session cookie = %+v", base, c)
		}
		if strings.Contains(p.text, c.Value) {
			t.Errorf("the token is in the page")
		}
	}
}

// TestASessionIsNotFixed: whatever token a browser comes with, signing in makes a new
// one, and the former ends.
func TestASessionIsNotFixed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.real()
	for _, name := range []string{"ann", "eve"} {
		b := w.browser()
		b.get(w.invite(p, name, operator.RoleOwner))
		b.post("/console/set-up", url.Values{"password": {right}, "again": {right}})
	}
	eve, ann := w.browser(), w.browser()
	eve.signIn("eve", right, "").leads(t, "/console/")
	planted := *eve.cookies["usher_console"]
	ann.cookies["usher_console"] = &planted
	ann.signIn("ann", right, "").leads(t, "/console/")
	if got := ann.cookies["usher_console"].Value; got == planted.Value {
		t.Error("signing in kept the token that the browser came with")
	}
	ann.get("/console/").wants(t, http.StatusOK, "ann")
	eve.get("/console/").leads(t, "/console/sign-in?to=%2Fconsole%2F")
	made := &http.Cookie{Name: "usher_console", Value: "usher_op_" + strings.Repeat("A", 52), Path: "/console"}
	ann.cookies["usher_console"] = made
	ann.signIn("ann", right, "").leads(t, "/console/")
	if ann.cookies["usher_console"].Value == made.Value {
		t.Error("signing in took a token that was made up")
	}
}

func TestWrongSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	p := w.real()
	b.get(w.invite(p, "ann", operator.RoleOwner))
	b.post("/console/set-up", url.Values{"password": {right}, "again": {right}})
	b = w.browser()
	typed := `<script>alert(1)</script>`
	answer := b.signIn(typed, right, "")
	answer.wants(t, http.StatusUnauthorized, "The name or the password is wrong.", "&lt;script&gt;")
	if strings.Contains(answer.text, typed) || strings.Contains(answer.text, right) {
		t.Errorf("what was typed stands in the page as it is: %s", answer.text)
	}
	unknown, wrong := b.signIn("bob", "wrong", ""), b.signIn("ann", "wrong", "")
	if unknown.StatusCode != wrong.StatusCode || strings.Replace(unknown.text, `"bob"`, `"ann"`, 1) != wrong.text {
		t.Error("the answer tells whether there is such a name")
	}
	if len(b.cookies) > 0 {
		t.Errorf("cookies = %v, want none", b.cookies)
	}
	for range 7 {
		b.signIn("ann", "wrong", "")
	}
	answer = b.signIn("ann", right, "")
	answer.wants(t, http.StatusTooManyRequests, "Too many tries. Try again in 1 min.")
	if answer.Header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After = %q, want 60", answer.Header.Get("Retry-After"))
	}
	w.options.Client = func(*http.Request) string { return "192.0.2.77" }
	b.signIn("ann", right, "").leads(t, "/console/")
}

func TestTheStoreIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	p := w.real()
	b.get(w.invite(p, "ann", operator.RoleOwner))
	b.post("/console/set-up", url.Values{"password": {right}, "again": {right}})
	p.down = true
	b.get("/console/").wants(t, http.StatusServiceUnavailable, "Not possible just now", "safe to try again")
	b.signIn("ann", right, "").wants(t, http.StatusServiceUnavailable, "it is safe to try again", `name="password"`)
	b.post("/console/sign-out", nil).wants(t, http.StatusServiceUnavailable, "not known whether it was done")
	if b.cookies["usher_console"] == nil {
		t.Error("the cookie of a session that did not end is gone")
	}
	p.down = false
	b.get("/console/").wants(t, http.StatusOK, "Overview")
}

// TestWhereSignInLeads: nowhere but to a page of the console.
func TestWhereSignInLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := "/console/"
	for to, want := range map[string]string{
		"/console/audit":                        "/console/audit",
		"/console/?x=1":                         "/console/?x=1",
		"/console/identities/a%20b?q=%26":       "/console/identities/a%20b?q=%26",
		"":                                      home,
		"/":                                     home,
		"/console":                              home,
		"/consolexyz":                           home,
		"/admin/identities":                     home,
		"https://evil.example/console/":         home,
		"//evil.example/console/":               home,
		"///evil.example/console/":              home,
		"/\\evil.example/console/":              home,
		"/console/../admin":                     home,
		"/console/..%2f..%2fadmin":              home,
		"/console//evil.example":                home,
		"/console/\\evil.example":               home,
		"javascript:alert(1)//console/":         home,
		"/console/x\r\nSet-Cookie: a=b":         home,
		"/console/sign-in?to=/console/":         home,
		"/console/sign-out":                     home,
		"/console/set-up?link=x":                home,
		"/console/" + strings.Repeat("a", 3000): home,
		"console/audit":                         home,
		"http:/console/audit":                   home,
		"user@evil.example/console/":            home,
	} {
		p := w.visit("ann", "/console/sign-in?"+url.Values{"to": {to}}.Encode())
		if got := p.Header.Get("Location"); got != want {
			t.Errorf("sign-in with to=%q leads to %q, want %q", to, got, want)
		}
	}
}
