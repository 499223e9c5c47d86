package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// offered are the providers that a form has a button of this name for.
func (f flowView) offered(name string) (providers []any) {
	for _, n := range f.UI.Nodes {
		if n.Attributes.Name == name {
			providers = append(providers, n.Attributes.Value)
		}
	}
	return providers
}

// Somebody with a password links an account at the provider in their settings,
// signs in with it, and removes it again; the last way to sign in stays. Where
// there are several processes, each step is at another one.
func TestLinkingInSettings(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, background *endpoint) {
		for n, way := range []string{byPage, byScript} {
			t.Run(way, func(t *testing.T) {
				address, user := newAddress(), newAddress()
				id := newApp(t, s.api(n)).register(address).Identity.ID
				v := s.visitor(way, n).at(t)
				v.signedIn(v.submit("login", v.begin("login"), map[string]string{"method": "password", "identifier": address, "password": goodPassword}))
				f := v.begin("settings")
				if got := f.offered("link"); !slices.Equal(got, []any{example}) {
					t.Fatalf("settings offer to link %v, want %s", got, example)
				}
				callback, err := signInAt(v.pressed(v.submit("settings", f, map[string]string{"link": example})), user)
				if err != nil {
					t.Fatal(err)
				}
				v.base = s.api(n + 1)
				a, err := v.comeBack(s.api(n+1) + strings.TrimPrefix(callback, s.api(0)))
				if err != nil {
					t.Fatal(err)
				}
				if f = v.fetch("settings", f.ID); a.status != http.StatusSeeOther || f.State != "success" || !slices.Equal(f.messages(), []int64{1050001}) {
					t.Fatalf("back from the provider: %d %s, settings in %s with %v, want 303, success and 1050001", a.status, a.body, f.State, f.messages())
				}
				eventually(t, 10*time.Second, func() error { return s.count(id, "identity.updated", 1) })
				again := s.visitor(way, n).at(t)
				if who := again.in(again.visit("login", example, user, nil)); who.Identity.ID != id {
					t.Errorf("the provider signs in %s, want %s", who.Identity.ID, id)
				}

				v.base = s.api(n)
				if got := f.offered("unlink"); !slices.Equal(got, []any{example}) {
					t.Fatalf("settings offer to unlink %v, want %s", got, example)
				}
				v.submit("settings", f, map[string]string{"unlink": example})
				if f = v.fetch("settings", f.ID); f.State != "success" || len(f.offered("unlink")) > 0 {
					t.Errorf("settings in %s offer to unlink %v, want success and nothing", f.State, f.offered("unlink"))
				}
				other := s.visitor(way, n).at(t)
				who := other.in(other.visit("login", example, user, nil)) // the account is nobody's now
				if who.Identity.ID == id {
					t.Errorf("the provider still signs in %s", id)
				}
				last := other.begin("settings")
				other.submit("settings", last, map[string]string{"unlink": example})
				if last = other.fetch("settings", last.ID); last.State != "show_form" || !slices.Equal(last.messages(), []int64{4000001}) {
					t.Errorf("unlinking the last way: settings in %s with %v, want show_form and 4000001", last.State, last.messages())
				}
			})
		}
		s.whole(background)
	})
}

// pressed is where a provider's button has led.
func (v *visitor) pressed(a *answer) string {
	v.t.Helper()
	if v.way == byPage {
		return a.header.Get("Location")
	}
	var moved struct {
		To string `json:"redirect_browser_to"`
	}
	a.json(v.t, &moved)
	return moved.To
}
