package oidc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// silent is a host that accepts connections and never answers.
type silent struct{ held atomic.Int64 }

// dial takes the place of the network in a transport.
func (s *silent) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	s.held.Add(1)
	go func() {
		defer s.held.Add(-1)
		_, _ = io.Copy(io.Discard, far) // until the caller hangs up
	}()
	return near, nil
}

// A provider that hangs holds no more than maxConns connections; whoever waits
// for one ends by the timeout as well, and then others have their turn.
func TestHangingProviderHoldsFewConnections(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"open":    {},
		"guarded": {DisallowPrivateIPRanges: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o.Timeout = 5 * time.Second
				client, host := newHTTPClient(o), &silent{}
				for _, next := range []http.RoundTripper{client.Transport.(transport).open, client.Transport.(transport).guarded} {
					if network, ok := next.(*http.Transport); ok {
						network.DialContext = host.dial
					}
				}
				for range 2 {
					hang(t, client, host, 200, o.Timeout)
				}
			})
		})
	}
}

// hang calls a host that does not answer many times at once.
func hang(t *testing.T, client *http.Client, host *silent, calls int, timeout time.Duration) {
	t.Helper()
	begin := time.Now()
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			var answer struct{}
			err := fetcher{ctx: t.Context(), http: client}.get("keys", "http://provider.example/keys", &answer)
			var f *fault
			if took := time.Since(begin); !errors.As(err, &f) || !errors.Is(f.kind, ErrUnavailable) || took != timeout {
				t.Errorf("%v after %s, want %v after %s", err, took, ErrUnavailable, timeout)
			}
		})
	}
	synctest.Wait()
	if held := host.held.Load(); held != maxConns {
		t.Errorf("%d connections for %d calls, want %d", held, calls, maxConns)
	}
	all.Wait()
	synctest.Wait()
	client.CloseIdleConnections() // those that came too late for who waited
	synctest.Wait()
	if held := host.held.Load(); held != 0 {
		t.Errorf("%d connections are held after the timeout, want none", held)
	}
}
