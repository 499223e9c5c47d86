package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/operator"
)

// owner gives the browser of an owner ann who is signed in.
func (w *world) owner(p *people) *browser {
	w.t.Helper()
	return w.signedIn(p, "ann", operator.RoleOwner)
}

func (w *world) signedIn(p *people, name string, r operator.Role) *browser {
	w.t.Helper()
	b := w.browser()
	b.get(w.invite(p, name, r))
	b.post("/console/set-up", url.Values{"password": {right}, "again": {right}}).leads(w.t, "/console/")
	return b
}

var shownLink = regexp.MustCompile(`https://admin\.example/console/set-up\?link=usher_setup_[A-Z0-9]+`)

func TestManageOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.owner(w.real())
	b.get("/console/operators").wants(t, http.StatusOK, "ann", "(you)", "There is no token.")

	added := b.post("/console/operators", url.Values{"name": {"Bob"}, "role": {"operator"}})
	added.wants(t, http.StatusOK, "shown once")
	link := shownLink.FindString(added.text)
	if added.Header.Get("Cache-Control") != "no-store" || link == "" {
		t.Fatalf("the answer to a new operator lacks the link, or may be kept: %v %s", added.Header, added.text)
	}
	for name, p := range map[string]page{"list": b.get("/console/operators"), "bob": b.get("/console/operators/bob")} {
		p.wants(t, http.StatusOK, "bob", "to be set by the link")
		if strings.Contains(p.text, "usher_setup_") {
			t.Errorf("%s shows the link again", name)
		}
	}
	for name, want := range map[string]struct {
		status int
		text   string
	}{
		"bob": {http.StatusConflict, "There is an operator of this name."}, "ann@example.org": {http.StatusBadRequest, "audit trail"},
		`"><script>`: {http.StatusBadRequest, "&#34;&gt;&lt;script&gt;"},
	} {
		b.post("/console/operators", url.Values{"name": {name}, "role": {"owner"}}).wants(t, want.status, want.text, `role="alert"`, `<option value="owner" selected`)
	}

	bob := w.browser()
	bob.get(link)
	bob.post("/console/set-up", url.Values{"password": {right}, "again": {right}}).leads(t, "/console/")
	bob.get("/console/operators").wants(t, http.StatusForbidden, "Only an owner may do this.")
	b.post("/console/operators/bob/role", url.Values{"role": {"owner"}}).leads(t, "/console/operators")
	b.get("/console/operators").wants(t, http.StatusOK, "bob has the role owner from the next sign-in on.")
	bob.get("/console/").leads(t, "/console/sign-in?to=%2Fconsole%2F")
	bob.signIn("bob", right, "/console/operators").leads(t, "/console/operators")
	bob.get("/console/operators").wants(t, http.StatusOK)

	reset := b.post("/console/operators/bob/reset", nil)
	reset.wants(t, http.StatusOK, "shown once")
	if again := shownLink.FindString(reset.text); again == "" || again == link {
		t.Errorf("reset shows %q, want another link", again)
	}
	bob.get("/console/").leads(t, "/console/sign-in?to=%2Fconsole%2F")
	bob.signIn("bob", right, "").wants(t, http.StatusUnauthorized)

	b.post("/console/operators/ann/remove", nil).wants(t, http.StatusConflict, "The last owner stays")
	b.post("/console/operators/ann/role", url.Values{"role": {"operator"}}).wants(t, http.StatusConflict, "The last owner stays")
	b.post("/console/operators/bob/role", url.Values{"role": {"god"}}).wants(t, http.StatusBadRequest, "A role is")
	b.post("/console/operators/bob/remove", nil).leads(t, "/console/operators")
	b.get("/console/operators/bob").wants(t, http.StatusNotFound, "There is no operator of this name.")
	for _, act := range []string{"remove", "reset", "role"} {
		b.post("/console/operators/bob/"+act, url.Values{"role": {"owner"}}).wants(t, http.StatusNotFound, "There is no operator of this name.")
	}
}

func TestManageTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.owner(w.real())
	make := func(name, scope string) page {
		return b.post("/console/tokens", url.Values{"name": {name}, "scope": {scope}})
	}
	made := make("grafana", "metrics")
	made.wants(t, http.StatusOK, "shown once", "usher_at_canary", "metrics")
	list := b.get("/console/operators")
	list.wants(t, http.StatusOK, "grafana", "metrics", "cannot be taken back")
	if strings.Contains(list.text, "usher_at_canary") {
		t.Error("the token is shown again")
	}
	make("ann", "admin").wants(t, http.StatusConflict, "There is an operator of this name.", `<option value="admin" selected`)
	make("siem", "all").wants(t, http.StatusBadRequest, "A scope is one of")
	b.post("/console/tokens/remove", url.Values{"name": {"grafana"}}).leads(t, "/console/operators")
	b.get("/console/operators").wants(t, http.StatusOK, "The token grafana is removed", "There is no token.")
	b.post("/console/tokens/remove", url.Values{"name": {"grafana"}}).wants(t, http.StatusNotFound, "There is no token of this name.")
}

func TestChangeOwnPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.real()
	b := w.signedIn(p, "bob", operator.RoleOperator)
	other := w.browser()
	other.signIn("bob", right, "").leads(t, "/console/")
	change := func(current, next, again string) page {
		return b.post("/console/password", url.Values{"current": {current}, "password": {next}, "again": {again}})
	}
	b.get("/console/password").wants(t, http.StatusOK, "Your password", `value="bob"`)
	change("wrong", "another horse battery", "another horse battery").wants(t, http.StatusBadRequest, "The present password is wrong.")
	change(right, "another horse battery", "x").wants(t, http.StatusBadRequest, "The two new passwords are not the same.")
	change(right, "bobbobbobbob", "bobbobbobbob").wants(t, http.StatusBadRequest, `role="alert"`)
	before := b.cookies["usher_console"].Value
	change(right, "another horse battery", "another horse battery").leads(t, "/console/password")
	if b.cookies["usher_console"].Value == before {
		t.Error("the session is still that of the former password")
	}
	b.get("/console/password").wants(t, http.StatusOK, "Your password is changed.")
	other.get("/console/").leads(t, "/console/sign-in?to=%2Fconsole%2F")
}
