package app

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// A name that was declared again gave all former credentials their power back:
// they are good for 90 days, and the bus knows nothing but the name.
func TestTheNameOfARemovedWorker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveIn(t, dir)
	worker := func(more ...any) map[string]any {
		return map[string]any{"name": "crm", "kind": "worker", "events": []any{"identity.created"}, "reuse_name": len(more) > 0}
	}
	create := func(want int, body map[string]any, says string) {
		t.Helper()
		path := "/admin/hooks"
		if body["url"] != nil {
			path = "/admin/webhooks"
		}
		if status, text := s.send("POST", s.at.Admin+path, body); status != want || !strings.Contains(text, says) {
			t.Errorf("POST %s %v = %d %.120s, want %d that says %q", path, body, status, text, want, says)
		}
	}
	remove := func() {
		t.Helper()
		if status, text := s.ask("DELETE", "/admin/hooks/crm"); status != http.StatusNoContent {
			t.Fatalf("DELETE = %d %s", status, text)
		}
	}
	create(http.StatusCreated, worker(), `"credential"`)
	remove()
	until := time.Now().Add(90 * 24 * time.Hour).UTC().Format("2006-01-02T")
	create(http.StatusConflict, worker(), until)
	create(http.StatusConflict, map[string]any{"name": "crm", "kind": "answer"}, "reuse_name")
	hook := map[string]any{"name": "crm", "url": "https://crm.example.org/in", "events": []any{"identity.created"}}
	create(http.StatusConflict, hook, until)
	hook["reuse_name"] = true
	create(http.StatusCreated, hook, `"secret"`)
	if status, text := s.ask("DELETE", "/admin/webhooks/crm"); status != http.StatusNoContent {
		t.Fatalf("DELETE = %d %s", status, text)
	}
	create(http.StatusConflict, worker(), until) // the worker's credentials are still good
	create(http.StatusCreated, worker("again"), `"credential"`)
	remove()
	s.end()

	// The file may have the name: it says so once, however often the leader looks.
	s = serveIn(t, dir, crm)
	const warning = "has the name of a worker that was removed"
	soonThat(t, "the log warns of the name", func() bool { return strings.Contains(s.log.String(), warning) })
	s.end()
	s = serveIn(t, dir, map[string]any{"name": "shop", "events": []any{"identity.created"}})
	soonThat(t, "the worker has its consumer", func() bool {
		_, body := s.ask("GET", "/admin/hooks/shop")
		return strings.Contains(body, `"pending":`)
	})
	if strings.Contains(s.log.String(), warning) {
		t.Errorf("the log warns of a name that the file has not:\n%s", s.log)
	}
}

func TestReusedNamesAreToldOnce(t *testing.T) {
	t.Parallel()
	log := &lockedLog{}
	p := configured(t, map[string]any{"data_dir": t.TempDir(), "workers": []any{crm}})
	p.log = slog.New(slog.NewTextHandler(log, nil))
	var err error
	if p.store, err = openMigrated(t.Context(), p.live.now().cfg, p.storeOptions()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.store.Close() })
	acted := func(action string) events.Event {
		return events.New(events.AdminActed{Action: action, Target: "crm"}, time.Now(), events.About{Source: "/usher/test", Actor: "system:test"})
	}
	// That of the file itself is no reason.
	if err := p.store.NameMinted(t.Context(), "crm", time.Now().Add(time.Hour), acted("hook.rotate")); err != nil {
		t.Fatal(err)
	}
	p.warnOfReused(context.Background(), p.fixedHooks())
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("it is warned of a worker's own credential:\n%s", log)
	}
	h := delivery.Hook{Name: "crm", Kind: delivery.Worker, ReuseName: true}
	if err := p.store.CreateHook(t.Context(), h, acted("hook.create")); err != nil {
		t.Fatal(err)
	}
	if err := p.store.DeleteHook(t.Context(), "crm", acted("hook.remove")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p.warnOfReused(context.Background(), p.fixedHooks())
	}
	if n := strings.Count(log.String(), "has the name of a worker that was removed"); n != 1 {
		t.Errorf("it is said %d times, want once:\n%s", n, log)
	}
}
