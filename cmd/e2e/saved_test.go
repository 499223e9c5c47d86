package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// saved runs a command about settings at one of the servers; it has to end with
// a status.
func (s *system) saved(n, want int, args ...string) string {
	s.t.Helper()
	stdout, stderr, code := usher(s.t, s.env, append([]string{"settings", "--admin", s.admins[n%len(s.admins)]}, args...)...)
	if code != want {
		s.t.Fatalf("usher settings %s = %d, want %d: %s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout + stderr
}

var followed = regexp.MustCompile(`(?m)^usher_settings_revision (\d+)`)

// follow waits until every process goes by a revision, and tells how long the
// last took.
func (s *system) follow(revision int, within time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	for name, health := range s.health {
		eventually(s.t, within, func() error {
			resp, err := http.Get(strings.TrimSuffix(health, "/health/ready") + "/metrics")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			if got := followed.FindSubmatch(text); got == nil || string(got[1]) != strconv.Itoa(revision) {
				return fmt.Errorf("%s goes by revision %s, want %d", name, got, revision)
			}
			return nil
		})
	}
	took := time.Since(began)
	if took > within {
		s.t.Errorf("revision %d was followed within %s, want %s", revision, took, within)
	}
	return took
}

// signedInEverywhere wants each API process to sign in who registers, or none.
func (s *system) signedInEverywhere(want bool) {
	s.t.Helper()
	for n := range s.apis {
		if r := newApp(s.t, s.api(n)).register(newAddress()); (r.Session != nil && r.SessionToken != "") != want {
			s.t.Errorf("a registration at %s is answered with %+v; signed in: want %v", s.api(n), r, want)
		}
	}
}

// The switch is saved at one server; all processes follow, without a restart, and
// also while the bus is away. Nobody overwrites what they have not seen.
func TestSavedSettings(t *testing.T) {
	t.Parallel()
	// The bus carries it in milliseconds and each process looks every five seconds: what
	// is followed sooner came by the bus, on a machine however busy.
	const byBus = 3 * time.Second
	for _, shape := range signedShapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, signIn(nil))
			s.signedInEverywhere(true)
			const off, on = "sign_in_after_registration=off", "sign_in_after_registration=on"
			if out := s.saved(0, 0, "set", off, "--dry-run"); !strings.Contains(out, "-  registration  password  api") {
				t.Errorf("a dry run shows %s, want the session step go", out)
			}
			s.signedInEverywhere(true)
			s.saved(0, 0, "set", off)
			t.Logf("%s: followed within %s", shape, s.follow(1, byBus))
			s.signedInEverywhere(false)
			if out := s.saved(1, 1, "set", on, "--revision", "0"); !strings.Contains(out, "has saved revision 1 since") || !strings.Contains(out, off) {
				t.Errorf("who has not seen revision 1 is told %s", out)
			}
			s.saved(1, 0, "revert", "0")
			s.follow(2, byBus)
			s.signedInEverywhere(true)
			if shape == "parts" {
				s.processes["nats"].stop(t)
				s.saved(1, 0, "set", off)
				t.Logf("%s: without the bus followed within %s", shape, s.follow(3, 10*time.Second))
				s.processes["nats"].start(t)
				s.follow(3, byBus)
			}
			if out := s.saved(0, 0, "history"); !strings.Contains(out, "sign_in_after_registration as in the file") {
				t.Errorf("history = %s", out)
			}
		})
	}
}

// While the switch goes off and on under load, each answer is wholly the one or
// the other, and all hooks are reached.
func TestSettingsUnderLoad(t *testing.T) {
	t.Parallel()
	for _, shape := range signedShapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			background := newEndpoint(t)
			s := newSystem(t, shape, signInAndTell(background))
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			var ids []string
			var with, without int
			var load sync.WaitGroup
			for n := range 4 {
				load.Go(func() {
					for ctx.Err() == nil {
						r := newApp(t, s.api(n)).register(newAddress())
						mu.Lock()
						ids = append(ids, r.Identity.ID)
						switch {
						case r.Session != nil && r.SessionToken != "":
							with++
						case r.Session == nil && r.SessionToken == "":
							without++
						default:
							t.Errorf("answer = %+v, want all of a session or nothing of it", r)
						}
						mu.Unlock()
					}
				})
			}
			for n := range 6 {
				s.saved(n, 0, "set", "sign_in_after_registration="+[]string{"off", "on"}[n%2])
				s.follow(n+1, 20*time.Second)
			}
			cancel()
			load.Wait()
			if with == 0 || without == 0 {
				t.Errorf("%d registrations were signed in and %d were not, want some of each", with, without)
			}
			t.Logf("%s: %d registrations signed in, %d not", shape, with, without)
			s.allHooked(background, ids)
		})
	}
}
