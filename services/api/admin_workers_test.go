package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// seenWorkers are session workers as they are seen.
type seenWorkers struct {
	list []delivery.Instance
	err  error
}

func (s seenWorkers) SessionWorkers(context.Context) ([]delivery.Instance, error) {
	return s.list, s.err
}

func TestSessionWorkers(t *testing.T) {
	t.Parallel()
	busy := delivery.Instance{
		ID: "two", Version: "1.2.3", Started: noon, RoundTrip: 1234 * time.Microsecond,
		Counts: map[string]int64{"answered": 3, "refused": 1, "running": 2, "nanoseconds": int64(8 * time.Millisecond)},
	}
	for name, c := range map[string]struct {
		seen   seenWorkers
		status int
		want   string
	}{
		"none": {seenWorkers{}, 200, `{"session_workers":[]}`},
		"two": {
			seenWorkers{list: []delivery.Instance{busy, {ID: "one"}}},
			200,
			`[{"id":"one","version":"","round_trip_ms":0,"answered":0,"refused":0,"late":0,"failed":0,"running":0,"average_ms":0},` +
				`{"id":"two","version":"1.2.3","started_at":"2026-11-24T12:00:00.123456Z","round_trip_ms":1.234,"answered":3,"refused":1,"late":0,"failed":0,"running":2,"average_ms":2}]`,
		},
		"away": {seenWorkers{err: errors.New("secret detail")}, 503, "The bus does not answer"},
	} {
		g := newWorld(t, func(w *world) { w.options.SessionWorkers = c.seen }).admin().get("/admin/session-workers")
		if g.status != c.status || !strings.Contains(g.body, c.want) || strings.Contains(g.body, "secret detail") {
			t.Errorf("%s: %d %s, want %d with %s", name, g.status, g.body, c.status, c.want)
		}
	}
}

// A page that must come at once does not wait for the programs.
func TestHooksWithoutTheirInstances(t *testing.T) {
	t.Parallel()
	d := &hookDesk{}
	c := newWorld(t, withHooks(d)).admin()
	for query, want := range map[string]string{"": "list crm", "?instances=true": "list crm", "?instances=false": "declared crm"} {
		d.asked = nil
		if g := c.get("/admin/hooks" + query); g.status != 200 || strings.Join(d.asked, " ") != want {
			t.Errorf("hooks%s = %d, asked for %q, want %q", query, g.status, d.asked, want)
		}
	}
	if g := c.get("/admin/hooks?instances=no"); g.status != 400 {
		t.Errorf("hooks?instances=no = %d, want 400", g.status)
	}
	if g := c.get("/admin/hooks"); !strings.Contains(g.body, `"work":{"done":5,"skipped":0,"retry":2,"dead":0,"running":1}`) || strings.Count(g.body, `"work"`) != 1 {
		t.Errorf("hooks = %s, want the work of the one that says it", g.body)
	}
}
