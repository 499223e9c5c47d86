package api_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/delivery"
)

func (d *hookDesk) failure() delivery.Failure {
	return delivery.Failure{N: 9, Hook: "crm", EventID: d.event.String(), State: delivery.Dead, Attempts: 5, Reason: "it is down", EventType: "identity.created", FirstAt: noon, LastAt: noon}
}

func (d *hookDesk) Failure(_ context.Context, hook string, id uuid.UUID) (delivery.Failure, error) {
	if d.err == nil && (hook != "crm" || id != d.event) {
		return delivery.Failure{}, delivery.ErrNoFailure
	}
	return d.failure(), d.err
}

func (d *hookDesk) Failures(_ context.Context, q delivery.FailureQuery) ([]delivery.Failure, error) {
	d.query = q
	return []delivery.Failure{d.failure()}, d.err
}

func (d *hookDesk) EventPayload(context.Context, uuid.UUID) ([]byte, string, error) {
	return []byte(`{"id":"x"}`), "identity.created", nil
}

func (d *hookDesk) Redeliver(_ context.Context, q delivery.FailureQuery, _ delivery.Author) (int, error) {
	d.query = q
	return d.count, d.err
}

func (d *hookDesk) Discard(_ context.Context, q delivery.FailureQuery, reason string, _ delivery.Author) (int, error) {
	d.query = q
	if reason == "" {
		return 0, &delivery.Invalid{Text: "a discard needs a reason"}
	}
	return d.count, d.err
}

func (d *hookDesk) Replay(_ context.Context, o delivery.ReplayOptions, _ func(delivery.Replayed)) (delivery.Replayed, error) {
	d.replay = o
	if d.err == nil && o.Hook != "crm" {
		return delivery.Replayed{}, delivery.ErrNoHook
	}
	return delivery.Replayed{ID: "r", After: 12, Count: 3}, d.err
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	one := "/admin/dead-letters/crm/" + id.String()
	for _, r := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"GET", "/admin/dead-letters", "", 200, `"next":""`},
		{"GET", "/admin/dead-letters?limit=1", "", 200, `"next":"9"`},
		{"GET", "/admin/dead-letters?state=waiting&hook=crm&after=9&event=" + id.String(), "", 200, `"dead_letters":[{`},
		{"GET", "/admin/dead-letters?type=identity.created&reason_contains=down", "", 200, `"event_type":"identity.created"`},
		{"GET", "/admin/dead-letters?type=identity.creatd", "", 400, "did you mean identity.created?"},
		{"POST", "/admin/dead-letters/redeliver", `{"type":"identity.created"}`, 200, `"count":2`},
		{"POST", "/admin/dead-letters/redeliver", `{"reason_contains":"down"}`, 200, `"count":2`},
		{"POST", "/admin/dead-letters/discard", `{"type":"identity.creatd","reason":"old"}`, 400, "did you mean identity.created?"},
		{"GET", "/admin/dead-letters?state=lost", "", 400, "state"},
		{"GET", "/admin/dead-letters?event=x", "", 400, "event"},
		{"GET", "/admin/dead-letters?after=-1", "", 400, "cursor"},
		{"GET", "/admin/dead-letters?limit=1001", "", 400, "limit"},
		{"GET", one, "", 200, `"event":{"id":"x"}`},
		{"GET", "/admin/dead-letters/crm/" + uuid.NewString(), "", 404, ""},
		{"GET", "/admin/dead-letters/crm/x", "", 404, ""},
		{"POST", "/admin/dead-letters/redeliver", `{"hook":"crm"}`, 200, `"count":2,"more":false`},
		{"POST", "/admin/dead-letters/redeliver", `{"all":true,"limit":2}`, 200, `"count":2,"more":true`},
		{"POST", "/admin/dead-letters/redeliver", `{"all":true,"limit":501}`, 400, "limit"},
		{"POST", "/admin/dead-letters/redeliver", `{"all":true,"limit":-1}`, 400, "limit"},
		{"POST", "/admin/dead-letters/redeliver", `{}`, 400, "say which"},
		{"POST", "/admin/dead-letters/redeliver", "", 400, "say which"},
		{"POST", "/admin/dead-letters/redeliver", `{"event":"x"}`, 400, "event"},
		{"POST", "/admin/dead-letters/redeliver", `{"hook":"crm","reason":"x"}`, 400, "reason"},
		{"POST", "/admin/dead-letters/redeliver", `{"hook":"crm","state":"done"}`, 400, ""},
		{"POST", "/admin/dead-letters/discard", `{"hook":"crm","reason":"old"}`, 200, `"count":2`},
		{"POST", "/admin/dead-letters/discard", `{"hook":"crm"}`, 400, "reason"},
		{"POST", "/admin/hooks/crm/replay", `{"types":["identity.created"]}`, 200, `"count":3,"more":false`},
		{"POST", "/admin/hooks/other/replay", `{}`, 404, ""},
		{"POST", "/admin/hooks/crm/replay", `{"per_second":10001}`, 400, "per_second"},
		{"POST", "/admin/hooks/crm/replay", `{"after":-1}`, 400, "after"},
		{"POST", "/admin/hooks/crm/replay", `{"id":"x"}`, 400, "id"},
		{"POST", "/admin/hooks/crm/replay", `{"until":1}`, 400, ""},
		{"GET", "/admin/dead-letters?hook=%00", "", 400, "NUL"},
		{"GET", "/admin/dead-letters/%00/" + id.String(), "", 404, "nothing at this path"},
		{"POST", "/admin/dead-letters/redeliver", `{"hook":"\u0000"}`, 400, "NUL"},
		{"POST", "/admin/dead-letters/discard", `{"hook":"\u0000"}`, 400, "NUL"},
		{"POST", "/admin/dead-letters/discard", "{\"hook\":\"\xff\"}", 400, "UTF-8"},
	} {
		c := newWorld(t, withHooks(&hookDesk{event: id, count: 2})).admin()
		g := c.do(r.method, r.path, r.body, "Content-Type", asJSON)
		if g.status != r.status || !strings.Contains(g.body, r.has) {
			t.Errorf("%s %s %s = %d %s, want %d with %s", r.method, r.path, r.body, g.status, g.body, r.status, r.has)
		}
	}
}

// TestDeadLettersByTypeAndReason: what is changed is what was shown.
func TestDeadLettersByTypeAndReason(t *testing.T) {
	t.Parallel()
	d := &hookDesk{event: uuid.New()}
	c := newWorld(t, withHooks(d)).admin()
	want := delivery.FailureQuery{Hook: "crm", EventType: "identity.created", Reason: "50%", State: delivery.Dead, Limit: 100}
	if c.get("/admin/dead-letters?hook=crm&type=identity.created&reason_contains=50%25"); d.query != want {
		t.Errorf("the list asks for %+v, want %+v", d.query, want)
	}
	want.State, want.Limit = "", 500 // who changes them asks for dead ones
	for path, reason := range map[string]string{"redeliver": "", "discard": `,"reason":"old"`} {
		d.query = delivery.FailureQuery{}
		c.do("POST", "/admin/dead-letters/"+path, `{"hook":"crm","type":"identity.created","reason_contains":"50%"`+reason+`}`, "Content-Type", asJSON)
		if d.query != want {
			t.Errorf("%s asks for %+v, want %+v", path, d.query, want)
		}
	}
}
