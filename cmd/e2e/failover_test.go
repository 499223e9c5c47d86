package e2e_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/storetest"
)

// worstFailover is how long registrations may fail when the database fails over,
// longestAnswer how long one may wait for its answer.
const (
	worstFailover = 10 * time.Second
	longestAnswer = 12 * time.Second
)

// TestTheDatabaseFailsOver takes the primary away under registrations and
// promotes its synchronous standby at once: what was acknowledged is there, and
// registrations go on by themselves.
func TestTheDatabaseFailsOver(t *testing.T) {
	t.Parallel()
	for how, strike := range map[string]func(*storetest.Node) error{
		"killed": (*storetest.Node).Kill,
		"frozen": (*storetest.Node).Freeze,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			background := newEndpoint(t)
			over := signInAndTell(background)
			over["dsn"] = p.DSN()
			shape, clients := "postgres", 5
			if os.Getenv("USHER_TEST_SOAK") != "" {
				shape, clients = "parts", 20
			}
			s := newSystem(t, shape, over)

			l := s.crowd(clients, 150*time.Millisecond)
			time.Sleep(time.Second)
			struck := time.Now()
			if err := errors.Join(strike(p.Primary), p.Promote()); err != nil {
				t.Fatal(err)
			}
			promoted := time.Since(struck)
			l.untilNormal(struck.Add(promoted), 3*worstFailover)
			if how == "frozen" { // two believe that they are the primary now
				if err := p.Standby.Thaw(); err != nil {
					t.Fatal(err)
				}
				thawed := time.Now()
				time.Sleep(2 * time.Second)
				if failed := l.failedSince(thawed.Add(100 * time.Millisecond)); failed > 0 {
					t.Errorf("%d registrations failed when the former primary came back", failed)
				}
				if err := p.Standby.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			l.stop()
			l.judge(struck, promoted)
			s.whole(background)
			l.allStored(s)
		})
	}
}

// newPair starts a primary and a standby of the test's own.
func newPair(t *testing.T) *storetest.Pair {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the servers are another user's
		t.Fatal(err)
	}
	p, err := storetest.StartPair(dir)
	if err != nil {
		leftOut(t, "no PostgreSQL on this machine: "+err.Error())
	}
	t.Cleanup(p.Stop)
	return p
}

// submitted is what became of one registration.
type submitted struct {
	began  time.Time
	took   time.Duration
	status int    // 0 where no answer came
	id     string // of who was registered
	token  string // of the session
	clear  bool   // a refusal that says when to try again
}

// crowd are people who register until they are stopped.
type crowd struct {
	t       *testing.T
	ended   chan struct{}
	end     sync.Once
	clients sync.WaitGroup
	mu      sync.Mutex
	all     []submitted
}

// crowd lets so many people at a time register, again after a pause.
func (s *system) crowd(clients int, pause time.Duration) *crowd {
	l := &crowd{t: s.t, ended: make(chan struct{})}
	for n := range clients {
		l.clients.Go(func() {
			for {
				l.try(newApp(s.t, s.listening(n)))
				select {
				case <-l.ended:
					return
				case <-time.After(pause):
				}
			}
		})
	}
	s.t.Cleanup(l.stop)
	return l
}

// listening is an api that takes connections, as what is in front of them would pick it.
func (s *system) listening(n int) string {
	for i := range s.apis {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(s.api(n+i), "http://"), time.Second)
		if err == nil {
			conn.Close()
			return s.api(n + i)
		}
	}
	return s.api(n)
}

func (l *crowd) try(app *client) {
	one := submitted{began: time.Now()}
	a, err := app.do("GET", "/self-service/registration/api", nil, nil)
	var f flowView
	if err == nil && a.status == http.StatusOK {
		a.json(l.t, &f)
		a, err = app.submit(f.ID, submission("", newAddress(), goodPassword))
	}
	one.took = time.Since(one.began)
	if err == nil {
		one.status = a.status
		one.clear = a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != ""
		var r registered
		if a.status == http.StatusOK && json.Unmarshal(a.body, &r) == nil {
			one.id, one.token = r.Identity.ID, r.SessionToken
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, one)
}

func (l *crowd) stop() {
	l.end.Do(func() { close(l.ended) })
	l.clients.Wait()
}

func (l *crowd) tries() []submitted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *crowd) failedSince(at time.Time) (n int) {
	for _, one := range l.tries() {
		if one.began.After(at) && one.status != http.StatusOK {
			n++
		}
	}
	return n
}

// untilNormal waits until registrations that began after a time have succeeded
// for a second.
func (l *crowd) untilNormal(from time.Time, limit time.Duration) {
	l.t.Helper()
	eventually(l.t, limit, func() error {
		good := 0
		for _, one := range l.tries() {
			if one.began.After(from) && one.began.Before(time.Now().Add(-time.Second)) && one.status == http.StatusOK {
				good++
			}
		}
		if good == 0 || l.failedSince(time.Now().Add(-time.Second)) > 0 {
			return errors.New("registrations do not go on")
		}
		return nil
	})
}

// judge says what a fault at a time did to people.
func (l *crowd) judge(struck time.Time, promoted time.Duration) {
	l.t.Helper()
	var failed, unclear int
	var longest time.Duration
	first, last := time.Duration(0), time.Duration(0) // success, failure
	for _, one := range l.tries() {
		longest = max(longest, one.took)
		at := one.began.Add(one.took).Sub(struck)
		switch {
		case one.status != http.StatusOK:
			failed++
			last = max(last, at)
			if !one.clear {
				unclear++
			}
		case one.began.After(struck) && (first == 0 || at < first):
			first = at
		}
	}
	l.t.Logf("promoted after %v; %d of %d failed; first success %v, last failure %v after the strike; longest answer %v",
		promoted.Round(time.Millisecond), failed, len(l.tries()), first.Round(time.Millisecond), last.Round(time.Millisecond), longest.Round(time.Millisecond))
	if unclear > 0 {
		l.t.Errorf("%d registrations failed by something else than 503 with Retry-After", unclear)
	}
	if last > worstFailover || first > worstFailover {
		l.t.Errorf("registrations failed for %v, the first succeeded after %v, want %v at most", last, first, worstFailover)
	}
	if longest > longestAnswer {
		l.t.Errorf("a registration was answered after %v, want %v at most", longest, longestAnswer)
	}
}

// allStored looks for each identity that was acknowledged.
func (l *crowd) allStored(s *system) {
	l.t.Helper()
	stored := map[string]bool{}
	for _, id := range s.identities() {
		stored[id] = true
	}
	var lost []string
	for _, one := range l.tries() {
		if one.id != "" && !stored[one.id] {
			lost = append(lost, one.id)
		}
	}
	if len(lost) > 0 {
		l.t.Errorf("%d acknowledged registrations are lost: %s", len(lost), strings.Join(lost, " "))
	}
}
