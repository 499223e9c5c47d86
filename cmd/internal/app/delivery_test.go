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
