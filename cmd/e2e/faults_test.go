package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/store"
)

// What happens when something breaks: each case of the architecture's table,
// with real processes. Afterwards [system.whole] holds.

// crashAt makes the program kill itself with SIGKILL the first time it comes to a point.
func crashAt(point string) []string { return []string{"USHER_TEST_CRASH=" + point} }

// whole checks what must hold once everything runs again: as many
// identity.created as identities, every hook reached for each of them, the
// chain whole, no session without identity.
func (s *system) whole(background *endpoint) {
	s.t.Helper()
	var ids []string
	eventually(s.t, 60*time.Second, func() error {
		ids = s.identities()
		created := s.events("type=identity.created")
		if len(created) != len(ids) {
			return fmt.Errorf("%d identity.created for %d identities", len(created), len(ids))
		}
		return nil
	})
	known := map[string]bool{}
	for _, id := range ids {
		known[id] = true
	}
	for _, e := range s.events("type=session.issued") {
		if !known[e.Subject] {
			s.t.Errorf("session.issued for %s, who does not exist", e.Subject)
		}
	}
	s.allHooked(background, ids)
	s.chainIsWhole()
}

// chainIsWhole reads the event log from the database and computes its hashes anew.
func (s *system) chainIsWhole() {
	s.t.Helper()
	db, err := s.database(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	var last audit.Record
	for {
		page, err := db.Events(s.t.Context(), audit.Query{After: last.Seq, Limit: 1000})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range page {
			if r.Seq != last.Seq+1 || r.Former != last.Hash || r.Hash != audit.Next(last.Hash, r.Payload) {
				s.t.Fatalf("record %d of the event log does not follow record %d", r.Seq, last.Seq)
			}
			last = r
		}
		if len(page) == 0 {
			return
		}
	}
}

// eventsAreValid holds what the test has left in event log and outbox, up to a
// few thousand events, against their schemas.
func (s *system) eventsAreValid() {
	s.t.Helper()
	ctx := context.Background() // the test's own is over
	db, err := s.database(ctx)
	if err != nil {
		s.t.Logf("the events of this test are not looked at: %v", err) // it has taken the database away
		return
	}
	defer db.Close()
	logged, err := db.Events(ctx, audit.Query{Limit: 5000})
	if err != nil {
		s.t.Logf("the event log of this test is not looked at: %v", err)
	}
	for _, r := range logged {
		if r.Type != ofTheNextVersion {
			eventstest.Validate(s.t, r.Payload)
		}
	}
	waiting, err := db.Pending(ctx, 1000)
	if err != nil {
		s.t.Logf("the outbox of this test is not looked at: %v", err)
	}
	for _, r := range waiting {
		eventstest.Validate(s.t, r.Payload)
	}
}

// database opens the database past the program.
func (s *system) database(ctx context.Context) (*store.Store, error) {
	cfg, _, err := config.Load(config.Options{File: s.config, Dev: true})
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Options{DSN: cfg.DSN.Reveal(), DataDir: cfg.DataDir, CipherSecrets: cfg.CipherSecrets()})
}

func TestKilledBetweenTheSteps(t *testing.T) {
	t.Parallel()
	points := map[string]string{ // by point: the process that dies there
		"before-commit":  "api-1",
		"after-commit":   "api-1",
		"before-publish": "api",
		"after-publish":  "api",
		"after-move":     "api",
		"before-issue":   "session",
		"after-issue":    "session",
		"before-deliver": "hooks",
		"after-deliver":  "hooks",
	}
	for point, who := range points {
		for _, shape := range shapes {
			t.Run(point+"/"+shape, func(t *testing.T) {
				t.Parallel()
				background := newEndpoint(t)
				s := newSystem(t, shape, signInAndTell(background))
				app := newApp(t, s.api(0))
				// What this one leaves to do is done before, or it would come to the point.
				first := app.register(newAddress()).Identity.ID
				s.allHooked(background, []string{first})
				s.sequence(first, "identity.created", "session.issued")

				s.crash(point, who)
				address := newAddress()
				f, body := flowView{}, submission("", address, goodPassword)
				eventually(t, 20*time.Second, func() (err error) { f, err = app.initAPI(); return err })
				a, err := app.submit(f.ID, body)
				died := s.reviveDead(10 * time.Second)
				if died == 0 {
					t.Fatalf("nobody died at %s; the answer was %v %+v", point, err, a)
				}

				// The person tries again and is in.
				var r registered
				eventually(t, 20*time.Second, func() error {
					a, err := app.submit(f.ID, body)
					if err != nil {
						return err
					}
					if a.status != http.StatusOK {
						return fmt.Errorf("submit again = %d %s", a.status, a.body)
					}
					a.json(t, &r)
					if r.SessionToken == "" {
						return fmt.Errorf("submit again gave no session: %s", a.body)
					}
					return nil
				})
				if status, _ := app.whoami(r.SessionToken); status != http.StatusOK {
					t.Errorf("whoami = %d, want 200", status)
				}
				s.whole(background)
			})
		}
	}
}

// crash restarts the processes of a part so that they die at the point.
func (s *system) crash(point, part string) {
	s.t.Helper()
	if s.shape != "parts" {
		part = "serve"
	}
	for _, p := range s.named(part) {
		p.stop(s.t)
		p.env = append(p.env, crashAt(point)...)
		s.restart(p.name)
	}
}

// reviveDead waits until a process is dead, starts all dead ones again
// without their crash point, and tells how many there were.
func (s *system) reviveDead(within time.Duration) (dead int) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for dead == 0 && time.Now().Before(deadline) {
		dead = s.dead()
		time.Sleep(20 * time.Millisecond) // asking, not hoping: the deadline decides
	}
	for _, name := range s.order {
		p := s.processes[name]
		for i := range p.env {
			if strings.HasPrefix(p.env[i], "USHER_TEST_CRASH=") && p.running() {
				p.kill() // it has not come to its point; it must not later
			}
		}
		p.env = withoutCrash(p.env)
		if !p.running() {
			s.restart(name)
		}
	}
	return dead
}

// dead counts the processes that have ended.
func (s *system) dead() (n int) {
	for _, name := range s.order {
		if !s.processes[name].running() {
			n++
		}
	}
	return n
}

func withoutCrash(env []string) (kept []string) {
	for _, e := range env {
		if !strings.HasPrefix(e, "USHER_TEST_CRASH=") {
			kept = append(kept, e)
		}
	}
	return kept
}

// registerOnce tries to register once; it tells the status (0: no answer) and
// whether a session came.
func registerOnce(t testing.TB, base string) (status int, withSession bool) {
	app := newApp(t, base)
	f, err := app.initAPI()
	if err != nil {
		return 0, false
	}
	a, err := app.submit(f.ID, submission("", newAddress(), goodPassword))
	if err != nil {
		return 0, false
	}
	return a.status, strings.Contains(string(a.body), `"session_token"`)
}

func TestTheSessionWorkerIsMissing(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"degrade", "fail"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			background := newEndpoint(t)
			over := signInAndTell(background)
			over["session"] = settings{"issue": settings{"on_failure": policy}}
			s := newSystem(t, "parts", over)
			for _, p := range s.named("session") {
				p.kill()
			}
			app := newApp(t, s.api(0))
			f, err := app.initAPI()
			if err != nil {
				t.Fatal(err)
			}
			body := submission("", newAddress(), goodPassword)
			a, err := app.submit(f.ID, body)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"degrade": http.StatusOK, "fail": http.StatusServiceUnavailable}[policy]
			if a.status != want || strings.Contains(string(a.body), `"session"`) {
				t.Fatalf("submit = %d %s, want %d without session", a.status, a.body, want)
			}
			if policy == "fail" && a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			for _, p := range s.named("session") {
				s.restart(p.name)
			}
			eventually(t, 15*time.Second, func() error {
				a, err := app.submit(f.ID, body)
				if err != nil || a.status != http.StatusOK || !strings.Contains(string(a.body), `"session_token"`) {
					return fmt.Errorf("submit again = %w %d, want 200 with a session", err, a.status)
				}
				return nil
			})
			s.whole(background)
		})
	}
}

func TestASessionWorkerIsFrozen(t *testing.T) {
	t.Parallel()
	background := newEndpoint(t)
	s := newSystem(t, "parts", merge(signInAndTell(background), settings{"session": settings{"issue": settings{"timeout": "500ms"}}}))
	s.processes["session-1"].signal(syscall.SIGSTOP)
	ok, sessions := 0, 0
	for range 40 {
		status, with := registerOnce(t, s.api(0))
		if status == http.StatusOK {
			ok++
		}
		if with {
			sessions++
		}
	}
	s.processes["session-1"].signal(syscall.SIGCONT)
	t.Logf("one of two session workers frozen: %d of 40 registered, %d with a session at once", ok, sessions)
	if ok != 40 {
		t.Errorf("with a frozen session worker %d of 40 registrations succeeded, want all", ok)
	}
	s.whole(background)
}

// TestTheBusIsDown takes the bus away for a quarter of a minute, for a whole one in
// "make soak".
func TestTheBusIsDown(t *testing.T) {
	t.Parallel()
	background := newEndpoint(t)
	s := newSystem(t, "parts", signInAndTell(background))
	registerOnce(t, s.api(0))
	s.processes["nats"].kill()
	people, away := 0, inTheLongRun(time.Minute, 15*time.Second)
	for began := time.Now(); time.Since(began) < away; people++ {
		time.Sleep(500 * time.Millisecond) // people, not load
		if status, with := registerOnce(t, s.api(people)); status != http.StatusOK || with {
			t.Errorf("registration without a bus = %d, session %t, want 200 without session", status, with)
		}
	}
	s.restart("nats")
	s.whole(background)
	t.Logf("%d people registered meanwhile", people)
	eventually(t, 20*time.Second, func() error {
		if status, with := registerOnce(t, s.api(0)); status != http.StatusOK || !with {
			return fmt.Errorf("registration with the bus back = %d, session %t", status, with)
		}
		return nil
	})
}

func TestKilledUnderLoad(t *testing.T) {
	inEveryShape(t, signInAndTell, func(t *testing.T, s *system, background *endpoint) {
		end := make(chan struct{})
		var acknowledged atomic.Int64
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for i := n; ; i++ {
					select {
					case <-end:
						return
					default:
					}
					if status, _ := registerOnce(t, s.api(i)); status == http.StatusOK {
						acknowledged.Add(1)
					}
				}
			})
		}
		for n := range 6 {
			time.Sleep(300 * time.Millisecond) // load between the kills
			p := s.processes[s.order[n%len(s.order)]]
			p.kill()
			s.restart(p.name)
		}
		close(end)
		wg.Wait()
		s.whole(background)
		if stored := int64(len(s.identities())); stored < acknowledged.Load() {
			t.Errorf("%d identities are stored, but %d were acknowledged", stored, acknowledged.Load())
		}
		t.Logf("6 kills, %d registrations acknowledged, none lost", acknowledged.Load())
	})
}
