package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// returning is a person who registered under a gate and comes back: each step
// may be tried again until it is done.
type returning struct {
	s       *system
	app     *client
	address string
	id      string
	flow    string // of the newest verification
}

// comeBack registers somebody whose mail has come.
func (s *system) comeBack() *returning {
	s.t.Helper()
	p := &returning{s: s, app: newApp(s.t, s.api(0)), address: newAddress()}
	r := p.app.register(p.address)
	p.id, p.flow = r.Identity.ID, verificationFlow(r.ContinueWith)
	s.mailedCode(p.address, p.flow)
	return p
}

// refused tries to log in, is refused, and has a code on its way.
func (p *returning) refused() error {
	a, err := p.app.login(p.address)
	if err != nil {
		return err
	}
	if a.status != http.StatusForbidden {
		return fmt.Errorf("login = %d %s, want 403", a.status, a.body)
	}
	var refusal struct {
		Error struct {
			Details struct {
				ContinueWith []map[string]any `json:"continue_with"`
			} `json:"details"`
		} `json:"error"`
	}
	a.json(p.s.t, &refusal)
	if p.flow = verificationFlow(refusal.Error.Details.ContinueWith); p.flow == "" {
		return fmt.Errorf("login names no verification: %s", a.body)
	}
	return nil
}

// verified enters the code of the newest verification.
func (p *returning) verified() error {
	code, err := p.s.codeOf(p.address, p.flow)
	if err != nil {
		return err
	}
	a, err := p.app.do("POST", "/self-service/verification?flow="+p.flow, asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, code))
	if err != nil {
		return err
	}
	passed := a.status == http.StatusOK && strings.Contains(string(a.body), `"passed_challenge"`)
	over := a.status == http.StatusGone && strings.Contains(string(a.body), "self_service_flow_replaced") // the answer before this one was lost
	if !passed && !over {
		return fmt.Errorf("verification = %d %s", a.status, a.body)
	}
	return nil
}

// in logs in.
func (p *returning) in() error {
	a, err := p.app.login(p.address)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK || !strings.Contains(string(a.body), `"session_token"`) {
		return fmt.Errorf("login = %d %s, want 200", a.status, a.body)
	}
	return nil
}

// A crash between any two steps of login, verification and mail: trying again
// finishes, and nothing happened twice.
func TestKilledBetweenTheStepsOfComingBack(t *testing.T) {
	t.Parallel()
	for point, who := range map[string]string{
		"before-issue":  "session",
		"after-issue":   "session",
		"before-verify": "api-1",
		"after-verify":  "api-1",
		"before-queue":  "hooks",
		"after-queue":   "hooks",
		"before-settle": "hooks",
		"after-settle":  "hooks",
	} {
		for _, shape := range shapes {
			t.Run(point+"/"+shape, func(t *testing.T) {
				t.Parallel()
				background := newEndpoint(t)
				s := newSystem(t, shape, merge(gated(nil), hooks(settings{"hook": "show_verification_ui"}, sessionHook, background.webHook("crm", settings{"ignore": true}))))
				p := s.comeBack()
				s.allHooked(background, []string{p.id})
				eventually(t, 20*time.Second, func() error { return s.count(p.id, "mail.sent", 1) })

				s.crash(point, who)
				died := 0
				for _, step := range []func() error{p.refused, p.verified, p.in} {
					eventually(t, 100*time.Second, func() error { // an event that a dead process had comes again after 30 s
						err := step()
						if err != nil && s.dead() > 0 {
							died += s.reviveDead(time.Second)
						}
						return err
					})
				}
				// After a death no process has the point left; else it may still come.
				if died == 0 && s.reviveDead(10*time.Second) == 0 {
					t.Fatalf("nobody died at %s", point)
				}
				eventually(t, 20*time.Second, func() error {
					return errors.Join(s.count(p.id, "address.verified", 1), s.count(p.id, "identity.activated", 1))
				})
				s.whole(background)
			})
		}
	}
}

// count says whether an identity has so many events of a type.
func (s *system) count(id, eventType string, want int) error {
	if got := len(s.events("type=" + eventType + "&subject=" + id)); got != want {
		return fmt.Errorf("%d events %s of %s, want %d", got, eventType, id, want)
	}
	return nil
}

// A revoked session is refused by every process, also when the bus is cut.
func TestRevokedSessionsAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	address := newAddress()
	one := newApp(t, s.api(0)).register(address)
	for _, cut := range []bool{false, true} {
		other := newApp(t, s.api(0)).mustLogin(address)
		for n := range s.apis {
			if status, _ := newApp(t, s.api(n)).whoami(other.SessionToken); status != http.StatusOK {
				t.Fatalf("whoami = %d, want 200 and the session in the cache", status)
			}
		}
		limit := 2 * time.Second // the bus carries it in milliseconds; the machine may be busy
		if cut {
			s.processes["nats"].kill()
			limit = 6 * time.Second // the cache's 5 s, and the way
		}
		a := newApp(t, s.api(0)).must("DELETE", "/sessions/"+other.Session.ID, map[string]string{"X-Session-Token": one.SessionToken}, nil)
		if a.status != http.StatusNoContent {
			t.Fatalf("revoke = %d %s, want 204", a.status, a.body)
		}
		at := time.Now()
		eventually(t, limit, func() error {
			for n := range s.apis {
				if status, _ := newApp(t, s.api(n)).whoami(other.SessionToken); status != http.StatusUnauthorized {
					return fmt.Errorf("api %d: whoami = %d after the revocation", n, status)
				}
			}
			return nil
		})
		t.Logf("bus cut %t: refused everywhere after %v", cut, time.Since(at))
	}
}

// Deactivating a person ends all sessions, and activating brings none back.
func TestInactivePeopleAreOut(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		address := newAddress()
		app, admin := newApp(t, s.api(1)), newApp(t, s.admins[0])
		r := app.register(address)
		patch := func(state string) {
			a := admin.must("PATCH", "/admin/identities/"+r.Identity.ID, asJSON, fmt.Appendf(nil, `[{"op":"replace","path":"/state","value":%q}]`, state))
			if a.status != http.StatusOK {
				t.Fatalf("PATCH state %s = %d %s", state, a.status, a.body)
			}
		}
		patch("inactive")
		eventually(t, 6*time.Second, func() error {
			if status, _ := app.whoami(r.SessionToken); status != http.StatusUnauthorized {
				return fmt.Errorf("whoami of an inactive person = %d", status)
			}
			return nil
		})
		a, err := app.login(address)
		if err != nil || a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "4010011") {
			t.Errorf("login of an inactive person = %v %d %s, want 400 with 4010011", err, a.status, a.body)
		}
		patch("active")
		if status, _ := app.whoami(r.SessionToken); status != http.StatusUnauthorized {
			t.Errorf("whoami with the old session once active again = %d, want 401", status)
		}
		app.mustLogin(address)
	})
}

// Two browsers enter the same code at once, a login meets the deletion of its
// person: each has a defined end.
func TestRacesOfComingBack(t *testing.T) {
	t.Parallel()
	inEveryShape(t, gated, func(t *testing.T, s *system, _ *endpoint) {
		p := s.comeBack()
		code := s.mailedCode(p.address, p.flow)
		results := make(chan error, 8)
		for n := range cap(results) {
			go func() {
				a, err := newApp(t, s.api(n)).do("POST", "/self-service/verification?flow="+p.flow, asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, code))
				if err == nil && a.status != http.StatusOK && a.status != http.StatusGone {
					err = fmt.Errorf("verification = %d %s", a.status, a.body)
				}
				results <- err
			}()
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		eventually(t, 20*time.Second, func() error { return s.count(p.id, "address.verified", 1) })

		answers := make(chan int, 8)
		for n := range cap(answers) {
			go func() {
				a, err := newApp(t, s.api(n)).login(p.address)
				if err != nil {
					answers <- 0
					return
				}
				answers <- a.status
			}()
		}
		if a := newApp(t, s.admins[0]).must("DELETE", "/admin/identities/"+p.id, nil, nil); a.status != http.StatusNoContent {
			t.Errorf("DELETE identity = %d %s", a.status, a.body)
		}
		for range cap(answers) {
			// In before it, unknown after it, or neither when it happened between hash and session.
			if status := <-answers; status != http.StatusOK && status != http.StatusBadRequest && status != http.StatusServiceUnavailable {
				t.Errorf("login during the deletion = %d", status)
			}
		}
		if a, err := newApp(t, s.api(0)).login(p.address); err != nil || a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "4000006") {
			t.Errorf("login after the deletion = %v %d %s, want 400 with 4000006", err, a.status, a.body)
		}
	})
}

// The cookie of somebody who signs in by a refresh takes the place of the former
// person's, whose session ends: nobody could end it in that browser any more.
func TestRefreshBySomebodyElseEndsTheFormerSession(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		anna, ben := newAddress(), newAddress()
		first := newApp(t, s.api(0)).register(anna)
		newApp(t, s.api(0)).register(ben)
		browser := newBrowser(t, s.api(0))
		signIn := func(query, address string) {
			var f flowView
			browser.must("GET", "/self-service/login/browser"+query, asJSON, nil).json(t, &f)
			body := fmt.Appendf(nil, `{"method":"password","csrf_token":%q,"identifier":%q,"password":%q}`, f.csrf(), address, goodPassword)
			if a := browser.must("POST", "/self-service/login?flow="+f.ID, asJSON, body); a.status != http.StatusOK {
				t.Fatalf("login of %s = %d %s, want 200", address, a.status, a.body)
			}
		}
		signIn("", anna)
		base, err := url.Parse(s.api(0))
		if err != nil {
			t.Fatal(err)
		}
		former := newBrowser(t, s.api(0)) // has what the browser had
		former.http.Jar.SetCookies(base, browser.http.Jar.Cookies(base))
		if status, who := former.whoami(""); status != http.StatusOK || who.Identity.ID != first.Identity.ID {
			t.Fatalf("whoami = %d %+v, want Anna", status, who)
		}
		signIn("?refresh=true", ben)
		if status, who := browser.whoami(""); status != http.StatusOK || who.Identity.ID == first.Identity.ID {
			t.Errorf("whoami of the browser = %d %+v, want Ben", status, who)
		}
		if status, _ := former.whoami(""); status != http.StatusUnauthorized {
			t.Errorf("whoami with the former cookie = %d, want 401 at once", status)
		}
		if status, _ := newApp(t, s.api(0)).whoami(first.SessionToken); status != http.StatusOK {
			t.Errorf("whoami of Anna elsewhere = %d, want 200", status)
		}
		eventually(t, 6*time.Second, func() error { return s.count(first.Identity.ID, "session.revoked", 1) })
	})
}
