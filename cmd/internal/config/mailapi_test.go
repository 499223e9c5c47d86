package config_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/courier"
)

const apiKey = "Bearer s3cr3t-of-the-mail-api"

// byAPI hands mails to an API, and is nothing for development.
const byAPI = `
courier:
  delivery_strategy: http
  http: {request_config: {url: 'https://api.mail.example.com/v3/send?tenant=s3cr3t', headers: {X-Tenant: s3cr3t}, body: file://body.jsonnet,
    auth: {type: api_key, config: {name: Authorization, in: header}}}}
`

func TestMailsByAPI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("body.jsonnet", "function(ctx) ctx")
	o := config.Options{
		File: write("usher.yaml", byAPI),
		Env:  append([]string{"USHER_COURIER__HTTP__REQUEST_CONFIG__AUTH__CONFIG__VALUE_FILE=" + write("key", apiKey+"\n")}, withSecret...),
	}
	before, warnings := load(t, o)
	e := before.MailEndpoint()
	if e.Method != http.MethodPost || !strings.HasPrefix(e.URL, "https://api.mail.example.com/") || e.Header.Get("X-Tenant") != "s3cr3t" || e.Body != "function(ctx) ctx" ||
		e.Auth.Name != "Authorization" || e.Auth.Value.Reveal() != apiKey {
		t.Errorf("endpoint = %s %s with %q by %s, want what is configured", e.Method, e.URL, e.Body, e.Auth.Name)
	}
	if !before.SendsMails() || before.KeepsMails() || !before.SelfService.Flows.Verification.Enabled || !before.SelfService.Flows.Recovery.Enabled {
		t.Error("want an API to be a way to write mails")
	}
	for _, w := range warnings {
		if strings.HasPrefix(w.Key, "courier.") {
			t.Errorf("warning = %v, want none about mails", w)
		}
	}
	printed, err := before.Print()
	if err != nil || strings.Contains(string(printed), "s3cr3t") || !strings.Contains(string(printed), "https://api.mail.example.com/[secret]") {
		t.Errorf("printed %s, %v; want the API's host, and no secret", printed, err)
	}

	for _, change := range []struct{ file, text, key string }{
		{"body.jsonnet", "function(ctx) {}", "courier.http.request_config"},
		{"key", "another", "courier.http.request_config.auth.config.value"},
		{"usher.yaml", strings.Replace(byAPI, "v3", "v4", 1), "courier.http.request_config.url"},
		{"usher.yaml", "courier: {smtp: {connection_uri: 'smtp://mail.example.com'}}", "courier.delivery_strategy"},
	} {
		write(change.file, change.text)
		after, _ := load(t, o)
		if changed, restart := config.Diff(before, after); !slices.Contains(changed, change.key) || len(restart) > 0 {
			t.Errorf("Diff with another %s = %v, %v, want %s and no restart", change.file, changed, restart, change.key)
		}
		before = after
	}
}

// Without a body of its own the built-in one is sent, and in development mails go out too.
func TestMailsByAPIInDevelopment(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{Dev: true, Overrides: map[string]any{
		"courier.delivery_strategy": "http", "courier.http.request_config.url": "http://127.0.0.1:8025/",
		"courier.smtp.connection_uri": "smtp://mail.example.org/",
	}})
	for _, w := range warnings {
		if strings.HasPrefix(w.Key, "courier.smtp.") {
			t.Errorf("warning = %v, want none about what has no effect", w)
		}
	}
	if e := c.MailEndpoint(); e.Body != courier.DefaultBody || c.KeepsMails() {
		t.Errorf("body = %q, mailbox %t, want the built-in body and no mailbox", e.Body, c.KeepsMails())
	}
	c, _ = load(t, config.Options{Dev: true, Overrides: map[string]any{"courier.http.request_config.url": "http://127.0.0.1:8025/"}})
	if !c.KeepsMails() {
		t.Error("want the mailbox as long as delivery_strategy is smtp")
	}
}
