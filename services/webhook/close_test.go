package webhook_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/webhook"
)

// counted is a server that knows how many connections to it are open.
func counted(t *testing.T, h http.HandlerFunc) (url string, open *atomic.Int64) {
	t.Helper()
	open = &atomic.Int64{}
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		open.Add(map[http.ConnState]int64{http.StateNew: 1, http.StateClosed: -1}[state])
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, open
}

// awaitOpen waits until n connections are open: the server hears a moment later.
func awaitOpen(t *testing.T, when string, open *atomic.Int64, n int64) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); open.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: %d connections are open, want %d", when, open.Load(), n)
			return
		}
	}
}

// A client that a reload has replaced leaves no connection, and breaks no call.
func TestClosedClientLeavesNoConnection(t *testing.T) {
	t.Parallel()
	arrived, answer := make(chan struct{}), make(chan struct{})
	url, open := counted(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-answer
		}
	})
	c := newClient(t, webhook.Options{Endpoints: []webhook.Endpoint{{ID: "quick", URL: url}, {ID: "slow", URL: url + "/slow"}}})
	deliver := func(name string) {
		if err := c.Deliver(t.Context(), name, newCall()); err != nil {
			t.Errorf("Deliver(%s) = %v", name, err)
		}
	}
	slow := make(chan struct{})
	go func() { deliver("webhook-slow"); close(slow) }()
	<-arrived
	deliver("webhook-quick")
	awaitOpen(t, "before", open, 2)

	c.Close()
	awaitOpen(t, "after Close, with a call under way", open, 1)
	close(answer)
	<-slow
	awaitOpen(t, "after that call", open, 0)
	deliver("webhook-quick") // by a request that began before
	awaitOpen(t, "after a later call", open, 0)
}
