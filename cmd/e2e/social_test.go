package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// example is the id of the provider in most of these tests.
const example = "example"

// providers is a configuration of sign-in at providers.
func providers(list ...any) settings {
	return settings{"selfservice": settings{"methods": settings{"oidc": settings{
		"enabled": true, "config": settings{"providers": list},
	}}}}
}

// socialHooks is a configuration whose social registration has the given hooks.
func socialHooks(list ...any) settings {
	return settings{"selfservice": settings{"flows": settings{"registration": settings{"after": settings{"oidc": settings{"hooks": list}}}}}}
}

// social has a provider, and behind every registration a background hook; no
// session step is configured for those at the provider.
func social(p *provider, background *endpoint) settings {
	crm := background.webHook("crm", settings{"ignore": true})
	return merge(merge(providers(p.oidcProvider(example, nil)), hooks(sessionHook, crm)), socialHooks(crm))
}

// withProvider runs a script against each shape, each with a provider of its own.
func withProvider(t *testing.T, configure func(p *provider, background *endpoint) settings, script func(t *testing.T, s *system, p *provider, background *endpoint)) {
	t.Helper()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			p, background := newProvider(t), newEndpoint(t)
			script(t, newSystem(t, shape, configure(p, background)), p, background)
		})
	}
}

// eachWay runs a part of a script for each kind of visitor.
func eachWay(t *testing.T, part func(t *testing.T, way string)) {
	t.Helper()
	for _, way := range ways {
		t.Run(way, func(t *testing.T) { part(t, way) })
	}
}

// fromProvider is what events say of somebody who came from the provider.
var fromProvider = map[string]any{"method": "oidc", "provider": example}

// Whoever comes from a provider for the first time is registered and signed in,
// although nobody configured it; who comes again is signed in; either form does.
func TestSocialSignIn(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, background *endpoint) {
		var ids []string
		for n, way := range ways {
			for _, first := range []string{"registration", "login"} {
				t.Run(way+" by "+first, func(t *testing.T) {
					user := newAddress()
					v := s.visitor(way, n).at(t)
					who := v.in(v.visit(first, example, user, nil))
					v.signedInWith(who, "oidc/"+example)
					if who.Identity.Traits["email"] != user {
						t.Errorf("traits = %v, want the provider's address %s", who.Identity.Traits, user)
					}
					id := who.Identity.ID
					ids = append(ids, id)
					s.told(id, "identity.created", map[string]any{"method": "oidc", "provider": example, "session_planned": true})
					s.sequence(id, "identity.created", "session.issued")

					for _, again := range []string{"login", "registration"} {
						v := s.visitor(way, n+1).at(t)
						who := v.in(v.visit(again, example, user, nil))
						if v.signedInWith(who, "oidc/"+example); who.Identity.ID != id {
							t.Errorf("%s again = identity %s, want %s", again, who.Identity.ID, id)
						}
					}
					s.told(id, "login.succeeded", fromProvider)
					eventually(t, 10*time.Second, func() error { return s.count(id, "login.succeeded", 2) })
				})
			}
		}
		s.whole(background)
		if got := s.identities(); len(got) != len(ids) {
			t.Errorf("%d identities are stored, %d people came", len(got), len(ids))
		}
	})
}

// What the provider does not say the person is asked for, and completes the
// registration with; in the form of a login too.
func TestMissingTraitsAreAskedFor(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, background *endpoint) {
		for n, way := range ways {
			for _, first := range []string{"registration", "login"} {
				t.Run(way+" by "+first, func(t *testing.T) {
					user, address := fmt.Sprintf("nameless-%d", people.Add(1)), newAddress()
					v := s.visitor(way, n).at(t)
					kind, f := v.shown(v.visit(first, example, user, nil))
					if kind != "registration" || !slices.Contains(f.messages(), 4000002) {
						t.Fatalf("led to a %s with the messages %v, want a registration with 4000002", kind, f.messages())
					}
					who := v.in(v.goThrough(kind, f, example, user, map[string]string{"traits.email": address}))
					if v.signedInWith(who, "oidc/"+example); who.Identity.Traits["email"] != address {
						t.Errorf("traits = %v, want the address that was entered", who.Identity.Traits)
					}
					s.told(who.Identity.ID, "identity.created", fromProvider)
				})
			}
		}
		s.whole(background)
	})
}

// Somebody whose address has an account here signs in to it once more, and from
// then on has both ways in.
func TestLinkingByThePassword(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, background *endpoint) {
		for n, way := range ways {
			for _, first := range []string{"registration", "login"} {
				t.Run(way+" by "+first, func(t *testing.T) {
					user := newAddress()
					id := newApp(t, s.api(n)).register(user).Identity.ID
					v := s.visitor(way, n).at(t)
					a := v.visit(first, example, user, nil)
					kind, f := v.shown(a)
					if kind != "login" || !slices.Contains(f.messages(), 1010016) {
						t.Fatalf("led to a %s with the messages %v, want a login with 1010016", kind, f.messages())
					}
					if f.value("identifier") != user {
						t.Errorf("identifier = %v, want it filled in", f.value("identifier"))
					}
					if way != byApp && !strings.HasSuffix(a.header.Get("Location"), "&no_org_ui=true") {
						t.Errorf("Location = %s, want no_org_ui=true at its end", a.header.Get("Location"))
					}
					linked := v.submit("login", f, map[string]string{"method": "password", "identifier": user, "password": goodPassword})
					who := v.signedIn(linked)
					if v.signedInWith(who, "password", "oidc/"+example); who.Identity.ID != id {
						t.Errorf("linking signs in %s, want %s", who.Identity.ID, id)
					}

					newApp(t, s.api(n)).mustLogin(user)
					v = s.visitor(way, n).at(t)
					if who = v.in(v.visit("login", example, user, nil)); who.Identity.ID != id {
						t.Errorf("the provider signs in %s, want %s", who.Identity.ID, id)
					}
					v.signedInWith(who, "oidc/"+example)
				})
			}
		}
		s.whole(background)
	})
}

// signedIn gives the session of an answer to a form that is not a provider's.
func (v *visitor) signedIn(a *answer) sessionView {
	v.t.Helper()
	switch {
	case v.way == byPage && a.status != http.StatusSeeOther, v.way != byPage && a.status != http.StatusOK:
		v.t.Fatalf("submit = %d %s, want a session", a.status, a.body)
	case v.way == byApp:
		var r registered
		a.json(v.t, &r)
		v.token = r.SessionToken
	}
	status, who := v.whoami(v.token)
	if status != http.StatusOK {
		v.t.Fatalf("whoami = %d, want a session", status)
	}
	return who
}

// value is what stands in a field of a form.
func (f flowView) value(name string) any {
	for _, n := range f.UI.Nodes {
		if n.Attributes.Name == name {
			return n.Attributes.Value
		}
	}
	return nil
}

// Where auto_session is off a social registration makes no session, and whoever
// comes again gets one.
func TestWithoutAutoSessionTheFirstVisitMakesNoSession(t *testing.T) {
	t.Parallel()
	off := func(p *provider, background *endpoint) settings {
		return merge(social(p, background), settings{"selfservice": settings{"flows": settings{"registration": settings{"after": settings{"oidc": settings{"auto_session": false}}}}}})
	}
	withProvider(t, off, func(t *testing.T, s *system, p *provider, background *endpoint) {
		eachWay(t, func(t *testing.T, way string) {
			user := newAddress()
			v := s.visitor(way, 0).at(t)
			a := v.visit("registration", example, user, nil)
			if who, err := v.session(a); err == nil {
				t.Errorf("the first visit signs %s in, want nobody", who.Identity.ID)
			}
			v = s.visitor(way, 0).at(t)
			who := v.in(v.visit("login", example, user, nil))
			s.told(who.Identity.ID, "identity.created", map[string]any{"method": "oidc", "session_planned": false})
		})
		s.whole(background)
	})
}

// gatedSocial has the gate before every login, and a provider that vouches for
// the addresses of example.org, and one that vouches for none.
func gatedSocial(p *provider, _ *endpoint) settings {
	return merge(
		providers(p.oidcProvider(example, nil), p.oidcProvider("trusted", settings{"authoritative_for": []any{"example.org"}})),
		gate,
	)
}

// gate lets nobody log in who has no verified address.
var gate = settings{"selfservice": settings{"flows": settings{
	"verification": settings{"enabled": true},
	"login":        settings{"after": settings{"hooks": []any{settings{"hook": "require_verified_address"}}}},
}}}

// Whoever must verify first is let in once, at the registration, unless the
// provider vouches for the address: then there is nothing to verify.
func TestTheGateIsPassedOnceWithoutAVerifiedAddress(t *testing.T) {
	t.Parallel()
	withProvider(t, gatedSocial, func(t *testing.T, s *system, p *provider, _ *endpoint) {
		eachWay(t, func(t *testing.T, way string) {
			user := newAddress()
			v := s.visitor(way, 0).at(t)
			id := v.in(v.visit("registration", example, user, nil)).Identity.ID
			s.told(id, "session.issued", map[string]any{"method": "oidc", "verification_bypassed": true})
			s.mailedCode(user, "")
			v = s.visitor(way, 1).at(t)
			a := v.visit("login", example, user, nil)
			s.waitsForCode(v, a, user)
			if status, _ := v.whoami(""); status != http.StatusUnauthorized {
				t.Errorf("whoami after the second visit = %d, want 401", status)
			}
			s.told(id, "login.failed", map[string]any{"method": "oidc", "reason": "unverified"})

			trusted := newAddress()
			v = s.visitor(way, 0).at(t)
			who := v.in(v.visit("registration", "trusted", trusted, nil))
			if len(who.Identity.Addresses) != 1 || !who.Identity.Addresses[0].Verified {
				t.Errorf("addresses = %v, want one that is verified", who.Identity.Addresses)
			}
			s.told(who.Identity.ID, "session.issued", map[string]any{"method": "oidc", "verification_bypassed": false})
			v = s.visitor(way, 1).at(t)
			v.signedInWith(v.in(v.visit("login", "trusted", trusted, nil)), "oidc/trusted")
			if mails, err := s.mails(trusted); err != nil || len(mails) != 0 {
				t.Errorf("mails to a vouched address = %v, %v, want none", mails, err)
			}
		})
	})
}

// waitsForCode wants a to lead to a verification: a browser to its page, an app by
// its codes. Its code lets an app in.
func (s *system) waitsForCode(v *visitor, a *answer, user string) {
	v.t.Helper()
	if v.way != byApp {
		if a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "/verification?flow=") {
			v.t.Errorf("the second visit = %d %v, want 303 to the verification", a.status, a.header)
		}
		return
	}
	refused := v.must("GET", v.codes(a), asked, nil)
	var waits struct {
		Error struct {
			ID      string
			Details struct {
				ContinueWith []struct{ Flow struct{ ID string } } `json:"continue_with"`
			}
		}
	}
	refused.json(v.t, &waits)
	if refused.status != http.StatusForbidden || waits.Error.ID != "session_verified_address_required" || len(waits.Error.Details.ContinueWith) != 1 {
		v.t.Fatalf("token exchange = %d %s, want 403 with the verification", refused.status, refused.body)
	}
	id := waits.Error.Details.ContinueWith[0].Flow.ID
	verified := v.must("POST", "/self-service/verification?flow="+id, asJSON, []byte(`{"method":"code","code":"`+s.mailedCode(user, id)+`"}`))
	if verified.status != http.StatusOK || !strings.Contains(string(verified.body), "passed_challenge") {
		v.t.Fatalf("the code = %d %s, want passed_challenge", verified.status, verified.body)
	}
	v.in(v.visit("login", example, user, nil))
}

// What does not belong together is refused, and leaves nobody.
func TestWhatSocialSignInRefuses(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, _ *endpoint) {
		browser := func() (v *visitor, f flowView) {
			v = s.visitor(byScript, 0).at(t)
			return v, v.begin("registration")
		}
		status := func(what string, a *answer, want int) {
			t.Helper()
			if a.status != want {
				t.Errorf("%s = %d %s, want %d", what, a.status, a.body, want)
			}
		}
		callback := s.apis[0] + "/self-service/methods/oidc/callback/"

		v, f := browser()
		status("a provider that is unknown", v.submit("registration", f, map[string]string{"provider": "nobody"}), http.StatusNotFound)
		status("the callback of one", v.must("GET", callback+"nobody?state=x&code=y", asked, nil), http.StatusNotFound)
		status("a callback without state", v.must("GET", callback+example+"?code=y", asked, nil), http.StatusBadRequest)
		status("a callback with nonsense", v.must("GET", callback+example+"?code=y&state=nonsense", asked, nil), http.StatusBadRequest)

		v, f = browser()
		user := newAddress()
		back, err := signInAt(v.press("registration", f, example, nil), user)
		if err != nil {
			t.Fatal(err)
		}
		status("the callback in another browser", s.visitor(byScript, 0).at(t).must("GET", back, asked, nil), http.StatusBadRequest)
		first, err := v.comeBack(back)
		if err != nil {
			t.Fatal(err)
		}
		v.in(first)
		status("the callback again", v.must("GET", back, asked, nil), http.StatusBadRequest)
		if status, _ := v.whoami(""); status != http.StatusOK {
			t.Errorf("whoami after a callback again = %d, want the session as it was", status)
		}

		for what, denied := range map[string]func(authorization string) string{
			"access_denied": func(authorization string) string {
				asked, _ := url.Parse(authorization)
				return asked.Query().Get("redirect_uri") + "?" + url.Values{"error": {"access_denied"}, "state": {asked.Query().Get("state")}}.Encode()
			},
			"login_required": func(authorization string) string { // of the provider itself
				location, page, err := walk(&http.Client{CheckRedirect: stay}, "GET", authorization, nil)
				if err != nil || !strings.Contains(location, "error=login_required") {
					t.Fatalf("prompt=none at the provider = %q %q, %v", location, page, err)
				}
				return location
			},
		} {
			v, f := browser()
			back, err := v.comeBack(denied(v.press("registration", f, example, map[string]string{"upstream_parameters.prompt": "none"})))
			if err != nil {
				t.Fatal(err)
			}
			if kind, f := v.shown(back); kind != "registration" || !slices.Contains(f.messages(), 4000001) {
				t.Errorf("%s: led to a %s with the messages %v, want the registration with 4000001", what, kind, f.messages())
			}
		}

		app := newApp(t, s.api(0))
		plain, err := app.initAPI() // which asked for no code
		if err != nil {
			t.Fatal(err)
		}
		v = s.visitor(byApp, 0).at(t)
		if back, err = signInAt(v.press("registration", plain, example, nil), newAddress()); err != nil {
			t.Fatal(err)
		}
		status("an app that asked for no code", app.must("GET", back, asked, nil), http.StatusBadRequest)
		status("codes of nobody", app.must("GET", "/sessions/token-exchange?init_code=a&return_to_code=b", asked, nil), http.StatusNotFound)
		if got := s.identities(); len(got) != 1 {
			t.Errorf("%d identities are stored, want the one who was let in", len(got))
		}
	})
}

// An app's codes are good once.
func TestAnAppsCodesAreGoodOnce(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, _ *endpoint) {
		v := s.visitor(byApp, 0)
		a := v.visit("registration", example, newAddress(), nil)
		answers := together(8, func(n int) *answer { return newApp(t, s.api(n)).must("GET", v.codes(a), asked, nil) })
		got := map[int]int{}
		for _, a := range answers {
			got[a.status]++
		}
		if got[http.StatusOK] != 1 || got[http.StatusNotFound] != 7 {
			t.Errorf("8 exchanges of the same codes = %v by status, want one 200, seven 404", got)
		}
	})
}

// Callbacks of one attempt that come at once make one person and one session.
func TestManyCallbacksOfOneAttempt(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, background *endpoint) {
		eachWay(t, func(t *testing.T, way string) {
			user := newAddress()
			v := s.visitor(way, 0).at(t)
			back, err := signInAt(v.press("registration", v.begin("registration"), example, nil), user)
			if err != nil {
				t.Fatal(err)
			}
			answers := together(8, func(int) *answer {
				a, err := v.comeBack(back)
				if err != nil {
					t.Error(err)
				}
				return a
			})
			var won []*answer
			for _, a := range answers {
				if a != nil && a.status == http.StatusSeeOther && !strings.Contains(a.header.Get("Location"), "/error?") {
					won = append(won, a)
				}
			}
			if len(won) != 1 {
				t.Fatalf("%d of 8 callbacks succeeded, want one", len(won))
			}
			id := v.in(won[0]).Identity.ID
			s.sequence(id, "identity.created", "session.issued")
		})
		s.whole(background)
	})
}

// A provider that goes away between start and callback leaves nobody half
// registered: whoever tries again is in.
func TestTheProviderGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	withProvider(t, social, func(t *testing.T, s *system, p *provider, background *endpoint) {
		eachWay(t, func(t *testing.T, way string) {
			user := newAddress()
			v := s.visitor(way, 0).at(t)
			back, err := signInAt(v.press("registration", v.begin("registration"), example, nil), user)
			if err != nil {
				t.Fatal(err)
			}
			p.kill()
			a, err := v.comeBack(back)
			p.begin(t) // with another key
			if err != nil {
				t.Fatal(err)
			}
			kind, f := v.shown(a)
			if kind != "registration" || !slices.Contains(f.messages(), 4000001) {
				t.Fatalf("led to a %s with the messages %v, want the registration with 4000001", kind, f.messages())
			}
			eventually(s.t, 20*time.Second, func() error {
				a := v.goThrough(kind, f, example, user, nil)
				if _, err := v.session(a); err != nil {
					kind, f = v.shown(a)
					return err
				}
				return nil
			})
		})
		if got := s.identities(); len(got) != len(ways) {
			t.Errorf("%d identities are stored, want %d", len(got), len(ways))
		}
		s.whole(background)
	})
}

// The process dies between the steps of a social registration: whoever presses the
// button of the same form again is in, as one person, although nobody may log in
// who has not verified: it is the same registration still.
func TestKilledBetweenTheStepsOfASocialSignIn(t *testing.T) {
	t.Parallel()
	for point, who := range map[string]string{
		"before-commit": "api-1", "after-commit": "api-1", "before-issue": "session", "after-issue": "session",
	} {
		for _, shape := range shapes {
			t.Run(point+"/"+shape, func(t *testing.T) {
				t.Parallel()
				p, background := newProvider(t), newEndpoint(t)
				s := newSystem(t, shape, merge(social(p, background), gate))
				user := newAddress()
				v := s.visitor(byPage, 0)
				f := v.begin("registration")
				back, err := signInAt(v.press("registration", f, example, nil), user)
				if err != nil {
					t.Fatal(err)
				}
				s.crash(point, who)
				a, err := v.comeBack(back)
				if s.reviveDead(10*time.Second) == 0 {
					t.Fatalf("nobody died at %s; the answer was %v %+v", point, err, a)
				}
				eventually(t, 20*time.Second, func() error { return v.pressAgain("registration", f, user) })
				if got := s.identities(); len(got) != 1 {
					t.Errorf("%d identities are stored, want one", len(got))
				}
				s.whole(background)
			})
		}
	}
}

// pressAgain presses the provider's button of a form that is still open in the
// browser, or of the one that it is led to where that is over.
func (v *visitor) pressAgain(kind string, f flowView, user string) error {
	v.t.Helper()
	a := v.submit(kind, f, map[string]string{"provider": example})
	to := a.header.Get("Location")
	if strings.HasPrefix(to, v.base) {
		kind, f = v.shown(a)
		to = v.press(kind, f, example, nil)
	}
	back, err := signInAt(to, user)
	if err != nil {
		return err
	}
	if a, err = v.comeBack(back); err != nil {
		return err
	}
	_, err = v.session(a)
	return err
}
