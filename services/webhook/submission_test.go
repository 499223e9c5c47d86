package webhook_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
)

// Cookies reach who is called at once, and are in nothing that is stored.
func TestCookiesAreNotKept(t *testing.T) {
	t.Parallel()
	s := webhook.Submission{
		Flow:             &flow.Flow{Type: flow.Browser, RequestURL: "https://example.org/login"},
		TransientPayload: []byte(`{"a":1}`),
		Request:          webhook.Request{Method: "POST", Cookies: map[string]string{"theme": "dark"}},
		Client:           flow.Client{RequestID: "r", TraceParent: "t"},
	}
	kept, call := s.Input(), s.Call(&identity.Identity{SchemaID: "person"})
	if kept.Request.Cookies != nil || call.Request.Cookies["theme"] != "dark" || s.Request.Cookies["theme"] != "dark" {
		t.Errorf("kept %v, called with %v, want none and those of the request", kept.Request.Cookies, call.Request.Cookies)
	}
	kept.Request.Cookies = s.Request.Cookies
	if diff := cmp.Diff(call.Input, kept); diff != "" || call.Identity.SchemaID != "person" || kept.RequestID != "r" || kept.Flow.Type != "browser" {
		t.Errorf("called with %+v, kept %+v", call, kept)
	}
}
