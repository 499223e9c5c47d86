package webhook_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	webhooks "github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/webhook"
	"github.com/usher-auth/usher/workers/workertest"
)

// subscriber is the other side of a webhook, and what is declared of it.
type subscriber struct {
	*httptest.Server
	t        *testing.T
	secret   webhooks.Secret
	mu       sync.Mutex
	statuses []int // then 200
	ids      []string
	bodies   []string
	absent   bool
	disabled []string
	broken   error
	after    string // Retry-After
}

func newSubscriber(t *testing.T, statuses ...int) *subscriber {
	t.Helper()
	s := &subscriber{t: t, secret: webhooks.NewSigningSecret(), statuses: statuses}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("read request: %v", err)
	}
	v, err := standardwebhooks.NewWebhook(s.secret.Reveal())
	if err == nil {
		err = v.Verify(body, r.Header)
	}
	if err != nil {
		s.t.Errorf("signature: %v", err)
	}
	eventstest.Validate(s.t, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids, s.bodies = append(s.ids, r.Header.Get("Webhook-Id")), append(s.bodies, string(body))
	if len(s.statuses) > 0 {
		if s.statuses[0] != http.StatusFound {
			w.Header().Set("Retry-After", cmp.Or(s.after, "3600"))
		}
		w.WriteHeader(s.statuses[0])
		s.statuses = s.statuses[1:]
	}
}

func (s *subscriber) Webhook(name string) (webhooks.Signed, bool) {
	return webhooks.Signed{Name: name, URL: s.URL, Secrets: []webhooks.Secret{s.secret}}, !s.absent
}

func (s *subscriber) DisableWebhook(_ context.Context, name, url string) error {
	if s.broken == nil {
		s.disabled = append(s.disabled, name+" "+url)
	}
	return s.broken
}

func (s *subscriber) worker(t *testing.T, options ...workers.Option) *workers.Worker {
	t.Helper()
	client, err := webhooks.New(webhooks.Options{OpenSigned: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return webhook.Declared{Webhooks: s, Sender: client, Disabler: s}.Worker("crm", append(options, workers.Logger(discard))...)
}

func TestSignedDelivery(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		statuses []int
		change   func(*subscriber)
		outcome  workers.Outcome
		next     time.Duration
		disabled bool
	}{
		"takes it":            {outcome: workers.Done},
		"breaks":              {statuses: []int{500}, outcome: workers.Retry, next: time.Hour},
		"asks to wait":        {statuses: []int{429}, outcome: workers.Retry, next: time.Hour},
		"is away":             {change: func(s *subscriber) { s.Close() }, outcome: workers.Retry},
		"has gone":            {statuses: []int{410}, outcome: workers.Dead, disabled: true},
		"cannot be disabled":  {statuses: []int{410}, change: func(s *subscriber) { s.broken = errors.New("no database") }, outcome: workers.Retry},
		"is not declared now": {change: func(s *subscriber) { s.absent = true }, outcome: workers.Retry, next: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubscriber(t, tc.statuses...)
			if tc.change != nil {
				tc.change(s)
			}
			message, err := workertest.Event[events.IdentityCreated]().Encode()
			if err != nil {
				t.Fatal(err)
			}
			a := s.worker(t).Try(t.Context(), workers.Delivery{Message: message})
			if a.Outcome != tc.outcome || a.Next != tc.next {
				t.Errorf("attempt = %+v, want %s, next in %s", a, tc.outcome, tc.next)
			}
			if (len(s.disabled) == 1) != tc.disabled {
				t.Errorf("disabled = %q, want it: %t", s.disabled, tc.disabled)
			}
		})
	}
}

// An endpoint may ask for longer than the ladder waits, not for shorter.
func TestRetryAfterLengthensTheLadder(t *testing.T) {
	t.Parallel()
	message, err := workertest.Event[events.IdentityCreated]().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		asked       string
		attempt     int
		least, most time.Duration
	}{
		{"1", 1, 4 * time.Second, 6 * time.Second},
		{"1", 3, 24 * time.Minute, 36 * time.Minute},
		{"7200", 3, 2 * time.Hour, 2 * time.Hour},
		{"1", 30, 19 * time.Hour, 29 * time.Hour},
		{"99999999999999999999", 1, 365 * 24 * time.Hour, math.MaxInt64},
	} {
		s := newSubscriber(t, 429)
		s.after = c.asked
		a := s.worker(t).Try(t.Context(), workers.Delivery{Message: message, Attempt: c.attempt})
		if a.Outcome != workers.Retry || a.Next < c.least || a.Next > c.most {
			t.Errorf("Retry-After: %s at attempt %d: %s in %s, want %s to %s", c.asked, c.attempt, a.Outcome, a.Next, c.least, c.most)
		}
	}
}

// A 410 that comes while the worker ends disables the webhook all the same.
func TestGoneIsStoredWhileTheWorkerEnds(t *testing.T) {
	t.Parallel()
	s := newSubscriber(t, 410)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	disabling := &endingDisabler{s, cancel}
	client, err := webhooks.New(webhooks.Options{OpenSigned: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	message, err := workertest.Event[events.IdentityCreated]().Encode()
	if err != nil {
		t.Fatal(err)
	}
	w := webhook.Declared{Webhooks: s, Sender: client, Disabler: disabling}.Worker("crm", workers.Logger(discard))
	if a := w.Try(ctx, workers.Delivery{Message: message}); a.Outcome != workers.Dead || len(s.disabled) != 1 {
		t.Errorf("attempt = %+v, disabled %q, want it disabled", a, s.disabled)
	}
}

// endingDisabler ends the worker before it stores.
type endingDisabler struct {
	*subscriber
	end func()
}

func (d *endingDisabler) DisableWebhook(ctx context.Context, name, url string) error {
	d.end()
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.subscriber.DisableWebhook(ctx, name, url)
}

// What an endpoint gets is what is on the bus, of every type, byte for byte.
func TestEveryEventIsSentAsItIs(t *testing.T) {
	t.Parallel()
	s := newSubscriber(t)
	w := s.worker(t)
	all := workertest.Events()
	for n, e := range all {
		message, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if a := w.Try(t.Context(), workers.Delivery{Message: message}); a.Outcome != workers.Done {
			t.Fatalf("%s: attempt = %+v, want done", e.Type, a)
		}
		if s.ids[n] != e.ID || s.bodies[n] != string(message) {
			t.Errorf("%s: endpoint got %s %s, want %s %s", e.Type, s.ids[n], s.bodies[n], e.ID, message)
		}
	}
	if len(all) < 10 {
		t.Errorf("%d events, want all types", len(all))
	}
}

// On the bus: what fails is reported, comes again, and is the same message to
// the endpoint.
func TestSignedDeliveryOnTheBus(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.declare("crm")
	s := newSubscriber(t, 302)
	observed := make(chan workers.Attempt, 10)
	w := s.worker(t, workers.WithConn(b.hooks), workers.Observe(func(a workers.Attempt) { observed <- a }))
	_, created := newStored()
	e := b.publish(created, func(string) {})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	if a := receive(t, observed, "attempt"); a.Outcome != workers.Retry {
		t.Errorf("attempt = %+v, want a retry after a redirect", a)
	}
	if a := receive(t, observed, "attempt"); a.Outcome != workers.Done || a.Number != 2 {
		t.Errorf("attempt = %+v, want the second one to be done", a)
	}
	cancel()
	if err := receive(t, ended, "end of Run"); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if len(s.ids) != 2 || s.ids[0] != e.ID || s.ids[1] != e.ID || s.bodies[0] != s.bodies[1] {
		t.Errorf("endpoint got %q %q, want %s twice", s.ids, s.bodies, e.ID)
	}
}
