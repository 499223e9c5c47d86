package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
)

func TestRequestCarriesWhatIsConfigured(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	c := newClient(t, webhook.Options{Endpoints: []webhook.Endpoint{
		{
			ID: "key", URL: e.URL + "/key?a=1", Method: "PUT", Body: "function(ctx) {a: 1}",
			Header: http.Header{"x-source": {"ids"}, "host": {"other.example"}},
			Auth:   webhook.Auth{Type: "api_key", Name: "Authorization", Value: webhook.NewSecret("s3cret")},
		},
		{ID: "cookie", URL: e.URL, Auth: webhook.Auth{Type: "api_key", Name: "k", Value: webhook.NewSecret("v"), In: "cookie"}},
		{ID: "basic", URL: e.URL, Auth: webhook.Auth{Type: "basic_auth", User: "u", Password: webhook.NewSecret("p")}},
	}})
	for _, name := range []string{"webhook-key", "webhook-cookie", "webhook-basic"} {
		if err := c.Notify(t.Context(), name, newCall()); err != nil {
			t.Fatalf("Notify(%s) = %v, want nil", name, err)
		}
	}
	calls := e.calls()
	key, cookie, basic := calls[0], calls[1], calls[2]

	if got, want := fmt.Sprint(key.Method, key.URL, key.Host, string(key.body)), `PUT/key?a=1other.example{"a":1}`; got != want {
		t.Errorf("request = %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		"X-Source": "ids", "Authorization": "s3cret", "Content-Type": "application/json", "User-Agent": "usher",
		"X-Request-Id": "request-1", "Idempotency-Key": "01936b1e-0000-7000-8000-000000000001",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		if got := key.Header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	if got := cookie.Header.Get("Cookie"); got != "k=v" {
		t.Errorf("Cookie = %q, want k=v", got)
	}
	if cookie.Method != http.MethodPost || len(cookie.body) != 0 || cookie.Header.Get("Content-Type") != "" {
		t.Errorf("request without body = %s %q %q, want POST and nothing", cookie.Method, cookie.body, cookie.Header.Get("Content-Type"))
	}
	if u, p, _ := basic.BasicAuth(); u != "u" || p != "p" {
		t.Errorf("BasicAuth = %q, %q, want u, p", u, p)
	}
}

func TestRefuseReadsTheAnswer(t *testing.T) {
	t.Parallel()
	const messages = `{"messages":[
		{"instance_ptr":"#/traits/email","messages":[{"id":123,"text":"no","type":"error","context":{"a":1}},{"id":124,"text":"never"}]},
		{"instance_ptr":"/traits/a~1b/c%20d","messages":[{"id":125,"text":"x"}]},
		{"instance_ptr":"#/traits/c%20d","messages":[{"id":126,"text":"y"}]},
		{"messages":[{"id":127,"text":"all"}]}]}`
	refused := []webhook.Message{
		{Node: "traits.email", ID: 123, Text: "no", Type: "error", Context: json.RawMessage(`{"a":1}`)},
		{Node: "traits.email", ID: 124, Text: "never", Type: "error"},
		{Node: "traits.a/b.c%20d", ID: 125, Text: "x", Type: "error"},
		{Node: "traits.c d", ID: 126, Text: "y", Type: "error"},
		{Node: "", ID: 127, Text: "all", Type: "error"},
	}
	for name, tc := range map[string]struct {
		answer  reply
		calls   int
		refused []webhook.Message
		failed  string
	}{
		"agrees":                      {answer: reply{status: 204}, calls: 1},
		"agrees with an odd text":     {answer: reply{status: 201, body: "thanks"}, calls: 1},
		"says nothing":                {answer: reply{status: 200}, calls: 1},
		"says something else":         {answer: reply{status: 200, body: `{"ok":true}`}, calls: 1},
		"is not JSON":                 {answer: reply{status: 200, body: "thanks"}, calls: 1, failed: "not the JSON of an identity"},
		"is not UTF-8":                {answer: reply{status: 200, body: "{\"identity\":{\"metadata_admin\":\"\xff\"}}"}, calls: 1, failed: "not UTF-8"},
		"holds a NUL":                 {answer: reply{status: 200, body: `{"identity":{"metadata_admin":"\u0000"}}`}, calls: 1, failed: "the NUL character"},
		"broken external id":          {answer: reply{status: 200, body: `{"identity":{"external_id":"a\tb"}}`}, calls: 1, failed: "external_id"},
		"unknown state":               {answer: reply{status: 200, body: `{"identity":{"state":"gone"}}`}, calls: 1, failed: "identity.state"},
		"refuses":                     {answer: reply{status: 422, body: messages}, calls: 1, refused: refused},
		"refuses with a server error": {answer: reply{status: 500, body: messages}, calls: 1, refused: refused},
		"refuses without a message":   {answer: reply{status: 400, body: `{"messages":[]}`}, calls: 1, failed: "answered 400"},
		"is not found":                {answer: reply{status: 404, body: "<html>"}, calls: 1, failed: "answered 404"},
		"is broken":                   {answer: reply{status: 503}, calls: 3, failed: "answered 503"},
		"redirects":                   {answer: reply{status: 302, header: http.Header{"Location": {"/elsewhere"}}}, calls: 1, failed: "answered 302"},
		"is too long":                 {answer: reply{status: 200, body: strings.Repeat("x", 1<<20+1)}, calls: 3, failed: "over 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, func(received) reply { return tc.answer })
			c := newClient(t, webhook.Options{Endpoints: []webhook.Endpoint{{ID: "x", URL: e.URL + "?key=hidden", Parse: true}}})
			call := newCall()
			err := c.Refuse(t.Context(), "webhook-x", call)

			var refusal *webhook.Refusal
			if errors.As(err, &refusal) != (tc.refused != nil) {
				t.Errorf("Refuse = %v, want a refusal: %t", err, tc.refused != nil)
			}
			if refusal != nil {
				if diff := cmp.Diff(tc.refused, refusal.Messages); diff != "" {
					t.Errorf("messages differ (-want +got):\n%s", diff)
				}
			}
			checkFailed(t, err, tc.failed)
			if n := len(e.calls()); n != tc.calls {
				t.Errorf("endpoint was called %d times, want %d", n, tc.calls)
			}
			if diff := cmp.Diff(newCall().Identity, call.Identity); diff != "" {
				t.Errorf("identity changed (-want +got):\n%s", diff)
			}
		})
	}
}

// checkFailed wants a Failed with a text, or none if the text is empty.
func checkFailed(t *testing.T, err error, text string) {
	t.Helper()
	var failed *webhook.Failed
	if errors.As(err, &failed) != (text != "") || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("err = %v, want a Failed with %q", err, text)
	}
	if err != nil && strings.Contains(err.Error(), "hidden") {
		t.Errorf("err = %v, which shows the query", err)
	}
}

func TestParsedAnswerChangesTheIdentity(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		answer string
		want   func(*identity.Identity)
	}{
		"everything": {
			`{"identity":{"external_id":"crm-7","schema_id":"staff","state":"inactive","traits":{"email":"bob@example.com"},
				"metadata_public":{"a":1},"metadata_admin":null}}`,
			func(i *identity.Identity) {
				i.ExternalID = "crm-7"
				i.SchemaID, i.State, i.StateChangedAt = "staff", identity.Inactive, now
				i.Traits = json.RawMessage(`{"email":"bob@example.com"}`)
				i.MetadataPublic, i.MetadataAdmin = json.RawMessage(`{"a":1}`), nil
			},
		},
		"verified now": {
			`{"identity":{"verifiable_addresses":[{"via":"email","value":"Ada@Example.com","verified":true}]}}`,
			func(i *identity.Identity) {
				a := &i.Addresses[0]
				a.Verified, a.VerifiedAt, a.Status = true, now, identity.AddressCompleted
			},
		},
		"verified before": {
			`{"identity":{"verifiable_addresses":[{"via":"email","value":"ada@example.com","verified":true,"verified_at":"2020-01-02T03:04:05+01:00"}]}}`,
			func(i *identity.Identity) {
				a := &i.Addresses[0]
				a.Verified, a.VerifiedAt, a.Status = true, time.Date(2020, 1, 2, 2, 4, 5, 0, time.UTC), identity.AddressCompleted
			},
		},
		"verified with new traits": {
			`{"identity":{"traits":{"email":"bob@example.com"},"verifiable_addresses":[{"via":"email","value":"bob@example.com","verified":true}]}}`,
			func(i *identity.Identity) {
				i.Traits = json.RawMessage(`{"email":"bob@example.com"}`)
				i.Addresses = append(i.Addresses, identity.Address{
					Via: "email", Value: "bob@example.com", Verifiable: true, Verified: true, VerifiedAt: now, Status: identity.AddressCompleted,
				})
			},
		},
		"an address that nobody entered": {
			`{"identity":{"traits":{"email":"ada@example.com"},"verifiable_addresses":[{"via":"email","value":"eve@example.com","verified":true}]}}`,
			func(*identity.Identity) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, func(received) reply { return reply{status: 200, body: tc.answer} })
			c := newClient(t, webhook.Options{
				Endpoints: []webhook.Endpoint{{ID: "x", URL: e.URL, Parse: true}, {ID: "y", URL: e.URL, CanInterrupt: true}},
				Now:       func() time.Time { return now },
			})
			got, want := newCall(), newCall()
			tc.want(want.Identity)
			if err := c.Refuse(t.Context(), "webhook-x", got); err != nil {
				t.Fatalf("Refuse = %v, want nil", err)
			}
			if diff := cmp.Diff(want.Identity, got.Identity); diff != "" {
				t.Errorf("identity differs (-want +got):\n%s", diff)
			}

			got = newCall()
			if err := c.Refuse(t.Context(), "webhook-y", got); err != nil {
				t.Fatalf("Refuse without parse = %v, want nil", err)
			}
			if diff := cmp.Diff(newCall().Identity, got.Identity); diff != "" {
				t.Errorf("identity changed without parse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNotifyAndDeliver(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		answer          reply
		notify, deliver string // text of the error
		notified        int    // calls
		status          int
		retryAfter      time.Duration
	}{
		"fine":         {answer: reply{status: 200, body: "anything"}, notified: 1},
		"refuses":      {answer: reply{status: 400, body: `{"messages":[{"messages":[{"id":1,"text":"no"}]}]}`}, notify: "answered 400", deliver: "answered 400", notified: 1, status: 400},
		"breaks":       {answer: reply{status: 500}, notify: "answered 500", deliver: "answered 500", notified: 3, status: 500},
		"redirects":    {answer: reply{status: 307, header: http.Header{"Location": {"/x"}}}, notify: "answered 307", deliver: "answered 307", notified: 1, status: 307},
		"asks to wait": {answer: reply{status: 429, header: http.Header{"Retry-After": {"7"}}}, notify: "answered 429", deliver: "answered 429", notified: 1, status: 429, retryAfter: 7 * time.Second},
		"asks to wait until": {
			answer: reply{status: 429, header: http.Header{"Retry-After": {"Tue, 24 Nov 2026 12:00:09 GMT"}}},
			notify: "answered 429", deliver: "answered 429", notified: 1, status: 429, retryAfter: 9 * time.Second,
		},
		"asks for ever": {
			answer: reply{status: 429, header: http.Header{"Retry-After": {"99999999999999999999"}}},
			notify: "answered 429", deliver: "answered 429", notified: 1, status: 429, retryAfter: math.MaxInt32 * time.Second,
		},
		"asks nonsense": {answer: reply{status: 429, header: http.Header{"Retry-After": {"-7"}}}, notify: "answered 429", deliver: "answered 429", notified: 1, status: 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, func(received) reply { return tc.answer })
			c := newClient(t, webhook.Options{
				Endpoints: []webhook.Endpoint{{ID: "x", URL: e.URL + "?key=hidden"}}, Now: func() time.Time { return now },
			})
			checkFailed(t, c.Notify(t.Context(), "webhook-x", newCall()), tc.notify)
			if n := len(e.calls()); n != tc.notified {
				t.Errorf("Notify called the endpoint %d times, want %d", n, tc.notified)
			}
			err := c.Deliver(t.Context(), "webhook-x", newCall())
			checkFailed(t, err, tc.deliver)
			if n := len(e.calls()) - tc.notified; n != 1 {
				t.Errorf("Deliver called the endpoint %d times, want 1", n)
			}
			var failed *webhook.Failed
			if errors.As(err, &failed) && (failed.Status != tc.status || failed.RetryAfter != tc.retryAfter || failed.Endpoint != "webhook-x") {
				t.Errorf("Deliver = %+v, want status %d, retry after %s", *failed, tc.status, tc.retryAfter)
			}
		})
	}
}

func TestNotifyTriesAgain(t *testing.T) {
	t.Parallel()
	n := 0
	e := newEndpoint(t, func(received) reply {
		n++
		return reply{status: map[bool]int{true: 500, false: 200}[n < 3]}
	})
	c := newClient(t, webhook.Options{Endpoints: []webhook.Endpoint{{ID: "x", URL: e.URL, Body: "function(ctx) {a: 1}"}}})
	if err := c.Notify(t.Context(), "webhook-x", newCall()); err != nil {
		t.Errorf("Notify = %v, want nil at the third attempt", err)
	}
	for _, r := range e.calls() {
		if string(r.body) != `{"a":1}` {
			t.Errorf("body = %q, want it whole in each attempt", r.body)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, answers never
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	c := newClient(t, webhook.Options{
		Endpoints: []webhook.Endpoint{
			{ID: "silent", URL: "http://" + l.Addr().String() + "/?key=hidden"},
			{ID: "gone", URL: "http://u:hidden@" + gone.Addr().String() + "/?key=hidden"},
		},
		Timeout: 50 * time.Millisecond, AnswerTimeout: 50 * time.Millisecond,
	})
	checkFailed(t, c.Deliver(t.Context(), "webhook-silent", newCall()), "no answer within 50ms")
	checkFailed(t, c.Notify(t.Context(), "webhook-silent", newCall()), "no answer within 50ms")
	checkFailed(t, c.Refuse(t.Context(), "webhook-gone", newCall()), "refused")
	checkFailed(t, c.Deliver(t.Context(), "webhook-nowhere", newCall()), "not configured")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	checkFailed(t, c.Notify(ended, "webhook-silent", newCall()), "context canceled")
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	_, port, err := net.SplitHostPort(e.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	byName := "http://localhost:" + port
	c := newClient(t, webhook.Options{
		Endpoints: []webhook.Endpoint{
			{ID: "address", URL: e.URL + "/a"},
			{ID: "name", URL: byName + "/a"},
			{ID: "excepted", URL: e.URL + "/open/a"},
			{ID: "deeper", URL: e.URL + "/open/a/b"},
			{ID: "deep", URL: e.URL + "/deep/a/b.c"},
		},
		DisallowPrivateIPRanges: true,
		PrivateIPExceptionURLs:  []string{e.URL + "/open/*", "http://**/deep/**", "http://127"},
	})
	for name, want := range map[string]string{
		"address": "address is private", "name": "address is private", "deeper": "address is private", "excepted": "", "deep": "",
	} {
		checkFailed(t, c.Deliver(t.Context(), "webhook-"+name, newCall()), want)
		checkFailed(t, c.Refuse(t.Context(), "webhook-"+name, newCall()), want)
	}
	if n := len(e.calls()); n != 4 {
		t.Errorf("endpoint was called %d times, want 4", n)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	addresses := map[string]bool{}
	e := newEndpoint(t, func(r received) reply {
		addresses[r.RemoteAddr] = true
		return reply{status: 200, body: strings.Repeat("x", 1<<16)}
	})
	c := newClient(t, webhook.Options{Endpoints: []webhook.Endpoint{{ID: "x", URL: e.URL}}})
	for range 20 {
		if err := c.Deliver(t.Context(), "webhook-x", newCall()); err != nil {
			t.Fatal(err)
		}
	}
	if len(addresses) != 1 {
		t.Errorf("20 deliveries in a row used %d connections, want 1", len(addresses))
	}
}

func BenchmarkDeliver(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })}
	go func() { _ = server.Serve(l) }()
	b.Cleanup(func() { _ = server.Close() })
	for name, body := range map[string]string{"no body": "", "body": `function(ctx) { id: ctx.identity.id, email: ctx.identity.traits.email }`} {
		b.Run(name, func(b *testing.B) {
			c, err := webhook.New(webhook.Options{Endpoints: []webhook.Endpoint{{ID: "x", URL: "http://" + l.Addr().String(), Body: body}}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Deliver(b.Context(), "webhook-x", newCall()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
