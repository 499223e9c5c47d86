package webhook_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/webhook"
)

// durable is what the bus takes as a name of a durable consumer.
var durable = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 49)
	for _, tc := range []struct{ id, url, want string }{
		{"audit", "http://a", "webhook-audit"},
		{" CRM_sync (new) ", "http://a", "webhook-crm-sync-new"},
		{"", "http://a", "webhook-54df484bb282"},
		{"…", "http://a", "webhook-"},
		{long, "http://a", "webhook-"},
	} {
		got := webhook.Endpoint{ID: tc.id, URL: tc.url}.Name()
		if !strings.HasPrefix(got, tc.want) || !durable.MatchString(got) || len(got) > 64 {
			t.Errorf("Endpoint{%q, %q}.Name() = %q, want %s", tc.id, tc.url, got, tc.want)
		}
	}
	a, b := webhook.Endpoint{URL: "http://a"}, webhook.Endpoint{URL: "http://b"}
	if a.Name() == b.Name() {
		t.Errorf("two URLs have the name %q", a.Name())
	}
	if _, err := webhook.New(webhook.Options{Endpoints: []webhook.Endpoint{a, b, a}}); err != nil {
		t.Errorf("New with the same endpoint twice = %v, want nil", err)
	}
	if _, err := webhook.New(webhook.Options{Endpoints: []webhook.Endpoint{a, {URL: "http://a", Parse: true}}}); err == nil {
		t.Error("New with two different endpoints of one name = nil, want an error")
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	e := webhook.Endpoint{
		ID: "x", URL: "http://u:hidden@h/?k=hidden", Header: http.Header{"A": {"hidden"}},
		Auth: webhook.Auth{Value: webhook.NewSecret("hidden"), Password: webhook.NewSecret("hidden")},
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "e", e, "a", e.Auth)
	encoded, err := json.Marshal(e.Auth)
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		shown += fmt.Sprintf(verb+verb+verb, e, &e, e.Auth)
	}
	if strings.Contains(shown, "hidden") || strings.Contains(shown, "68696464656e") {
		t.Errorf("a secret shows in %s", shown)
	}
}
