package webhook_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/usher-auth/usher/services/webhook"
)

func newMessage() webhook.SignedMessage {
	return webhook.SignedMessage{
		ID: "01936b1e-0000-7000-8000-000000000001", ContentType: "application/cloudevents+json", Body: []byte(`{"a":1}`),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// verify holds a request against a secret with the library of those who get it.
func verify(t *testing.T, r received, secret webhook.Secret) error {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return v.Verify(r.body, r.Header)
}

func TestSendSigns(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 204} })
	c := newClient(t, webhook.Options{OpenSigned: true})
	former, secret, other := webhook.NewSigningSecret(), webhook.NewSigningSecret(), webhook.NewSigningSecret()
	for _, secrets := range [][]webhook.Secret{{former}, {secret, former}, {secret}} {
		status, err := c.Send(t.Context(), webhook.Signed{Name: "crm", URL: e.URL + "/in?a=1", Secrets: secrets}, newMessage())
		if err != nil || status != 204 {
			t.Fatalf("Send = %d, %v, want 204", status, err)
		}
	}
	calls := e.calls()
	for n, want := range []struct{ former, secret bool }{{true, false}, {true, true}, {false, true}} {
		r := calls[n]
		if err := verify(t, r, former); (err == nil) != want.former {
			t.Errorf("request %d: former secret verifies with %v, want it to fit: %t", n, err, want.former)
		}
		if err := verify(t, r, secret); (err == nil) != want.secret {
			t.Errorf("request %d: secret verifies with %v, want it to fit: %t", n, err, want.secret)
		}
		if err := verify(t, r, other); err == nil {
			t.Errorf("request %d: a secret of nobody fits", n)
		}
		if got := r.Method + r.URL.String() + string(r.body); got != `POST/in?a=1{"a":1}` {
			t.Errorf("request = %s, want a POST of the message as it is", got)
		}
		for name, want := range map[string]string{
			"Webhook-Id": newMessage().ID, "Content-Type": "application/cloudevents+json", "Traceparent": newMessage().TraceParent,
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("header %s = %q, want %q", name, got, want)
			}
		}
	}
	calls[0].body = append(calls[0].body, ' ')
	if err := verify(t, calls[0], former); err == nil {
		t.Error("a body that was changed fits")
	}
}

func TestTimestampIsThatOfTheAttempt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	c := newClient(t, webhook.Options{OpenSigned: true, Now: func() time.Time { return now }})
	to := webhook.Signed{Name: "crm", URL: e.URL, Secrets: []webhook.Secret{webhook.NewSigningSecret()}}
	for range 2 {
		if _, err := c.Send(t.Context(), to, newMessage()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	first, second := e.calls()[0].Header, e.calls()[1].Header
	if first.Get("Webhook-Timestamp") != "1795521600" || second.Get("Webhook-Timestamp") != "1795525200" || first.Get("Webhook-Id") != second.Get("Webhook-Id") {
		t.Errorf("attempts = %v, %v, want one id and their own times", first, second)
	}
}

func TestSendReadsTheAnswer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		answer     reply
		want       string
		retryAfter time.Duration
	}{
		"takes it":         {answer: reply{status: 200}},
		"says much":        {answer: reply{status: 202, body: strings.Repeat("x", 2<<20)}},
		"redirects":        {answer: reply{status: 302, header: http.Header{"Location": {"/elsewhere"}}}, want: "answered 302"},
		"redirects safely": {answer: reply{status: 307, header: http.Header{"Location": {"/elsewhere"}}}, want: "answered 307"},
		"has gone":         {answer: reply{status: 410}, want: "answered 410"},
		"is busy":          {answer: reply{status: 429, header: http.Header{"Retry-After": {"7"}}}, want: "answered 429", retryAfter: 7 * time.Second},
		"is away":          {answer: reply{status: 503, header: http.Header{"Retry-After": {"Tue, 24 Nov 2026 12:00:09 GMT"}}}, want: "answered 503", retryAfter: 9 * time.Second},
		"breaks":           {answer: reply{status: 500, body: "secrets of theirs"}, want: "answered 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t, func(received) reply { return tc.answer })
			c := newClient(t, webhook.Options{OpenSigned: true, Now: func() time.Time { return now }})
			secret := webhook.NewSigningSecret()
			status, err := c.Send(t.Context(), webhook.Signed{Name: "crm", URL: e.URL + "?key=hidden", Secrets: []webhook.Secret{secret}}, newMessage())
			if status != tc.answer.status {
				t.Errorf("Send = %d, want %d", status, tc.answer.status)
			}
			checkFailed(t, err, tc.want)
			var failed *webhook.Failed
			if errors.As(err, &failed) && (failed.Status != status || failed.RetryAfter != tc.retryAfter || failed.Endpoint != "crm") {
				t.Errorf("Send = %+v, want status %d, retry after %s", *failed, status, tc.retryAfter)
			}
			if err != nil && (strings.Contains(err.Error(), secret.Reveal()) || strings.Contains(err.Error(), "theirs")) {
				t.Errorf("Send = %v, which tells too much", err)
			}
			if n := len(e.calls()); n != 1 {
				t.Errorf("endpoint was called %d times, want once", n)
			}
		})
	}
}

func TestSendIsBounded(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	c := newClient(t, webhook.Options{OpenSigned: true})
	to := webhook.Signed{Name: "crm", URL: e.URL, Secrets: []webhook.Secret{webhook.NewSigningSecret()}}
	m := newMessage()
	m.Body = make([]byte, webhook.MaxMessage)
	if _, err := c.Send(t.Context(), to, m); err != nil {
		t.Errorf("Send of %d bytes = %v, want nil", len(m.Body), err)
	}
	m.Body = make([]byte, webhook.MaxMessage+1)
	if _, err := c.Send(t.Context(), to, m); !errors.Is(err, webhook.ErrLarge) {
		t.Errorf("Send of %d bytes = %v, want ErrLarge", len(m.Body), err)
	}
	if n := len(e.calls()); n != 1 {
		t.Errorf("endpoint was called %d times, want once", n)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, answers never
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	to.URL = "http://" + l.Addr().String() + "/?key=hidden"
	impatient := newClient(t, webhook.Options{OpenSigned: true, Timeout: 50 * time.Millisecond})
	_, err = impatient.Send(t.Context(), to, newMessage())
	checkFailed(t, err, "no answer within 50ms")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Send(ended, to, newMessage())
	checkFailed(t, err, "context canceled")
}

func TestSignedEndpointsAreOnThePublicInternet(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	_, port, err := net.SplitHostPort(e.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, webhook.Options{PrivateIPExceptionURLs: []string{e.URL + "/open/*"}})
	for url, want := range map[string]string{
		e.URL + "/a": "address is private", "http://localhost:" + port + "/a": "address is private",
		"http://[::ffff:127.0.0.1]:" + port + "/a": "address is private", e.URL + "/open/a": "", e.URL + "/open/a/b": "address is private",
	} {
		_, err := c.Send(t.Context(), webhook.Signed{Name: "crm", URL: url, Secrets: []webhook.Secret{webhook.NewSigningSecret()}}, newMessage())
		checkFailed(t, err, want)
	}
	if n := len(e.calls()); n != 1 {
		t.Errorf("endpoint was called %d times, want once", n)
	}
}

func TestSigningSecrets(t *testing.T) {
	t.Parallel()
	a, b := webhook.NewSigningSecret(), webhook.NewSigningSecret()
	if a.Reveal() == b.Reveal() || webhook.CheckSigningSecret(a) != nil || len(a.Reveal()) != len("whsec_")+44 {
		t.Error("NewSigningSecret gives no secret of 32 bytes, or one twice")
	}
	for text, fine := range map[string]bool{
		"whsec_" + strings.Repeat("a", 32): true, "whsec_" + strings.Repeat("a", 28): false, strings.Repeat("a", 32): false,
		"whsec_" + strings.Repeat("?", 32): false, "": false, "whsec_" + strings.Repeat("a", 88): false,
	} {
		err := webhook.CheckSigningSecret(webhook.NewSecret(text))
		if (err == nil) != fine || err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("CheckSigningSecret(%q) = %v, want fine: %t, and nothing shown", text, err, fine)
		}
	}
	to := webhook.Signed{Name: "crm", URL: "http://127.0.0.1:1/"}
	c := newClient(t, webhook.Options{OpenSigned: true})
	if _, err := c.Send(t.Context(), to, newMessage()); err == nil || !strings.Contains(err.Error(), "no signing secret") {
		t.Errorf("Send without a secret = %v, want a refusal", err)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for text, fine := range map[string]bool{
		"https://crm.example/in?hidden=1": true, "http://crm.example": true, "crm.example": false, "ftp://crm.example/hidden": false,
		"https://": false, "https://u:hidden@crm.example": false, "https://crm.example/#hidden": false, "https://crm.example/%zz-hidden": false,
	} {
		err := webhook.CheckURL(text)
		if (err == nil) != fine || err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("CheckURL(%q) = %v, want fine: %t, and nothing shown", text, err, fine)
		}
	}
}
