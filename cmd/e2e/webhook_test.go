package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signedShapes are those that the scripts about webhooks run in: one process on
// SQLite, and many on PostgreSQL and a bus of their own.
var signedShapes = []string{"sqlite", "parts"}

// webhook runs a command about webhooks that has to succeed.
func (s *system) webhook(args ...string) string {
	s.t.Helper()
	stdout, stderr, code := usher(s.t, s.env, append([]string{"webhook", "--admin", s.admins[0]}, args...)...)
	if code != 0 {
		s.t.Fatalf("usher webhook %s = %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// fits tells whether a call is signed with a secret.
func (c call) fits(t *testing.T, secret string) bool {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify([]byte(c.body), c.header) == nil
}

// about gives the calls about an identity.
func (e *endpoint) about(id string) (found []call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		if strings.Contains(c.body, `"subject":"`+id+`"`) {
			found = append(found, c)
		}
	}
	return found
}

// waitAbout waits until so many calls about an identity have come.
func (e *endpoint) waitAbout(t *testing.T, id string, n int) []call {
	t.Helper()
	eventually(t, 40*time.Second, func() error {
		if got := len(e.about(id)); got < n {
			return fmt.Errorf("the endpoint got %d calls about %s, want %d", got, id, n)
		}
		return nil
	})
	return e.about(id)
}

func (e *endpoint) answers(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(status) }
}

// TestWebhook is the life of a webhook: declared, tried, called, rotated, down
// and up again, gone and enabled, removed.
func TestWebhook(t *testing.T) {
	t.Parallel()
	for _, shape := range signedShapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t)
			s := newSystem(t, shape, hooks(sessionHook))
			before := newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			s.delivered()
			secret := s.webhook("add", "crm", e.URL+"/in?key=hidden", "--events", "identity.created")
			if shown := s.webhook("list", "--json") + s.webhook("show", "crm"); !strings.Contains(shown, "crm") || strings.Contains(shown, "hidden") || strings.Contains(shown, secret) {
				t.Errorf("usher webhook list, show = %s, want the webhook without what is secret", shown)
			}
			if got := s.webhook("test", "crm"); !strings.HasPrefix(got, "200 in ") {
				t.Errorf("usher webhook test = %q, want the status and the time", got)
			}

			id := newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			c := e.waitAbout(t, id, 1)[0]
			if !c.fits(t, secret) || c.header.Get("Content-Type") != "application/cloudevents+json" || !strings.Contains(c.body, `"type":"identity.created"`) {
				t.Errorf("the endpoint got %s %v, want the event, signed", c.body, c.header)
			}
			if n := len(e.about(before)); n > 0 {
				t.Errorf("the endpoint got %d calls about a registration before it was declared", n)
			}

			second := s.webhook("rotate", "crm")
			s.settled()
			c = e.waitAbout(t, newApp(t, s.apis[0]).register(newAddress()).Identity.ID, 1)[0]
			if !c.fits(t, secret) || !c.fits(t, second) {
				t.Error("while secrets rotate a message does not fit both")
			}
			if _, stderr, code := usher(t, nil, "webhook", "rotate", "crm", "--admin", s.admins[0]); code == 0 || !strings.Contains(stderr, "--finish") {
				t.Errorf("usher webhook rotate while it rotates = %d %s, want a refusal", code, stderr)
			}
			s.webhook("rotate", "crm", "--finish")
			s.settled()
			c = e.waitAbout(t, newApp(t, s.apis[0]).register(newAddress()).Identity.ID, 1)[0]
			if c.fits(t, secret) || !c.fits(t, second) {
				t.Error("behind the rotation a message does not fit the new secret alone")
			}

			e.answers(http.StatusBadGateway)
			id = newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			e.waitAbout(t, id, 1)
			e.answers(http.StatusOK)
			calls := e.waitAbout(t, id, 2)
			if calls[0].body != calls[1].body || calls[0].header.Get("Webhook-Id") != calls[1].header.Get("Webhook-Id") {
				t.Errorf("attempts are %s and %s, want the same message", calls[0].body, calls[1].body)
			}
			if wait := calls[1].at.Sub(calls[0].at); wait < 3*time.Second || wait > 20*time.Second {
				t.Errorf("the second attempt came %s after the first, want the first step of the ladder", wait)
			}

			s.goneAndBack(e, "crm")

			s.webhook("remove", "crm", "--yes")
			s.settled()
			id = newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			s.delivered()
			if n := len(e.about(id)); n > 0 {
				t.Errorf("a webhook that is removed got %d calls", n)
			}
			for id, n := range e.ids() {
				if n > 2 {
					t.Errorf("message %s came %d times, want at most one retry", id, n)
				}
			}
			if log := s.logs(); strings.Contains(log, secret) || strings.Contains(log, second) || strings.Contains(log, "key=hidden") {
				t.Error("the log shows a secret")
			}
		})
	}
}

// goneAndBack has an endpoint answer 410, and enables the webhook again.
func (s *system) goneAndBack(e *endpoint, name string) {
	s.t.Helper()
	e.answers(http.StatusGone)
	e.waitAbout(s.t, newApp(s.t, s.apis[0]).register(newAddress()).Identity.ID, 1)
	eventually(s.t, 20*time.Second, func() error {
		if shown := s.webhook("list"); !strings.Contains(shown, "disabled (gone)") {
			return fmt.Errorf("usher webhook list = %s, want it disabled", shown)
		}
		if stdout, _, _ := usher(s.t, s.env, "events", "list", "--admin", s.admins[0], "--json"); !strings.Contains(stdout, `"type":"hook.disabled"`) {
			return fmt.Errorf("no event says that the webhook is disabled")
		}
		return nil
	})
	s.settled()
	e.answers(http.StatusOK)
	id := newApp(s.t, s.apis[0]).register(newAddress()).Identity.ID
	s.delivered()
	time.Sleep(time.Second)
	if n := len(e.about(id)); n > 0 {
		s.t.Errorf("a disabled webhook got %d calls", n)
	}
	s.webhook("enable", name)
	e.waitAbout(s.t, id, 1)
}

// settled gives all processes the time to look at the table of hooks.
func (s *system) settled() { time.Sleep(2500 * time.Millisecond) }

// delivered waits until the outbox is empty.
func (s *system) delivered() {
	s.t.Helper()
	eventually(s.t, 20*time.Second, func() error {
		if n := s.metric("usher_outbox_depth"); n > 0 {
			return fmt.Errorf("%.0f events are in the outbox", n)
		}
		return nil
	})
}

// ids counts how often each message came.
func (e *endpoint) ids() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := map[string]int{}
	for _, c := range e.calls {
		n[c.header.Get("Webhook-Id")]++
	}
	return n
}

// TestWebhookInTheFile declares a webhook in the configuration, where alone it
// can be changed, and takes it away by a reload.
func TestWebhookInTheFile(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	stdout, _, _ := usher(t, nil, "webhook", "secret")
	secret := strings.TrimSpace(stdout)
	file := write(t, filepath.Join(t.TempDir(), "crm.secret"), stdout)
	declared := settings{"webhooks": []any{settings{"name": "crm", "url": e.URL, "events": []any{"identity.created"}, "secret_file": file}}}
	s := newSystem(t, "sqlite", merge(hooks(sessionHook), declared))
	if c := e.waitAbout(t, newApp(t, s.apis[0]).register(newAddress()).Identity.ID, 1)[0]; !c.fits(t, secret) {
		t.Error("the secret of the file does not fit")
	}
	var all []struct {
		InFile bool `json:"in_file"`
	}
	if err := json.Unmarshal([]byte(s.webhook("list", "--json")), &all); err != nil || len(all) != 1 || !all[0].InFile {
		t.Errorf("usher webhook list = %v, %v, want the one of the file", all, err)
	}
	for _, args := range [][]string{{"remove", "crm", "--yes"}, {"rotate", "crm"}, {"add", "crm", e.URL, "--events", "identity.created"}} {
		if _, stderr, code := usher(t, s.env, append([]string{"webhook", "--admin", s.admins[0]}, args...)...); code == 0 || !strings.Contains(stderr, "409") {
			t.Errorf("usher webhook %v = %d %s, want a refusal", args, code, stderr)
		}
	}
	// Two lines while it rotates.
	next, _, _ := usher(t, nil, "webhook", "secret")
	if err := os.WriteFile(file, []byte(next+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.reload(merge(hooks(sessionHook), merge(declared, settings{"log": settings{"format": "json"}})))
	c := e.waitAbout(t, newApp(t, s.apis[0]).register(newAddress()).Identity.ID, 1)[0]
	if !c.fits(t, secret) || !c.fits(t, strings.TrimSpace(next)) {
		t.Error("with two secrets in the file a message does not fit both")
	}
	s.goneAndBack(e, "crm")
	s.reload(hooks(sessionHook))
	id := newApp(t, s.apis[0]).register(newAddress()).Identity.ID
	s.delivered()
	time.Sleep(time.Second)
	if n := len(e.about(id)); n > 0 {
		t.Errorf("a webhook that is not in the file any more got %d calls", n)
	}
	if shown := s.webhook("list", "--json"); slices.Contains(strings.Fields(shown), `"crm",`) {
		t.Errorf("usher webhook list = %s, want none", shown)
	}
}

// TestWebhooksOnPrivateAddresses: what an administrator may name is not what the
// server may reach.
func TestWebhooksOnPrivateAddresses(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	open := newEndpoint(t)
	s := newSystem(t, "sqlite", merge(hooks(sessionHook), settings{"clients": settings{"http": settings{
		"disallow_private_ip_ranges": true, "private_ip_exception_urls": []any{open.URL + "/*"},
	}}}))
	s.webhook("add", "inside", e.URL, "--events", "identity.created")
	stdout, _, code := usher(t, s.env, "webhook", "--admin", s.admins[0], "test", "inside")
	if code != 1 || !strings.Contains(stdout, "address is private") {
		t.Errorf("usher webhook test = %d %s, want a private address refused", code, stdout)
	}
	s.webhook("add", "excepted", open.URL+"/in", "--events", "identity.created")
	open.waitAbout(t, newApp(t, s.apis[0]).register(newAddress()).Identity.ID, 1)
	if n := e.called(); n > 0 {
		t.Errorf("the private endpoint was called %d times", n)
	}
	for _, args := range [][]string{
		{"add", "Crm", "https://crm.example", "--events", "identity.created"},
		{"add", "identity", "https://crm.example", "--events", "identity.created"},
		{"add", "webhook-crm", "https://crm.example", "--events", "identity.created"},
		{"add", "crm", "ftp://crm.example", "--events", "identity.created"},
		{"add", "crm", "https://u:hidden@crm.example", "--events", "identity.created"},
		{"add", "crm", "https://crm.example", "--events", "identity.gone"},
		{"add", "crm", "https://crm.example"},
		{"add", "inside", "https://crm.example", "--events", "identity.created"},
		{"test", "nobody"},
		{"remove", "nobody", "--yes"},
	} {
		if _, stderr, code := usher(t, s.env, append([]string{"webhook", "--admin", s.admins[0]}, args...)...); code == 0 || strings.Contains(stderr, "hidden") {
			t.Errorf("usher webhook %v = %d %s, want a refusal", args, code, stderr)
		}
	}
}
