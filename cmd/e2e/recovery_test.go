package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// recovering is a configuration in which people recover by code, and apps are told
// what comes next.
func recovering() settings {
	return merge(verifying(settings{"hook": "show_verification_ui"}, sessionHook), settings{
		"selfservice":   settings{"flows": settings{"recovery": settings{"enabled": true}}},
		"feature_flags": settings{"use_continue_with_transitions": true},
	})
}

// lose begins the recovery of somebody, and waits for the code.
func (s *system) lose(app *client, address string) (flow, code string) {
	s.t.Helper()
	flow, err := app.beginRecovery(address)
	if err != nil {
		s.t.Fatal(err)
	}
	return flow, s.mailedCode(address, flow)
}

// beginRecovery begins the recovery of somebody.
func (app *client) beginRecovery(address string) (flow string, err error) {
	a, err := app.do("GET", "/self-service/recovery/api", nil, nil)
	if err != nil {
		return "", err
	}
	var begun struct {
		ID string `json:"id"`
	}
	a.json(app.t, &begun)
	a, err = app.do("POST", "/self-service/recovery?flow="+begun.ID, asJSON, fmt.Appendf(nil, `{"method":"code","email":%q}`, address))
	if err != nil {
		return "", err
	}
	if a.status != http.StatusOK {
		return "", fmt.Errorf("recovery = %d %s, want 200", a.status, a.body)
	}
	return begun.ID, nil
}

// recovered enters a code, and gives the token of the session.
func (app *client) recovered(flow, code string) (token string, err error) {
	a, err := app.do("POST", "/self-service/recovery?flow="+flow, asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, code))
	if err != nil {
		return "", err
	}
	var passed struct {
		ContinueWith []struct {
			Token string `json:"ory_session_token"`
		} `json:"continue_with"`
	}
	a.json(app.t, &passed)
	if a.status != http.StatusOK || len(passed.ContinueWith) == 0 || passed.ContinueWith[0].Token == "" {
		return "", fmt.Errorf("code = %d %s, want a token", a.status, a.body)
	}
	return passed.ContinueWith[0].Token, nil
}

// A crash between any two steps of a recovery: the same code again finishes it, and
// nothing happened twice.
func TestKilledBetweenTheStepsOfRecovery(t *testing.T) {
	t.Parallel()
	for point, who := range map[string]string{
		"before-recover": "api-1", "after-recover": "api-1", "before-issue": "session", "after-issue": "session",
	} {
		for _, shape := range shapes {
			t.Run(point+"/"+shape, func(t *testing.T) {
				t.Parallel()
				background := newEndpoint(t)
				s := newSystem(t, shape, merge(recovering(), hooks(settings{"hook": "show_verification_ui"}, sessionHook, background.webHook("crm", settings{"ignore": true}))))
				app, address := newApp(t, s.api(0)), newAddress()
				r := app.register(address)
				s.allHooked(background, []string{r.Identity.ID})
				flow, code := s.lose(app, address)

				s.crash(point, who)
				died, token := 0, ""
				eventually(t, 100*time.Second, func() (err error) {
					token, err = app.recovered(flow, code)
					if err != nil && s.dead() > 0 {
						died += s.reviveDead(time.Second)
					}
					return err
				})
				if died == 0 && s.reviveDead(10*time.Second) == 0 {
					t.Fatalf("nobody died at %s", point)
				}
				if status, _ := app.whoami(token); status != http.StatusOK {
					t.Errorf("whoami = %d with the token of the recovery, want 200", status)
				}
				if status, _ := app.whoami(r.SessionToken); status != http.StatusUnauthorized {
					t.Errorf("whoami = %d with the former token, want 401", status)
				}
				id := r.Identity.ID
				eventually(t, 20*time.Second, func() error {
					return errors.Join(s.count(id, "recovery.completed", 1), s.count(id, "address.verified", 1), s.count(id, "session.revoked", 1))
				})
				s.whole(background)
			})
		}
	}
}

// Whoever logs in while somebody recovers the account is out afterwards, or was in
// time: no session of before the recovery lives.
func TestRecoveryDuringLogins(t *testing.T) {
	t.Parallel()
	inEveryShape(t, func(*endpoint) settings { return recovering() }, func(t *testing.T, s *system, _ *endpoint) {
		app, address := newApp(t, s.api(0)), newAddress()
		first := app.register(address)
		flow, code := s.lose(app, address)
		tokens := make(chan string, 100)
		stop := make(chan struct{})
		go func() {
			defer close(tokens)
			for n := range cap(tokens) {
				select {
				case <-stop:
					return
				default:
				}
				if a, err := newApp(t, s.api(n)).login(address); err == nil && a.status == http.StatusOK {
					var in struct {
						SessionToken string `json:"session_token"`
					}
					a.json(t, &in)
					tokens <- in.SessionToken
				}
			}
		}()
		time.Sleep(200 * time.Millisecond) // a few are in
		token, err := app.recovered(flow, code)
		if err != nil {
			t.Fatal(err)
		}
		close(stop)
		// With the password that still holds some may have come in behind the recovery:
		// these alone live, and are listed.
		var listed []struct {
			ID string `json:"id"`
		}
		all := []string{first.SessionToken}
		for one := range tokens {
			all = append(all, one)
		}
		app.must("GET", "/sessions", map[string]string{"X-Session-Token": token}, nil).json(t, &listed)
		eventually(t, 20*time.Second, func() error {
			live := 0
			for _, one := range all {
				if status, _ := app.whoami(one); status == http.StatusOK {
					live++
				}
			}
			if live != len(listed) {
				return fmt.Errorf("%d of %d sessions live, want the %d that are listed", live, len(all), len(listed))
			}
			return nil
		})
		if status, _ := app.whoami(first.SessionToken); status != http.StatusUnauthorized {
			t.Errorf("whoami = %d with the token of the registration, want 401", status)
		}
	})
}

// timestamps are the times of a flow.
var timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)

// The same answer, and a mail only to whom it belongs.
func TestRecoveryTellsNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", recovering())
	app, address := newApp(t, s.api(0)), newAddress()
	app.register(address)
	answers := map[string]string{}
	for _, to := range []string{address, newAddress()} {
		var begun struct {
			ID string `json:"id"`
		}
		app.must("GET", "/self-service/recovery/api", nil, nil).json(t, &begun)
		a := app.must("POST", "/self-service/recovery?flow="+begun.ID, asJSON, fmt.Appendf(nil, `{"method":"code","email":%q}`, to))
		text := strings.NewReplacer(begun.ID, "ID", to, "ADDRESS").Replace(string(a.body))
		answers[to] = fmt.Sprint(a.status, timestamps.ReplaceAllString(text, "TIME"))
	}
	if len(answers) != 2 {
		t.Fatal("two addresses are one")
	}
	var seen []string
	for _, one := range answers {
		seen = append(seen, one)
	}
	if seen[0] != seen[1] {
		t.Errorf("the answers differ:\n%s\n%s", seen[0], seen[1])
	}
}
