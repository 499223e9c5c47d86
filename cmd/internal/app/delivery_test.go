package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// A process with the hooks takes reports of the hooks that are built in, and
// only of those that are declared; its metrics show them.
func TestAProcessTakesReports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	load := func() (*config.Config, []config.Warning, error) {
		return config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{
			"data_dir": dir, "serve.public.port": 0, "serve.admin.port": 0, "bus.listen": "127.0.0.1:-1",
		}})
	}
	ready := make(chan Addresses, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Load: load, Parts: Everything, Version: "1.0.0", Log: slog.New(slog.DiscardHandler), Ready: func(a Addresses) { ready <- a }})
	}()
	var at Addresses
	select {
	case at = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "bus", "keys"))
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := keys.Credentials(events.UserHooks)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := events.Connect(ctx, events.ConnectOptions{URL: at.Bus, Credentials: credentials, User: events.UserHooks, Name: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	body, _ := json.Marshal(events.HookFailed{EventID: uuid.Must(uuid.NewV7()).String(), Attempt: 1, Reason: "no"})
	for hook, want := range map[string]error{"courier": nil, "nobody": &events.Refused{Code: events.CodeNoHook}} {
		data, err := events.Ask(ctx, nc, events.SubjectHookFailed(hook), uuid.NewString(), time.Now().Add(5*time.Second), body)
		if !errors.Is(err, want) || want == nil && !strings.Contains(string(data), `"state":"waiting"`) {
			t.Errorf("report of %s = %s, %v, want %v", hook, data, err, want)
		}
	}
	answer, err := http.Get(at.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	for _, want := range []string{
		`usher_hook_reports_total{hook="courier",state="waiting"} 1`, `usher_hook_failures{hook="courier",state="waiting"} 1`,
		"usher_hook_retry_oldest_due_seconds 0", "usher_hooks_paused 0",
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestDeclaredHooksAreReadAgain(t *testing.T) {
	t.Parallel()
	now, reads := time.Now(), 0
	table := hooksFunc(func() []delivery.Hook { reads++; return []delivery.Hook{{Name: "crm", Kind: delivery.Worker}} })
	d := &declared{
		builtIn: func() map[string]delivery.Hook { return map[string]delivery.Hook{"courier": {Name: "courier"}} },
		hooks:   table, now: func() time.Time { return now },
	}
	for _, c := range []struct {
		name  string
		want  error
		reads int
		pass  time.Duration
	}{{"courier", nil, 0, 0}, {"crm", nil, 1, 0}, {"gone", delivery.ErrNoHook, 1, time.Minute}, {"crm", nil, 2, 0}} {
		if h, err := d.Hook(t.Context(), c.name); !errors.Is(err, c.want) || err == nil && h.Name != c.name || reads != c.reads {
			t.Errorf("Hook(%s) = %+v, %v after %d reads, want %v after %d", c.name, h, err, reads, c.want, c.reads)
		}
		now = now.Add(c.pass)
	}
}

type hooksFunc func() []delivery.Hook

func (f hooksFunc) Hooks(context.Context) ([]delivery.Hook, error) { return f(), nil }

// A hook that was just declared is known to its first report: what is missing is
// looked for again, though not for every stranger.
func TestANewHookIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	now, reads, table := time.Now(), 0, []delivery.Hook{}
	d := &declared{
		builtIn: func() map[string]delivery.Hook { return nil },
		hooks:   hooksFunc(func() []delivery.Hook { reads++; return table }), now: func() time.Time { return now },
	}
	for range 10 {
		if _, err := d.Hook(t.Context(), "crm"); !errors.Is(err, delivery.ErrNoHook) {
			t.Fatalf("Hook = %v, want ErrNoHook", err)
		}
	}
	table = []delivery.Hook{{Name: "crm", Kind: delivery.Worker}}
	now = now.Add(missAge + time.Millisecond)
	if _, err := d.Hook(t.Context(), "crm"); err != nil || reads != 2 {
		t.Errorf("Hook = %v after %d reads, want it after 2", err, reads)
	}
}
