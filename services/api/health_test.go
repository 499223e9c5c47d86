package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
)

// watched is a world of which a test knows how often it looks beside itself.
type watched struct {
	*world
	looks        atomic.Int64
	away, leaves atomic.Bool
	now          atomic.Int64
	began, goOn  chan struct{}
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	x := &watched{began: make(chan struct{}, 100), goOn: make(chan struct{})}
	fails := func(b *atomic.Bool) error {
		if b.Load() {
			return errors.New("secret cause")
		}
		return nil
	}
	x.world = newWorld(t, func(w *world) {
		w.options.Now = func() time.Time { return time.UnixMilli(x.now.Load()) }
		w.options.Checks = []api.Check{
			{Name: "process", Own: true, Run: func(context.Context) error { return fails(&x.leaves) }},
			{Name: "database", Run: func(ctx context.Context) error {
				x.looks.Add(1)
				x.began <- struct{}{}
				<-x.goOn
				return errors.Join(ctx.Err(), fails(&x.away))
			}},
		}
	})
	return x
}

// Anybody may ask, and each look takes a connection to the database and asks the bus.
func TestReadyLooksOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if g := w.app().get("/health/ready"); g.status != 200 {
				t.Errorf("ready = %d %s, want ok", g.status, g.body)
			}
		})
	}
	<-w.began
	close(w.goOn)
	all.Wait()
	w.away.Store(true)
	for _, c := range []struct {
		at    int64 // ms
		looks int64
		want  int
	}{{0, 1, 200}, {499, 1, 200}, {500, 2, 503}, {999, 2, 503}, {1000, 3, 503}} {
		w.now.Store(c.at)
		if g := w.admin().get("/health/ready"); g.status != c.want || w.looks.Load() != c.looks {
			t.Errorf("after %d ms ready = %d behind %d looks, want %d behind %d", c.at, g.status, w.looks.Load(), c.want, c.looks)
		}
	}
	if g := w.app().get("/health/accepting"); g.status != 200 || w.looks.Load() != 3 {
		t.Errorf("accepting = %d behind %d looks, want 200 without another", g.status, w.looks.Load())
	}
}

// What is of this process alone is not remembered: balancers look there for its end.
func TestReadyKnowsAtOnceThatTheProcessEnds(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	close(w.goOn)
	for _, leaves := range []bool{false, true, false} {
		w.leaves.Store(leaves)
		want := map[bool]int{false: 200, true: 503}[leaves]
		for _, path := range []string{"/health/ready", "/health/accepting"} {
			if g := w.app().get(path); g.status != want {
				t.Errorf("%s while it ends: %t = %d, want %d", path, leaves, g.status, want)
			}
		}
	}
}

// Whoever asked first and has gone answers nobody.
func TestReadyIsNotOfWhoHasGone(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	close(w.goOn)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w.server.Public().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, http.MethodGet, "/health/ready", nil))
	if g := w.app().get("/health/ready"); g.status != 200 || w.looks.Load() != 1 {
		t.Errorf("ready behind one who has gone = %d behind %d looks, want 200 behind one", g.status, w.looks.Load())
	}
}

// A check that failed was logged for each who asked, and anybody could fill the log.
func TestHealthIsLoggedWhenItChanges(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	close(w.goOn)
	said := func(what string) int { return strings.Count(w.log.String(), `"msg":"`+what+`"`) }
	for n, away := range []bool{false, true, true, true, false, false, true, true} {
		w.away.Store(away)
		w.leaves.Store(away)
		w.now.Store(int64(n) * 1000)
		w.app().get("/health/ready")
		w.app().get("/health/accepting")
	}
	if bad, good := said("not ready"), said("ready again"); bad != 4 || good != 2 {
		t.Errorf("said %d times that a check fails, and %d times that it does not; want 4 of two checks, and 2: %s", bad, good, w.log)
	}
}
