package webhook_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
)

// received is a request that an endpoint got.
type received struct {
	*http.Request
	body []byte
}

type reply struct {
	status int
	header http.Header
	body   string
}

// endpoint is a server that keeps what it got.
type endpoint struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

func newEndpoint(t *testing.T, answer func(received) reply) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		in := received{Request: r, body: body}
		e.got = append(e.got, in)
		out := answer(in)
		for name, values := range out.header {
			w.Header()[name] = values
		}
		w.WriteHeader(out.status)
		_, _ = io.WriteString(w, out.body)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) calls() []received {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got
}

func newClient(t *testing.T, o webhook.Options) *webhook.Client {
	t.Helper()
	c, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newCall() *webhook.Call {
	at := time.Date(2026, 11, 24, 10, 0, 1, 0, time.UTC)
	return &webhook.Call{
		Input: webhook.Input{
			Flow: webhook.Flow{
				ID: "0d3f6a52-2f4f-4f0e-8a63-1d4f6a0a0001", Type: "api", RequestURL: "https://id.example/registration",
				IssuedAt: at.Add(-time.Second), ExpiresAt: at.Add(time.Hour - time.Second),
				TransientPayload: json.RawMessage(`{"campaign":"spring \ud83c\udf31"}`),
			},
			Request: webhook.Request{
				Method: "POST", URL: "https://id.example/registration?flow=1",
				Header: http.Header{"Accept": {"application/json"}}, Cookies: map[string]string{"theme": "dark"},
			},
			RequestID:   "request-1",
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		},
		EventID: "01936b1e-0000-7000-8000-000000000001",
		Identity: &identity.Identity{
			ID:             uuid.MustParse("0d3f6a52-2f4f-4f0e-8a63-1d4f6a0a0002"),
			SchemaID:       "default",
			State:          identity.Active,
			StateChangedAt: at,
			Traits:         json.RawMessage(`{"email":"ada@example.com"}`),
			MetadataAdmin:  json.RawMessage(`{"plan":"free"}`),
			Addresses: []identity.Address{{
				ID:  uuid.MustParse("0d3f6a52-2f4f-4f0e-8a63-1d4f6a0a0003"),
				Via: "email", Value: "ada@example.com", Verifiable: true, Identifier: true,
				Status: identity.AddressPending, CreatedAt: at, UpdatedAt: at,
			}},
			Credentials: []identity.Credential{{Type: "password", Config: json.RawMessage(`{"hashed_password":"hidden"}`)}},
			CreatedAt:   at,
			UpdatedAt:   at,
		},
	}
}
