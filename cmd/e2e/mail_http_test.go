package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// mailsOver is a configuration whose mails go to an API.
func mailsOver(e *endpoint) settings {
	return merge(verifying(settings{"hook": "show_verification_ui"}, sessionHook), settings{"courier": settings{
		"delivery_strategy": "http",
		"http": settings{"request_config": settings{
			"url":  e.URL + "/send?tenant=canary-url",
			"auth": settings{"type": "api_key", "config": settings{"name": "Authorization", "value": "Bearer canary-key", "in": "header"}},
		}},
	}})
}

// mailed waits for so many requests to an API, and gives them with the fields of the last.
func (e *endpoint) mailed(t *testing.T, n int) (calls []call, fields map[string]string) {
	t.Helper()
	eventually(t, 60*time.Second, func() error {
		if got := e.called(); got != n {
			return fmt.Errorf("%d requests for mails, want %d", got, n)
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	var all map[string]any
	if err := json.Unmarshal([]byte(e.calls[n-1].body), &all); err != nil {
		t.Fatalf("the mail %s: %v", e.calls[n-1].body, err)
	}
	fields = map[string]string{}
	for name, value := range all {
		fields[name] = fmt.Sprint(value)
	}
	return e.calls[:n:n], fields
}

// The code of a registration arrives over HTTP, through an API that is away, then has too
// much to do, then takes it; and from another one once the configuration says so.
func TestMailsGoOutOverHTTP(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			api, next := newEndpoint(t), newEndpoint(t)
			api.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
				switch api.called() {
				case 2:
					w.WriteHeader(http.StatusTooManyRequests)
				case 3:
					w.WriteHeader(http.StatusAccepted)
				default: // also where a process has not read the configuration again yet
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}
			s := newSystem(t, shape, mailsOver(api))
			app, address := newApp(t, s.api(0)), newAddress()
			r := app.register(address)
			calls, mail := api.mailed(t, 3)
			eventually(t, 20*time.Second, func() error { return s.count(r.Identity.ID, "mail.sent", 1) })
			if mail["recipient"] != address || mail["template_type"] != "verification_code_valid" || !strings.Contains(mail["body"], mail["verification_code"]) {
				t.Errorf("the mail is %v, want the code to %s", mail, address)
			}
			a := app.must("POST", "/self-service/verification?flow="+verificationFlow(r.ContinueWith), asJSON,
				fmt.Appendf(nil, `{"method":"code","code":%q}`, mail["verification_code"]))
			if a.status != http.StatusOK || !strings.Contains(string(a.body), "passed_challenge") {
				t.Errorf("the code of the mail = %d %s", a.status, a.body)
			}
			page, err := s.mails(address)
			if err != nil || len(page) != 1 || page[0].Status != "sent" || strings.Contains(page[0].Body, mail["verification_code"]) {
				t.Fatalf("messages = %v %+v, want one that was sent, and nothing of what it said", err, page)
			}
			for n, c := range calls {
				if c.header.Get("Idempotency-Key") != page[0].ID || c.header.Get("Authorization") != "Bearer canary-key" || c.body != calls[0].body {
					t.Errorf("request %d is %s %v, want the same of each attempt", n+1, c.body, c.header)
				}
			}

			s.reload(mailsOver(next))
			other := newAddress()
			id := newApp(t, s.api(0)).register(other).Identity.ID
			if _, mail := next.mailed(t, 1); mail["recipient"] != other {
				t.Errorf("the mail behind a reload is %v, want that to %s", mail, other)
			}
			eventually(t, 20*time.Second, func() error { return s.count(id, "mail.sent", 1) })
		})
	}
}
