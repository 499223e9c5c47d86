package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// changing is a configuration in which each change of settings is told to a background
// endpoint, and a new password ends the other sessions.
func changing(background *endpoint) settings {
	return merge(verifying(sessionHook), settings{"selfservice": settings{"flows": settings{"settings": settings{"after": settings{
		"hooks":    []any{background.webHook("crm", settings{"ignore": true})},
		"password": settings{"hooks": []any{settings{"hook": "revoke_active_sessions"}}},
	}}}}})
}

// changer is somebody in an app, at their settings.
type changer struct {
	*client
	address, id, token string
	flow               flowView
}

func (s *system) changer(n int) *changer {
	s.t.Helper()
	c := &changer{client: newApp(s.t, s.api(n)), address: newAddress()}
	r := c.register(c.address)
	c.id, c.token = r.Identity.ID, r.SessionToken
	a := c.must("GET", "/self-service/settings/api", c.header(), nil)
	if a.status != http.StatusOK {
		s.t.Fatalf("begin settings = %d %s", a.status, a.body)
	}
	a.json(s.t, &c.flow)
	return c
}

func (c *changer) header() map[string]string {
	return map[string]string{"X-Session-Token": c.token, "Accept": "application/json", "Content-Type": "application/json"}
}

// change submits a form, and gives the verification that the answer leads to.
func (c *changer) change(body string) (verification string, err error) {
	a, err := c.do("POST", "/self-service/settings?flow="+c.flow.ID, c.header(), []byte(body))
	if err != nil {
		return "", err
	}
	if a.status != http.StatusOK || !strings.Contains(string(a.body), `"state":"success"`) {
		return "", fmt.Errorf("settings = %d %s", a.status, a.body)
	}
	var answer struct {
		ContinueWith []map[string]any `json:"continue_with"`
	}
	a.json(c.t, &answer)
	return verificationFlow(answer.ContinueWith), nil
}

// A crash between the commit of a change and its answer: the same submit again
// succeeds, leads to the verification that was opened, and nothing happens twice.
func TestKilledBetweenTheStepsOfAChange(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"before-change", "after-change"} {
		for _, what := range []string{"profile", "password"} {
			for _, shape := range shapes {
				t.Run(point+"/"+what+"/"+shape, func(t *testing.T) {
					t.Parallel()
					background := newEndpoint(t)
					s := newSystem(t, shape, changing(background))
					c := s.changer(0)
					other := newApp(t, s.api(0)).mustLogin(c.address).SessionToken
					address := newAddress()
					body := map[string]string{
						"profile":  fmt.Sprintf(`{"method":"profile","traits":{"email":%q}}`, address),
						"password": `{"method":"password","password":"another long secret 8"}`,
					}[what]

					s.crash(point, "api-1")
					died, opened := 0, ""
					eventually(t, 60*time.Second, func() (err error) {
						opened, err = c.change(body)
						if err != nil && s.dead() > 0 {
							died += s.reviveDead(time.Second)
						}
						return err
					})
					if died == 0 {
						t.Fatalf("nobody died at %s", point)
					}
					again, err := c.change(body)
					if err != nil || again != opened || (opened != "") != (what == "profile") {
						t.Errorf("again: verification %q, %v, want %q as before", again, err, opened)
					}
					eventually(t, 40*time.Second, func() error {
						err := s.count(c.id, "identity.updated", 1)
						if background.bodies()[c.id] == 0 {
							err = errors.Join(err, errors.New("the endpoint was not told"))
						}
						return err
					})
					if what == "profile" {
						s.mailedCode(address, opened)
						if status, who := c.whoami(c.token); status != http.StatusOK || who.Identity.Traits["email"] != address {
							t.Errorf("whoami = %d with %v, want %s", status, who.Identity.Traits, address)
						}
					} else {
						for token, want := range map[string]int{c.token: http.StatusOK, other: http.StatusUnauthorized} {
							eventually(t, 10*time.Second, func() error {
								if status, _ := c.whoami(token); status != want {
									return fmt.Errorf("whoami = %d, want %d", status, want)
								}
								return nil
							})
						}
						if err := s.count(c.id, "session.revoked", 1); err != nil {
							t.Error(err)
						}
					}
					s.whole(background)
				})
			}
		}
	}
}

// Settings at one process are those of the others at once: what one changes, whoami of
// another shows, and a code that was on its way to a former address verifies nothing.
func TestChangesAreSeenEverywhere(t *testing.T) {
	t.Parallel()
	inEveryShape(t, changing, func(t *testing.T, s *system, background *endpoint) {
		c := s.changer(0)
		first, second := newAddress(), newAddress()
		opened, err := c.change(fmt.Sprintf(`{"method":"profile","traits":{"email":%q}}`, first))
		if err != nil {
			t.Fatal(err)
		}
		code := s.mailedCode(first, opened)
		if _, err := c.change(fmt.Sprintf(`{"method":"profile","traits":{"email":%q}}`, second)); err != nil {
			t.Fatal(err)
		}
		a := c.must("POST", "/self-service/verification?flow="+opened, asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, code))
		if a.status != http.StatusOK || !strings.Contains(string(a.body), "4070006") {
			t.Errorf("code of the former address = %d %s, want 200 with 4070006", a.status, a.body)
		}
		for n := range s.apis {
			eventually(t, 6*time.Second, func() error {
				if status, who := newApp(t, s.api(n)).whoami(c.token); status != http.StatusOK || who.Identity.Traits["email"] != second {
					return fmt.Errorf("whoami at %d = %d with %v, want %s", n, status, who.Identity.Traits, second)
				}
				return nil
			})
		}
		if a, err := c.login(c.address); err != nil || a.status != http.StatusBadRequest {
			t.Errorf("login with the former address = %v, want that it is nobody's", a)
		}
		if who := newApp(t, s.api(1)).mustLogin(second); who.Session.Identity.ID != c.id {
			t.Errorf("login with the new address gives %s, want %s", who.Session.Identity.ID, c.id)
		}
		eventually(t, 10*time.Second, func() error { return s.count(c.id, "identity.updated", 2) })
		s.whole(background)
	})
}
