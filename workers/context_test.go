package workers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/workers"
	workeridentity "github.com/usher-auth/usher/workers/identity"
)

// people are identities by id, and declarations of workers.
type people map[string]*identity.Identity

func (p people) Identity(_ context.Context, id uuid.UUID) (*identity.Identity, error) {
	if i, ok := p[id.String()]; ok {
		return i, nil
	}
	return nil, identity.ErrNotFound
}

func (p people) Declared(_ context.Context, worker string) ([]string, bool, error) {
	return []string{"email"}, worker == "crm" || worker == "gone", nil
}

func TestIdentityOfAnEvent(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	for _, name := range []string{"crm", "other", "gone", "away"} {
		b.durable(name, time.Minute)
	}
	delivery, err := b.connect(t.Context(), events.UserDelivery)
	if err != nil {
		t.Fatal(err)
	}
	all := people{}
	ctx, end := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- workeridentity.Run(ctx, delivery, workeridentity.Options{
			Declarations: all, Identities: all, Version: "1.0.0", Log: discard, Ready: func() { close(ready) },
		})
	}()
	receive(t, ready, "the identity service")
	e := b.publish("customer")[0]
	all[e.Subject] = &identity.Identity{ID: uuid.MustParse(e.Subject), SchemaID: "customer", State: "active", Traits: []byte(`{"email":"ada@example.com","name":"Ada"}`)}

	ask := func(worker string) (found events.IdentityGetReply, err error) {
		j := b.run(worker, func(ctx context.Context, _ created) error {
			found, err = workers.Identity(ctx)
			return nil
		}, workers.WithConn(b.worker(worker)))
		j.next(1)
		j.mustStop()
		return found, err
	}
	found, err := ask("crm")
	if err != nil || found.IdentityID != e.Subject || found.SchemaID != "customer" || fmt.Sprintf("%s", found.Traits) != `map[email:"ada@example.com"]` {
		t.Errorf("Identity = %+v, %v, want the declared trait", found, err)
	}
	if _, err := ask("other"); !errors.Is(err, workers.ErrUnavailable) || !strings.Contains(err.Error(), "no worker of that name is declared") {
		t.Errorf("Identity of a worker that is not declared = %v, want %v", err, workers.ErrUnavailable)
	}
	delete(all, e.Subject)
	if _, err := ask("gone"); !errors.Is(err, workers.ErrGone) || errors.Is(err, workers.ErrUnavailable) {
		t.Errorf("Identity of a deleted person = %v, want %v", err, workers.ErrGone)
	}
	end()
	if err := receive(t, ended, "end of the identity service"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask("away"); !errors.Is(err, workers.ErrUnavailable) {
		t.Errorf("Identity while nobody answers = %v, want %v", err, workers.ErrUnavailable)
	}
}

func TestWorkerIsSeen(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.durable("crm", time.Minute)
	registry := prometheus.NewRegistry()
	w := workers.New("crm", workers.WithConn(b.worker("crm")), workers.Logger(discard), workers.Version("1.2.3"), workers.Metrics(registry))
	workers.On(w, func(_ context.Context, e created) error {
		if e.Data.SchemaID == "bad" {
			return workers.Permanent(errors.New("bad"))
		}
		return nil
	})
	get := func(path string) (int, string) {
		r := httptest.NewRecorder()
		w.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r.Code, r.Body.String()
	}
	if code, body := get("/health/ready"); code != 503 || !strings.Contains(body, "it does not run") {
		t.Errorf("ready before Run = %d %s, want 503", code, body)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	b.publish("good", "good", "bad")

	admin, err := b.connect(t.Context(), events.UserAdminEvents)
	if err != nil {
		t.Fatal(err)
	}
	var stats micro.Stats
	var data struct{ Done, Dead, Concurrency int }
	waitFor(t, "the figures of the worker", func() bool {
		m, err := admin.Request("$SRV.STATS.crm", nil, time.Second)
		if err != nil {
			return false
		}
		if err := json.Unmarshal(m.Data, &stats); err != nil {
			t.Fatal(err)
		}
		return len(stats.Endpoints) == 1 && json.Unmarshal(stats.Endpoints[0].Data, &data) == nil && data.Done+data.Dead == 3
	})
	if stats.Name != "crm" || stats.Version != "1.2.3" || data.Done != 2 || data.Dead != 1 || data.Concurrency != 8 {
		t.Errorf("discovery shows %+v, %+v", stats, data)
	}
	if code, body := get("/health/ready"); code != 200 {
		t.Errorf("ready = %d %s, want 200", code, body)
	}
	if code, _ := get("/health/alive"); code != 200 {
		t.Errorf("alive = %d, want 200", code)
	}
	const line = `usher_worker_attempts_total{outcome="done",worker="crm"} 2`
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, line) {
		t.Errorf("metrics = %d, want %s in\n%s", code, line, body)
	}
	if families, err := registry.Gather(); len(families) != 4 || err != nil {
		t.Errorf("%d families of metrics are registered, %v, want 4", len(families), err)
	}
	end()
	if err := receive(t, done, "end of Run"); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	waitFor(t, "discovery to miss the worker", func() bool {
		_, err := admin.Request("$SRV.PING.crm", nil, time.Second)
		return err != nil
	})
	if code, _ := get("/health/ready"); code != 503 {
		t.Errorf("ready after Run = %d, want 503", code)
	}
}
