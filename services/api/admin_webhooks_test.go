package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// hookTable is a table of hooks in memory, and a bus and an endpoint that agree.
type hookTable struct {
	mu     sync.Mutex
	rows   []delivery.Hook
	said   []events.Event
	broken error // of the bus
	answer error // of the endpoint
}

// newWebhooks declares webhooks in memory.
func newWebhooks() *delivery.Webhooks { return webhooksIn(&hookTable{}) }

func webhooksIn(t *hookTable) *delivery.Webhooks {
	return &delivery.Webhooks{Sender: t, Catalogue: &delivery.Catalogue{
		Table: t, Bus: t, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon },
		Fixed: func() map[string]delivery.Hook {
			return map[string]delivery.Hook{
				"filed": {Name: "filed", Kind: delivery.Webhook, Types: []string{"login.failed"}, URL: "https://filed.example", Secrets: []webhook.Secret{webhook.NewSigningSecret()}, InFile: true},
			}
		},
	}}
}

func (t *hookTable) Hooks(context.Context) ([]delivery.Hook, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.rows), nil
}

// change replaces the row with h's name; a nil h deletes it.
func (t *hookTable) change(name string, h *delivery.Hook, e events.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := slices.IndexFunc(t.rows, func(r delivery.Hook) bool { return r.Name == name })
	switch {
	case n < 0:
		return delivery.ErrNoHook
	case h == nil:
		t.rows = slices.Delete(t.rows, n, n+1)
	default:
		t.rows[n] = *h
	}
	t.said = append(t.said, e)
	return nil
}

func (t *hookTable) CreateHook(_ context.Context, h delivery.Hook, e events.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.rows, func(r delivery.Hook) bool { return r.Name == h.Name }) {
		return delivery.ErrHookExists
	}
	t.rows, t.said = append(t.rows, h), append(t.said, e)
	return nil
}

func (t *hookTable) UpdateHook(_ context.Context, _ time.Time, h delivery.Hook, e events.Event) error {
	return t.change(h.Name, &h, e)
}

func (t *hookTable) DeleteHook(_ context.Context, name string, e events.Event) error {
	return t.change(name, nil, e)
}

func (t *hookTable) Provision(context.Context, delivery.Hook) error { return t.broken }
func (t *hookTable) Remove(context.Context, string) error           { return t.broken }

func (t *hookTable) Send(context.Context, webhook.Signed, webhook.SignedMessage) (int, error) {
	if t.answer != nil {
		return 0, t.answer
	}
	return 200, nil
}

const wantedWebhook = `{"name":"crm","url":"https://crm.example/in?key=hidden","events":["identity.created"]}`

func withWebhooks(table *hookTable) func(*world) {
	return func(w *world) { w.options.Webhooks = webhooksIn(table) }
}

func TestWebhookRoutes(t *testing.T) {
	t.Parallel()
	table := &hookTable{}
	c := newWorld(t, withWebhooks(table)).admin()
	secrets := []string{}
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string // what the answer holds
	}{
		{"POST", "", wantedWebhook, 201, `"secret":"whsec_`},
		{"POST", "", wantedWebhook, 409, "A hook has this name"},
		{"GET", "", "", 200, `{"name":"crm","url":"https://crm.example/in?…","events":["identity.created"],"in_file":false,"secrets":1,"created_at":"2026-11-24T12:00:00.123456Z","updated_at":"2026-11-24T12:00:00.123456Z"},{"name":"filed"`},
		{"GET", "/crm", "", 200, `"secrets":1`},
		{"POST", "/crm/test", "", 200, `"status":200`},
		{"POST", "/crm/rotate", "", 200, `"secrets":2`},
		{"POST", "/crm/rotate/finish", "", 204, ""},
		{"GET", "/crm", "", 200, `"secrets":1`},
		{"POST", "/crm/enable", "", 204, ""},
		{"POST", "/filed/rotate", "", 409, "configuration file"},
		{"DELETE", "/filed", "", 409, "configuration file"},
		{"DELETE", "/crm", "", 204, ""},
		{"DELETE", "/crm", "", 404, "no hook"},
		{"GET", "/crm", "", 404, "no hook"},
		{"POST", "/crm/test", "", 404, "no hook"},
		{"POST", "/crm/rotate", "", 404, "no hook"},
		{"POST", "/crm/rotate/finish", "", 404, "no hook"},
		{"POST", "/crm/enable", "", 404, "no hook"},
		{"GET", "/%00", "", 404, "nothing at this path"},
		{"POST", "", `{"name":"crm","url":"https://crm.example","events":["identity.gone"]}`, 400, "identity.gone"},
		{"POST", "", `{"name":"identity","url":"https://crm.example","events":["identity.created"]}`, 400, "part of Usher"},
		{"POST", "", `{"name":"crm","url":"x","events":["identity.created"]}`, 400, "url"},
		{"POST", "", `{"name":"crm","url":"https://crm.example"}`, 400, "no event types"},
		{"POST", "", `{"name":"crm","secret":"x"}`, 400, "unknown field"},
		{"POST", "", `{"NAME":"crm","url":"https://crm.example","events":["identity.created"]}`, 400, "unknown field"},
		{"POST", "", `{"name":1}`, 400, "wrong type"},
		{"POST", "", `{"name":"a","name":"b"}`, 400, "twice"},
		{"POST", "", `[]`, 400, "not an object"},
	} {
		g := c.do(step.method, "/admin/webhooks"+step.path, step.body, "Content-Type", "application/json")
		if g.status != step.status || !strings.Contains(g.body, step.want) || strings.Contains(g.body, "hidden") {
			t.Errorf("%s %s %s = %d %s, want %d with %s, and no query", step.method, step.path, step.body, g.status, g.body, step.status, step.want)
		}
		var shown struct{ Secret string }
		if json.Unmarshal([]byte(g.body), &shown) == nil && shown.Secret != "" {
			secrets = append(secrets, shown.Secret)
		}
	}
	if len(secrets) != 2 || secrets[0] == secrets[1] {
		t.Errorf("%d secrets were shown, want those of add and rotate", len(secrets))
	}
	if len(table.said) != 4 || table.said[0].Actor == "" {
		t.Errorf("events = %v, want one for each change, with who made it", table.said)
	}
}

func TestWebhookThatWaitsForTheBus(t *testing.T) {
	t.Parallel()
	table := &hookTable{broken: errors.New("no bus"), answer: errors.New("no answer within 15s")}
	c := newWorld(t, withWebhooks(table)).admin()
	if g := c.do("POST", "/admin/webhooks", wantedWebhook, "Content-Type", "application/json"); g.status != 201 || !strings.Contains(g.body, `"ready":false`) || !strings.Contains(g.body, "whsec_") {
		t.Errorf("POST without a bus = %d %s, want the webhook with its secret, not ready", g.status, g.body)
	}
	if g := c.do("POST", "/admin/webhooks/crm/test", ""); g.status != 200 || !strings.Contains(g.body, `"status":0,`) || !strings.Contains(g.body, "no answer within 15s") {
		t.Errorf("test of an endpoint that is away = %d %s, want why", g.status, g.body)
	}
}

var _ api.Webhooks = (*delivery.Webhooks)(nil)
