package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// Whoever kept the credential of an answering worker that was removed was asked
// about everybody who came, and said who they were.
func TestARemovedAnsweringWorkerIsNotAsked(t *testing.T) {
	t.Parallel()
	vet := map[string]any{"hook": "worker", "config": map[string]any{"name": "vet", "timeout": "2s", "on_missing": "refuse"}}
	s := serveWith(t, t.TempDir(), map[string]any{
		"selfservice.flows.registration.after.password.hooks": []any{vet, map[string]any{"hook": "session"}},
	})
	status, body := s.send("POST", s.at.Admin+"/admin/hooks", map[string]any{"name": "vet", "kind": "answer"})
	var made struct{ Credential string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated {
		t.Fatalf("POST /admin/hooks = %d %s, %v", status, body, err)
	}
	nc, err := s.connect("vet", made.Credential)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	if _, err := nc.Subscribe(events.SubjectHookAnswer("vet"), func(m *nats.Msg) {
		asked.Add(1)
		_ = m.Respond([]byte(`{"identity":{"metadata_admin":{"role":"root"}}}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	register := func() int {
		t.Helper()
		_, body := s.send("GET", s.at.Public+"/self-service/registration/api", nil)
		var flow struct{ ID string }
		if err := json.Unmarshal([]byte(body), &flow); err != nil {
			t.Fatal(err)
		}
		status, _ := s.send("POST", s.at.Public+"/self-service/registration?flow="+flow.ID, map[string]any{
			"method": "password", "password": "correct-horse-battery-staple", "traits": map[string]any{"email": flow.ID + "@example.org"},
		})
		return status
	}
	if status := register(); status != http.StatusOK || asked.Load() != 1 {
		t.Errorf("registration = %d after %d questions, want 200 after one", status, asked.Load())
	}
	if status, body := s.ask("DELETE", "/admin/hooks/vet"); status != http.StatusNoContent {
		t.Fatalf("DELETE = %d %s", status, body)
	}
	if status := register(); status != http.StatusBadGateway || asked.Load() != 1 {
		t.Errorf("registration without the worker = %d, which was asked %d times; want 502 and no question more", status, asked.Load())
	}
	if log := s.log.String(); !strings.Contains(log, `is not declared as one that answers`) {
		t.Errorf("the log does not say why nobody was asked:\n%s", log)
	}
}

// everybodyAnswers stands for the bus.
type everybodyAnswers struct{}

func (everybodyAnswers) Ask(context.Context, string, string, time.Duration, []byte) ([]byte, error) {
	return []byte("{}"), nil
}

// A process that has not removed it itself knows it within two seconds, and asks
// none that was declared for something else.
func TestOnlyDeclaredWorkersAreAsked(t *testing.T) {
	t.Parallel()
	now, table := time.Now(), &hookRows{{Name: "vet", Kind: delivery.Answer}, {Name: "crm", Kind: delivery.Worker}}
	known := &delivery.Catalogue{
		Fixed: func() map[string]delivery.Hook {
			return map[string]delivery.Hook{"gate": {Name: "gate", Kind: delivery.Answer}}
		},
		Table: table, Now: func() time.Time { return now },
	}
	d := declaredOnly{everybodyAnswers{}, known}
	ask := func(worker string, want error) {
		t.Helper()
		if _, err := d.Ask(t.Context(), worker, "id", time.Second, nil); !errors.Is(err, want) {
			t.Errorf("Ask(%s) = %v, want %v", worker, err, want)
		}
	}
	ask("vet", nil)
	ask("gate", nil)
	ask("crm", events.ErrNoWorker)
	ask("nobody", events.ErrNoWorker)
	*table = nil
	ask("vet", nil)
	now = now.Add(2*time.Second + time.Millisecond)
	ask("vet", events.ErrNoWorker)
	ask("gate", nil)
	*table = hookRows{{Name: "vet", Kind: delivery.Answer}} // by another process, at this moment
	ask("vet", nil)
}

// hookRows are the hooks of the table.
type hookRows []delivery.Hook

func (r *hookRows) Hooks(context.Context) ([]delivery.Hook, error) { return *r, nil }

func (*hookRows) CreateHook(context.Context, delivery.Hook, events.Event) error { return nil }

func (*hookRows) UpdateHook(context.Context, time.Time, delivery.Hook, events.Event) error {
	return nil
}

func (*hookRows) DeleteHook(context.Context, string, events.Event) error { return nil }
