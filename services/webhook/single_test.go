package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/webhook"
)

// What a single endpoint answers is not read to its end: a mail that was taken is taken.
func TestSingleLooksAtTheStatusOnly(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 202, body: strings.Repeat("x", 1<<21)} })
	single, err := newClient(t, webhook.Options{}).Single(webhook.Endpoint{URL: e.URL, Body: "function(ctx) ctx"})
	if err != nil {
		t.Fatal(err)
	}
	status, written, err := single.Call(t.Context(), "key-1", map[string]int{"a": 1})
	if status != 202 || !written || err != nil {
		t.Errorf("Call = %d, %t, %v, want 202 of a request that went out", status, written, err)
	}
	if got := e.calls()[0]; string(got.body) != `{"a":1}` || got.Header.Get("Idempotency-Key") != "key-1" {
		t.Errorf("request = %s %v, want the input and the key", got.body, got.Header)
	}
}

func TestSingleIsChecked(t *testing.T) {
	t.Parallel()
	c := newClient(t, webhook.Options{})
	for _, e := range []webhook.Endpoint{
		{URL: "canary"},
		{URL: "http://127.0.0.1/", Body: "function(ctx) import 'canary'"},
		{URL: "http://127.0.0.1/", Header: http.Header{"A": {"canary\n"}}},
		{URL: "http://127.0.0.1/", Auth: webhook.Auth{Type: "api_key", Value: webhook.NewSecret("canary")}},
	} {
		if _, err := c.Single(e); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("Single = %v, want an error that shows nothing", err)
		}
	}
}

func TestProbeSendsNothing(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // of an authority that nobody knows
	t.Cleanup(secure.Close)
	for _, tc := range []struct {
		name, url, want string
		options         webhook.Options
	}{
		{"plain", e.URL + "/canary", "", webhook.Options{}},
		{"private", e.URL + "/canary", "address is private", webhook.Options{DisallowPrivateIPRanges: true}},
		{"excepted", e.URL + "/canary", "", webhook.Options{DisallowPrivateIPRanges: true, PrivateIPExceptionURLs: []string{e.URL + "/*"}}},
		{"certificate", secure.URL + "/canary", "TLS: ", webhook.Options{}},
		{"nobody", "http://127.0.0.1:1/canary", "connect: ", webhook.Options{}},
	} {
		single, err := newClient(t, tc.options).Single(webhook.Endpoint{URL: tc.url})
		if err != nil {
			t.Fatal(err)
		}
		err = single.Probe(t.Context())
		if (err != nil) != (tc.want != "") || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: Probe = %v, want %q", tc.name, err, tc.want)
		}
	}
	if n := len(e.calls()); n != 0 {
		t.Errorf("%d requests came, want none", n)
	}
}
