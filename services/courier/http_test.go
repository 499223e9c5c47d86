package courier_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/webhook"
)

// apiServer takes mails over HTTP, and answers as it is told.
type apiServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func newAPI(t *testing.T, answer http.HandlerFunc) *apiServer {
	a := &apiServer{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.requests, a.bodies = append(a.requests, r), append(a.bodies, string(body))
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *apiServer) came() ([]*http.Request, []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests, a.bodies
}

// newHTTP sends to an endpoint by the client that calls hooks.
func newHTTP(t *testing.T, e webhook.Endpoint, o webhook.Options) courier.HTTP {
	t.Helper()
	client, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	api, err := client.Single(e)
	if err != nil {
		t.Fatal(err)
	}
	return courier.HTTP{API: api}
}

func status(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
}

// Each kind of mail is written and sent, with the body that is built in.
func TestHTTPDelivers(t *testing.T) {
	t.Parallel()
	for purpose, want := range map[flow.Purpose]struct {
		template, code, url string
	}{
		flow.VerifyByCode:  {"verification_code_valid", "verification_code", "verification_url"},
		flow.VerifyByLink:  {"verification_valid", "", "verification_url"},
		flow.RecoverByCode: {"recovery_code_valid", "recovery_code", "recovery_url"},
		flow.RecoverByLink: {"recovery_valid", "", "recovery_url"},
	} {
		t.Run(want.template, func(t *testing.T) {
			t.Parallel()
			api := newAPI(t, status(http.StatusAccepted))
			s, r := newMemory(t)
			s.recipient.Purpose = purpose
			to := newHTTP(t, webhook.Endpoint{
				ID: "courier", URL: api.URL + "/send", Body: courier.DefaultBody, Header: http.Header{"X-Tenant": {"a"}},
				Auth: webhook.Auth{Type: "basic_auth", User: "me", Password: webhook.NewSecret("12345")},
			}, webhook.Options{})
			if err := newService(t, s, to).Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if m := s.only(); m.Status != courier.Sent || m.Attempts != 1 || m.Content != (courier.Content{}) {
				t.Errorf("message = %+v, want it sent, with nothing left of what it said", m)
			}
			requests, bodies := api.came()
			if len(requests) != 1 {
				t.Fatalf("%d requests, want 1", len(requests))
			}
			got := requests[0]
			if user, password, _ := got.BasicAuth(); got.Method != http.MethodPost || got.URL.Path != "/send" || user != "me" || password != "12345" ||
				got.Header.Get("X-Tenant") != "a" || got.Header.Get("Content-Type") != "application/json" ||
				got.Header.Get("Idempotency-Key") != s.only().ID.String() {
				t.Errorf("request = %s %s %v, want what is configured and the message's id", got.Method, got.URL, got.Header)
			}
			fields := map[string]any{}
			if err := json.Unmarshal([]byte(bodies[0]), &fields); err != nil {
				t.Fatal(err)
			}
			text := s.codes[0].Text.Reveal()
			for _, name := range []string{"verification_code", "recovery_code", "verification_url", "recovery_url"} {
				link, _ := fields[name].(string)
				switch {
				case name == want.code && fields[name] != text, name == want.url && !strings.Contains(link, text),
					name != want.code && name != want.url && fields[name] != nil:
					t.Errorf("%s = %v, want it of the mail alone that has it", name, fields[name])
				}
			}
			if body, _ := fields["body"].(string); fields["to"] != "ada@example.com" || fields["recipient"] != "ada@example.com" ||
				fields["template_type"] != want.template || fields["subject"] == "" || !strings.Contains(body, text) || len(fields) != 9 {
				t.Errorf("body = %s, want the nine fields", bodies[0])
			}
		})
	}
}

// A template sees what the mail's own templates see, by the names of the contract.
func TestHTTPBodySees(t *testing.T) {
	t.Parallel()
	api := newAPI(t, status(http.StatusOK))
	s, r := newMemory(t)
	to := newHTTP(t, webhook.Endpoint{URL: api.URL, Body: "function(ctx) ctx"}, webhook.Options{})
	if err := newService(t, s, to).Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	_, bodies := api.came()
	var got struct {
		HTML    string         `json:"html_body"`
		Message string         `json:"message_type"`
		Data    map[string]any `json:"template_data"`
	}
	if err := json.Unmarshal([]byte(bodies[0]), &got); err != nil {
		t.Fatal(err)
	}
	code := s.codes[0].Text.Reveal()
	want := map[string]any{
		"to": "ada@example.com", "verification_code": code, "expires_in_minutes": 60.0,
		"verification_url": "https://id.example.com/self-service/verification?code=" + code + "&flow=" + r.FlowID.String(),
		"identity":         map[string]any{"id": s.recipient.IdentityID.String(), "traits": map[string]any{"email": "ada@example.com", "name": map[string]any{"first": "Ada"}}},
		"request_url":      "", "transient_payload": map[string]any{},
	}
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Errorf("template_data: want(-) got(+):\n%s", diff)
	}
	if !strings.Contains(got.HTML, code) || got.Message != "email" {
		t.Errorf("html_body = %q, message_type = %q, want both", got.HTML, got.Message)
	}
}

// An unknown address, and a message that was written by a release that kept no data.
func TestHTTPWithoutData(t *testing.T) {
	t.Parallel()
	api := newAPI(t, status(http.StatusOK))
	to := newHTTP(t, webhook.Endpoint{URL: api.URL, Body: courier.DefaultBody}, webhook.Options{})
	s, r := newMemory(t)
	s.recipient.IdentityID, s.recipient.Traits = [16]byte{}, nil
	service := newService(t, s, to)
	service.NotifyUnknown = map[flow.Kind]bool{flow.Verification: true}
	if err := service.Write(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := to.Send(t.Context(), newMessage()); err != nil {
		t.Fatal(err)
	}
	_, bodies := api.came()
	for n, template := range []string{"verification_code_invalid", "verification_code_valid"} {
		if !strings.Contains(bodies[n], `"`+template+`"`) || !strings.Contains(bodies[n], `"to":"ada@example.com"`) || !strings.Contains(bodies[n], `"verification_code":null`) {
			t.Errorf("body = %s, want %s to the address, without a code", bodies[n], template)
		}
	}
}

func TestHTTPForm(t *testing.T) {
	t.Parallel()
	api := newAPI(t, status(http.StatusOK))
	e := webhook.Endpoint{
		URL: api.URL, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
		Body: "function(ctx) {To: ctx.recipient, Subject: ctx.subject, Retry: true, Times: 3, Cc: null}",
	}
	if err := newHTTP(t, e, webhook.Options{}).Send(t.Context(), newMessage()); err != nil {
		t.Fatal(err)
	}
	requests, bodies := api.came()
	got, err := url.ParseQuery(bodies[0])
	want := url.Values{"To": {"ada@example.com"}, "Subject": {"Grüße: 123456"}, "Retry": {"true"}, "Times": {"3"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || requests[0].Header.Get("Content-Type") != e.Header.Get("Content-Type") {
		t.Errorf("form %s of %s, %v: want(-) got(+):\n%s", bodies[0], requests[0].Header.Get("Content-Type"), err, diff)
	}
	e.Body = "function(ctx) {To: [ctx.recipient]}"
	err = newHTTP(t, e, webhook.Options{}).Send(t.Context(), newMessage())
	if err == nil || !strings.Contains(err.Error(), "texts, numbers and booleans only") || strings.Contains(err.Error(), "ada@") {
		t.Errorf("Send = %v, want an error without the recipient", err)
	}
}

// What becomes of a message that was not taken, and that no error shows what only the
// recipient or the API may see.
func TestHTTPRefusals(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, tc := range map[string]struct {
		answer          http.HandlerFunc
		endpoint        webhook.Endpoint
		options         webhook.Options
		seen, permanent bool
		want            string
	}{
		"bad request":      {answer: status(400), seen: true, permanent: true, want: "mail API answered 400"},
		"unauthorized":     {answer: status(401), want: "mail API answered 401"},
		"not found":        {answer: status(404), want: "mail API answered 404"},
		"too slow":         {answer: status(408), seen: true, want: "mail API answered 408"},
		"too many":         {answer: status(429), seen: true, want: "mail API answered 429"},
		"broken":           {answer: status(500), seen: true, want: "mail API answered 500"},
		"behind a gateway": {answer: status(502), seen: true, want: "mail API answered 502"},
		"away":             {answer: status(503), want: "mail API answered 503"},
		"redirect": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, seen: true, want: "mail API answered 307"},
		"hangs up":           {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, seen: true, want: "no answer"},
		"is silent":          {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, options: webhook.Options{Timeout: 50 * time.Millisecond}, seen: true, want: "no answer within 50ms"},
		"nobody there":       {endpoint: webhook.Endpoint{URL: closed.URL + "/canary"}, want: "mail API: "},
		"private address":    {answer: status(200), options: webhook.Options{DisallowPrivateIPRanges: true}, want: "mail API: dial tcp"},
		"template cancels":   {answer: status(200), endpoint: webhook.Endpoint{Body: "function(ctx) error 'cancel'"}, seen: true, permanent: true, want: "cancelled"},
		"template is broken": {answer: status(200), endpoint: webhook.Endpoint{Body: "function(ctx)\n  error ctx.body"}, want: "error in line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var api *apiServer
			e := tc.endpoint
			if tc.answer != nil {
				api = newAPI(t, tc.answer)
				e.URL = api.URL + "/canary?key=canary"
			}
			if e.Body == "" {
				e.Body = courier.DefaultBody
			}
			e.Auth = webhook.Auth{Type: "api_key", Name: "Authorization", Value: webhook.NewSecret("Bearer canary")}
			err := newHTTP(t, e, tc.options).Send(t.Context(), newMessage())
			var refused *courier.Refused
			if errors.As(err, &refused) != tc.seen || refused != nil && refused.Permanent != tc.permanent {
				t.Errorf("Send = %v (%T), want a Refused: %t, permanent: %t", err, err, tc.seen, tc.permanent)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Send = %v, want an error with %q", err, tc.want)
			}
			for _, secret := range []string{"123456", "ada@", "canary"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("Send = %v, which shows %q", err, secret)
				}
			}
			if api == nil {
				return
			}
			if requests, _ := api.came(); len(requests) > 1 || len(requests) == 1 && requests[0].URL.Path != "/canary" {
				t.Errorf("%d requests, the last for %s, want one at most", len(requests), requests[len(requests)-1].URL.Path)
			}
		})
	}
}
