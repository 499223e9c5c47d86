package workers_test

import (
	"context"
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

func TestOnAny(t *testing.T) {
	t.Parallel()
	var own, other []string
	w := workers.New("w")
	workers.OnAny(w, func(ctx context.Context, e events.Event) error {
		if workers.EventID(ctx) != e.ID {
			t.Errorf("EventID = %s, want %s", workers.EventID(ctx), e.ID)
		}
		other = append(other, e.Type)
		return nil
	})
	workers.On(w, func(_ context.Context, e workers.Event[events.IdentityDeleted]) error {
		own = append(own, e.Type)
		return nil
	})
	for _, e := range workertest.Events() {
		if a := w.Try(t.Context(), workers.Delivery{Message: encode(t, e)}); a.Outcome != workers.Done {
			t.Errorf("%s: outcome = %s, want done", e.Type, a.Outcome)
		}
	}
	unknown := workertest.Event[events.IdentityCreated]()
	unknown.Type = "identity.merged"
	if a := w.Try(t.Context(), workers.Delivery{Message: encode(t, unknown)}); a.Outcome != workers.Done || other[len(other)-1] != unknown.Type {
		t.Errorf("a type that the kit does not know = %s, %v, want it handled", a.Outcome, other)
	}
	if len(own) != 1 || len(other) != len(workertest.Events()) {
		t.Errorf("own handler got %v, the other %v, want each event at one of them", own, other)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second OnAny does not panic")
		}
	}()
	workers.OnAny(w, func(context.Context, events.Event) error { return nil })
}
