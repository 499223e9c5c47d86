package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What people and the balancer in front of the apis do while something breaks.

const (
	// patience is how long a person waits for one request.
	patience = 10 * time.Second
	// The balancer asks each api this often whether it accepts requests, and waits this
	// long. One that is not even alive two times is frozen: what is under way there
	// is given up.
	pollEvery, pollWait, pollFall = 250 * time.Millisecond, 400 * time.Millisecond, 2
)

// errGivenUp ends what is under way at an api that does not answer its balancer.
var errGivenUp = errors.New("given up by the balancer: the api answers nothing")

// errNobody is what a service without an endpoint says.
var errNobody = errors.New("no api accepts requests")

// balancer is what an installation has in front of its apis, as strict as that of
// Kubernetes: it asks each whether it accepts requests, sends none to one that does
// not, takes the next one where a connection is refused, and repeats nothing that was
// sent.
type balancer struct {
	backends  []*backend
	next      atomic.Uint64
	transport *http.Transport
	poll      http.Client
	stop      context.CancelFunc
	polls     sync.WaitGroup
}

type backend struct {
	host, accepting, alive string
	up                     atomic.Bool
	mu                     sync.Mutex
	life                   context.Context // of what is under way there
	giveUp                 context.CancelCauseFunc
}

func newBalancer(t testing.TB, apis, admins []string) *balancer {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	b := &balancer{
		stop: stop,
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: pollWait}).DialContext,
			MaxIdleConnsPerHost: 1000,
		},
		poll: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: pollWait},
	}
	for i, api := range apis {
		u, err := url.Parse(api)
		if err != nil {
			t.Fatal(err)
		}
		at := &backend{host: u.Host, accepting: admins[i] + "/health/accepting", alive: admins[i] + "/health/alive"}
		at.renew()
		at.up.Store(true)
		b.backends = append(b.backends, at)
		b.polls.Go(func() { b.watch(ctx, at) })
	}
	t.Cleanup(func() { stop(); b.polls.Wait(); b.transport.CloseIdleConnections() })
	return b
}

func (at *backend) renew() {
	at.mu.Lock()
	defer at.mu.Unlock()
	at.life, at.giveUp = context.WithCancelCause(context.Background())
}

// watch asks an api for its health until ctx ends.
func (b *balancer) watch(ctx context.Context, at *backend) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for silent := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		resp, err := b.poll.Get(at.accepting)
		if err == nil {
			silent = 0
			at.up.Store(resp.StatusCode == http.StatusOK)
			resp.Body.Close()
			continue
		}
		at.up.Store(false)
		if !isTimeout(err) {
			continue
		}
		if resp, err := b.poll.Get(at.alive); err == nil { // not ready is not frozen
			resp.Body.Close()
			silent = 0
		} else if silent++; silent >= pollFall {
			at.giveUp(errGivenUp)
			at.renew()
		}
	}
}

// RoundTrip implements [http.RoundTripper]; the answer is read to its end.
func (b *balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	first, last := b.next.Add(1), errNobody
	for i := range b.backends {
		at := b.backends[(first+uint64(i))%uint64(len(b.backends))] //nolint:gosec // small
		if !at.up.Load() {
			continue
		}
		resp, err := b.ask(at, req)
		var op *net.OpError
		if err == nil || !errors.As(err, &op) || op.Op != "dial" {
			return resp, err
		}
		at.up.Store(false)
		last = err
	}
	return nil, last
}

func (b *balancer) ask(at *backend, req *http.Request) (*http.Response, error) {
	at.mu.Lock()
	life := at.life
	at.mu.Unlock()
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer context.AfterFunc(life, func() { cancel(errGivenUp) })()
	out := req.Clone(ctx)
	out.URL.Host = at.host
	if req.GetBody != nil {
		out.Body, _ = req.GetBody()
	}
	resp, err := b.transport.RoundTrip(out)
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(resp.Body); err == nil {
			resp.Body.Close()
			resp.Body = io.NopCloser(bytes.NewReader(text))
			return resp, nil
		}
	}
	if cause := context.Cause(ctx); errors.Is(cause, errGivenUp) {
		return nil, cause
	}
	return nil, err
}

// comer is one person who registers, and what came of it.
type comer struct {
	sent       time.Time
	took       time.Duration
	status     int    // of the last answer; 0 if there was none
	retryAfter bool   // the refusal says when to come again
	lost       bool   // the connection broke, or the balancer gave up
	late       bool   // nothing came as long as the person waits
	said       string // what a refusal says, for the log of the test
	id, token  string
}

func (v comer) registered() bool { return v.status == http.StatusOK }

// unclear is a failure that does not say what it is: neither a 5xx with
// Retry-After nor a connection that broke.
func (v comer) unclear() bool {
	return !v.registered() && !v.lost && !v.late && (v.status < 500 || !v.retryAfter)
}

// openLoop has people register at a fixed rate, whatever becomes of those before.
type openLoop struct {
	client *http.Client
	rate   int
	stop   chan struct{}
	ended  sync.WaitGroup

	mu     sync.Mutex
	comers []comer
}

// faultRate is how many people come in a second.
func faultRate(t testing.TB, usual int) int {
	t.Helper()
	text := os.Getenv("USHER_TEST_FAULTS_RATE")
	if text == "" {
		return usual
	}
	rate, err := strconv.Atoi(text)
	if err != nil || rate < 1 {
		t.Fatalf("USHER_TEST_FAULTS_RATE=%s: want registrations a second, as in 100", text)
	}
	return rate
}

func startLoop(b *balancer, rate int) *openLoop {
	l := &openLoop{client: &http.Client{Transport: b, CheckRedirect: stay, Timeout: patience}, rate: rate, stop: make(chan struct{})}
	l.ended.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(l.rate)))):
			}
			l.ended.Go(func() {
				v := l.comes()
				l.mu.Lock()
				defer l.mu.Unlock()
				l.comers = append(l.comers, v)
			})
		}
	})
	return l
}

// end stops the load, waits for those under way and gives all.
func (l *openLoop) end() []comer {
	close(l.stop)
	l.ended.Wait()
	return l.comers
}

// untilRegistered waits until somebody has been registered.
func (l *openLoop) untilRegistered(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !slices.ContainsFunc(l.comers, comer.registered) {
			return errors.New("nobody has been registered")
		}
		return nil
	})
}

// untilNormal waits until people who came after a time have been registered, and
// nobody was refused for a second.
func (l *openLoop) untilNormal(t *testing.T, from time.Time, limit time.Duration) {
	t.Helper()
	eventually(t, limit, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		lately := time.Now().Add(-time.Second)
		good := slices.ContainsFunc(l.comers, func(v comer) bool {
			return v.registered() && v.sent.After(from) && v.sent.Before(lately)
		})
		if !good || failedSince(l.comers, lately) > 0 {
			return errors.New("registrations do not go on")
		}
		return nil
	})
}

func failedSince(comers []comer, at time.Time) (n int) {
	for _, v := range comers {
		if v.sent.After(at) && !v.registered() {
			n++
		}
	}
	return n
}

// comes registers one person: a flow, and its submission.
func (l *openLoop) comes() (v comer) {
	v.sent = time.Now()
	defer func() { v.took = time.Since(v.sent) }()
	var f flowView
	if !l.ask(&v, http.MethodGet, "/self-service/registration/api", nil, &f) {
		return v
	}
	var r registered
	if l.ask(&v, http.MethodPost, "/self-service/registration?flow="+f.ID, submission("", newAddress(), goodPassword), &r) {
		v.id, v.token = r.Identity.ID, r.SessionToken
	}
	return v
}

// ask sends a request and decodes its answer if it is 200.
func (l *openLoop) ask(v *comer, method, path string, body []byte, into any) bool {
	req, err := http.NewRequest(method, "http://balancer"+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	for k, text := range asJSON {
		req.Header.Set(k, text)
	}
	a, err := exchange(l.client, req)
	if err != nil {
		v.status, v.said = 0, err.Error()
		v.lost = !isTimeout(err)
		v.late = !v.lost
		return false
	}
	v.status, v.retryAfter = a.status, a.header.Get("Retry-After") != ""
	if a.status != http.StatusOK {
		v.said = string(a.body[:min(len(a.body), 300)])
		return false
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		v.status, v.said = 0, fmt.Sprintf("%v: %s", err, a.body)
		return false
	}
	return true
}
