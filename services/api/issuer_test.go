package api_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// A provider whose issuer changes under the same id signs nobody in to the accounts
// that the former one has proven, whatever it says of whoever has their subject.
func TestIssuerHasChanged(t *testing.T) {
	t.Parallel()
	const subject = "subject-4711"
	w, old := social(t)
	old.Change(func(p *oidctest.Provider) { p.Claims["sub"] = subject })
	w.joined("eve@example.org")
	ann := w.browser()
	ann.ended(ann.through(ann.browserFlow(), nil))
	stored := w.person("corp:" + subject)
	g := w.admin().get("/admin/identities/" + stored.ID.String() + "?include_credential=oidc")
	if want := `{"provider":"corp","subject":"` + subject + `","issuer":"` + old.URL + `"}`; !strings.Contains(g.body, want) {
		t.Errorf("administrators see %s, want %s", g.body, want)
	}

	other := oidctest.New(t)
	other.Claims = map[string]any{"sub": subject, "email": "ann@example.org", "email_verified": true}
	inForce := w.inForce.Providers.(*providersInForce)
	former := inForce.Swap(known(t, corp(other)))
	for _, email := range []string{"ann@example.org", "eve@example.net"} { // also of who says to be her
		other.Change(func(p *oidctest.Provider) { p.Claims["email"] = email })
		for _, route := range []string{routeLogin, routeRegistration} {
			c := w.browser()
			f := c.begin(route)
			g := c.through(f, nil)
			if g.status/100 != 3 || parsed(t, g.header.Get("Location")).Query().Get("flow") != f.ID || c.cookies()["ory_kratos_session"] != "" {
				t.Fatalf("%s: callback = %d to %s, cookies %v, want the flow again", route, g.status, g.header.Get("Location"), c.cookies())
			}
			if g := c.get(route + "/flows?id=" + f.ID); !slices.Equal(g.shown(t).messages(), []int64{4000001}) || !strings.Contains(g.body, "is not the one that was linked here") {
				t.Errorf("%s: the flow says %s", route, g.body)
			}
		}
	}
	app := w.app()
	begun := app.get(routeLogin + "/api?return_session_token_exchange_code=true")
	g = w.browser().get(visit(t, app.start(begun.shown(t), nil)), "Accept", "text/html")
	g = app.get("/sessions/token-exchange?init_code=" + initCode(t, begun) + "&return_to_code=" + parsed(t, g.header.Get("Location")).Query().Get("code"))
	if g.status != http.StatusUnprocessableEntity || !slices.Equal(g.shown(t).messages(), []int64{4000001}) {
		t.Errorf("exchange = %d %s, want 422 with the flow", g.status, g.body)
	}
	if got := w.person("corp:" + subject); w.people() != 2 || got != stored || w.person("eve@example.org").Credential(identity.MethodOIDC) != nil {
		t.Errorf("%d people, %+v, want everybody as before", w.people(), got)
	}
	log := w.log.String()
	if n := strings.Count(log, `"level":"WARN","msg":"the provider's issuer has changed since this account was linked","provider":"corp"`); n != 5 || strings.Contains(log, subject) {
		t.Errorf("%d warnings, want 5 without the subject, in %s", n, log)
	}

	inForce.Store(former)
	ann = w.browser()
	ann.ended(ann.through(ann.begin(routeLogin), nil))
}

// Who is signed in takes the account of another issuer in the place of the former
// one, which nobody else can.
func TestLinkAfterTheIssuerHasChanged(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	ann := w.joined("ann@example.org")
	ann.linked(ann.begin(routeSettings), "corp")
	other := oidctest.New(t)
	other.Claims = map[string]any{"sub": "7"}
	w.inForce.Providers.(*providersInForce).Store(known(t, corp(other)))

	bob := w.joined("bob@example.org")
	f := bob.begin(routeSettings)
	bob.get(visit(t, parsed(t, bob.change(f, "link", "corp").header.Get("Location"))), "Accept", "text/html")
	if got := bob.fetchSettings(f.ID).messages(); !slices.Equal(got, []int64{4000027}) {
		t.Errorf("Bob's link: messages %v, want 4000027", got)
	}

	f = ann.begin(routeSettings)
	if g := ann.change(f, "unlink", "corp"); g.status != http.StatusSeeOther {
		t.Fatalf("unlink = %d %s", g.status, g.body)
	}
	ann.linked(ann.begin(routeSettings), "corp")
	c := w.browser()
	c.ended(c.through(c.begin(routeLogin), url.Values{}))
	if got, want := string(w.person("ann@example.org").Credential(identity.MethodOIDC).Config), string(identity.OIDCConfig(identity.Account{Provider: "corp", Subject: "7", Issuer: other.URL})); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}
