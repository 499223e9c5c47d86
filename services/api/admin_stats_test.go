package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/stats"
)

// TestStats: the hour comes as it is documented, empty and full (the world holds
// each answer against the document), and only to administrators.
func TestStats(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	c := stats.NewCollector(func() time.Time { return now })
	w := newWorld(t, func(w *world) { w.options.Stats, w.options.Guarded = c.Hour, true })
	admin := w.admin()
	ask := func() string {
		t.Helper()
		g := admin.get("/admin/stats", "Authorization", "Bearer usher_at_root")
		if g.status != 200 {
			t.Fatalf("GET /admin/stats = %d %s, want 200", g.status, g.body)
		}
		return g.body
	}
	if body := ask(); !strings.Contains(body, `"counts":{},`) || !strings.Contains(body, `"instances":[]`) || !strings.Contains(body, `"now":null`) {
		t.Errorf("the first hour is %s, want an empty one", body)
	}
	report := fmt.Sprintf(`{"instance":"a","host":"one","started_at":"2026-11-26T11:00:00Z","parts":["api"],"version":"1","slots":[{"n":%d,
		"counts":{"registrations.ok":3},"times":{"hop":[0,0,3%s]},"gauges":{"outbox_depth":2,"outbox_oldest_seconds":0.5,"dead_letters":1,"retries":4}}]}`,
		now.Unix()/10, strings.Repeat(",0", len(stats.Bounds)-2))
	if err := c.Add([]byte(report)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(15 * time.Second)
	if body := ask(); !strings.Contains(body, `"registrations.ok":[3]`) || !strings.Contains(body, `"dead_letters":1`) || !strings.Contains(body, `"p50":[0.000375]`) {
		t.Errorf("the hour is %s, want what was told", body)
	}
	checkAdmin(t, admin, "GET", "/admin/stats", "", 401)
	checkAdmin(t, w.app(), "GET", "/admin/stats", "", 404)
	if g := admin.get("/admin/stats", "Authorization", "Bearer usher_at_events"); g.status != 403 {
		t.Errorf("with a token for events = %d, want 403", g.status)
	}
}

// TestWhoDoesNotCollectHasNoStats.
func TestWhoDoesNotCollectHasNoStats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.options.Stats = nil })
	for _, route := range api.Routes(w.server.Admin()) {
		if strings.Contains(route, "/admin/stats") {
			t.Errorf("route %s without statistics", route)
		}
	}
}
