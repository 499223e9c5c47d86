package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/storetest"
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
			shape, rate := "postgres", 20
			if os.Getenv("USHER_TEST_SOAK") != "" {
				shape, rate = "parts", 100
			}
			s := newSystem(t, shape, over)
			promoted := fault{name: "PostgreSQL primary " + how + ", and the other promoted at once", goal: goalDatabase}

			l := startLoop(newBalancer(t, s.apis, s.admins), rate)
			time.Sleep(time.Second)
			at := time.Now()
			if err := errors.Join(strike(p.Primary), p.Promote()); err != nil {
				t.Fatal(err)
			}
			mended := time.Now()
			l.untilNormal(t, mended, 3*goalDatabase)
			thawed := time.Now()
			if how == "frozen" { // two believe that they are the primary now
				if err := p.Standby.Thaw(); err != nil {
					t.Fatal(err)
				}
				thawed = time.Now()
				time.Sleep(2 * time.Second)
			}
			comers := l.end()
			if how == "frozen" {
				if failed := failedSince(comers, thawed.Add(100*time.Millisecond)); failed > 0 {
					t.Errorf("%d registrations failed when the former primary came back", failed)
				}
				if err := p.Standby.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			r := measure(comers, at, mended)
			t.Log(r)
			judge(t, promoted, r)
			s.whole(background)
			allStored(t, s, comers)
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
