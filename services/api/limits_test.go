package api_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
)

// tight limits one class to two at once and one an hour.
func tight(class func(*api.Limits) *api.Limit) func(*world) {
	return func(w *world) {
		wide := api.Limit{Burst: 1000, PerHour: 1000}
		w.settings.Limits = api.Limits{Enabled: true, Registration: wide, FailedLogin: wide, CodeTry: wide, MailStart: wide, FlowCreation: wide}
		*class(&w.settings.Limits) = api.Limit{Burst: 2, PerHour: 1}
		w.settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
}

const forwardedFor = "X-Forwarded-For"

// from is a request that is counted, by whoever says to be at an address.
type from func(c *client, addr string) got

var limitedRequests = map[string]struct {
	class func(*api.Limits) *api.Limit
	send  from
}{
	"flow creation": {
		func(l *api.Limits) *api.Limit { return &l.FlowCreation },
		func(c *client, addr string) got { return c.get("/self-service/login/api", forwardedFor, addr) },
	},
	"registration": {
		func(l *api.Limits) *api.Limit { return &l.Registration },
		func(c *client, addr string) got {
			return c.postJSON(c.nativeFlow().submit(), submitBody("", fmt.Sprintf("p%d@example.org", registrants.Add(1)), goodPassword), forwardedFor, addr)
		},
	},
	"failed login": {
		func(l *api.Limits) *api.Limit { return &l.FailedLogin },
		func(c *client, addr string) got {
			return c.postJSON(c.flowPath("login"), loginBody("", "nobody@example.org", "wrong password"), forwardedFor, addr)
		},
	},
	"code try": {
		func(l *api.Limits) *api.Limit { return &l.CodeTry },
		func(c *client, addr string) got {
			return c.postJSON(c.flowPath("verification"), `{"method":"code","code":"000000"}`, forwardedFor, addr)
		},
	},
	"mail start": {
		func(l *api.Limits) *api.Limit { return &l.MailStart },
		func(c *client, addr string) got {
			return c.postJSON(c.flowPath("verification"), `{"method":"code","email":"nobody@example.org"}`, forwardedFor, addr)
		},
	},
}

var registrants atomic.Int64

// flowPath begins a native flow of a kind and gives where it is submitted.
func (c *client) flowPath(kind string) string {
	c.t.Helper()
	g := c.get("/self-service/" + kind + "/api")
	return "/self-service/" + kind + "?flow=" + g.shown(c.t).ID
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range limitedRequests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told atomic.Int64
			w := newWorld(t, tight(tt.class), func(w *world) { w.options.ObserveLimit = func(string) { told.Add(1) } })
			c := w.app()
			for n := range 2 {
				if g := tt.send(c, "192.0.2.1"); g.status == http.StatusTooManyRequests {
					t.Fatalf("request %d = %d, want it within the burst", n+1, g.status)
				}
			}
			g := tt.send(c, "192.0.2.1")
			wait, err := strconv.Atoi(g.header.Get("Retry-After"))
			if g.status != http.StatusTooManyRequests || err != nil || wait < 60 || wait > 3600 {
				t.Errorf("request 3 = %d, Retry-After %q, want 429 within the hour", g.status, g.header.Get("Retry-After"))
			}
			if g := tt.send(c, "192.0.2.2"); g.status == http.StatusTooManyRequests {
				t.Error("another network is refused for it")
			}
			if told.Load() != 1 {
				t.Errorf("%d refusals were told, want 1", told.Load())
			}
		})
	}
}

// A login that succeeds costs nothing, and a refusal says the same whoever is asked for.
func TestLimitOfLoginsTellsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tight(func(l *api.Limits) *api.Limit { return &l.FailedLogin }))
	c := w.app()
	c.postJSON(c.nativeFlow().submit(), submitBody("", "ann@example.org", goodPassword))
	login := func(identifier, password string) got {
		return c.postJSON(c.flowPath("login"), loginBody("", identifier, password), "X-Request-Id", "the-same")
	}
	for range 5 {
		if g := login("ann@example.org", goodPassword); g.status != http.StatusOK {
			t.Fatalf("login = %d %s", g.status, g.body)
		}
	}
	for range 2 {
		login("ann@example.org", "wrong password")
	}
	known, unknown := login("ann@example.org", goodPassword), login("nobody@example.org", goodPassword)
	if known.status != http.StatusTooManyRequests || known.body != unknown.body {
		t.Errorf("beyond the limit: known %d %s, unknown %d %s, want the same 429", known.status, known.body, unknown.status, unknown.body)
	}
}

// S66: what a client says of itself is believed only as far as proxies are.
func TestLimitsCountNetworks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first, second string
		untrusted     bool
		same          bool
	}{
		"two addresses":                 {first: "192.0.2.1", second: "192.0.2.2"},
		"one /64":                       {first: "2001:db8:1:2::1", second: "2001:db8:1:2:ffff::9", same: true},
		"two /64":                       {first: "2001:db8:1:2::1", second: "2001:db8:1:3::1"},
		"IPv4 in IPv6":                  {first: "192.0.2.1", second: "::ffff:192.0.2.1", same: true},
		"what stands left is a lie":     {first: "10.9.9.1, 192.0.2.1", second: "10.9.9.2, 192.0.2.1", same: true},
		"nobody is believed":            {first: "192.0.2.1", second: "192.0.2.2", untrusted: true, same: true},
		"an address that cannot be one": {first: "here", second: "there", same: true},
	} {
		w := newWorld(t, tight(func(l *api.Limits) *api.Limit { return &l.FlowCreation }), func(w *world) {
			if tt.untrusted {
				w.settings.TrustedProxies = nil
			}
		})
		c := w.app()
		for range 2 {
			c.get("/self-service/login/api", forwardedFor, tt.first)
		}
		if got := c.get("/self-service/login/api", forwardedFor, tt.second).status == http.StatusTooManyRequests; got != tt.same {
			t.Errorf("%s: %q after %q is refused: %t, want %t", name, tt.second, tt.first, got, tt.same)
		}
	}
}

func TestLimitsAtOnceAndOverTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var mu sync.Mutex
	limits := api.NewTestLimiter(t, api.Limit{Burst: 10, PerHour: 3600}, 100)
	spend := func(addr string) bool {
		mu.Lock()
		at := now
		mu.Unlock()
		return limits.Spend(addr, at)
	}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if spend("192.0.2.1") {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 10 {
		t.Errorf("%d of 1000 at once passed, want the burst of 10", passed.Load())
	}
	mu.Lock()
	now = now.Add(3 * time.Second)
	mu.Unlock()
	for n := range 4 {
		if got := spend("192.0.2.1"); got != (n < 3) {
			t.Errorf("3 s later request %d passes: %t, want 3 that do", n+1, got)
		}
	}
	// Who is new where others have filled the store shares what is left with all of them.
	for n := range 1000 {
		spend(fmt.Sprintf("10.1.%d.%d", n/256, n%256))
	}
	fresh := 0
	for spend("198.51.100.7") {
		fresh++
	}
	if fresh > 0 {
		t.Errorf("a new network got %d at once where others have filled the store and used up what is left, want none", fresh)
	}
}

func TestLimitsSurviveAReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tight(func(l *api.Limits) *api.Limit { return &l.FlowCreation }))
	c := w.app()
	for range 2 {
		c.get("/self-service/login/api")
	}
	former := w.compiled
	w.compiled = compile(t, w.settings)
	w.compiled.KeepLimits(former)
	if g := c.get("/self-service/login/api"); g.status != http.StatusTooManyRequests {
		t.Errorf("after a reload with the same limits = %d, want 429", g.status)
	}
	w.settings.Limits.MailStart.Burst = 5
	w.compiled = compile(t, w.settings)
	w.compiled.KeepLimits(former)
	if g := c.get("/self-service/login/api"); g.status != http.StatusTooManyRequests {
		t.Errorf("after a reload with another limit of another class = %d, want 429", g.status)
	}
	w.settings.Limits.FlowCreation.Burst = 5
	w.compiled = compile(t, w.settings)
	w.compiled.KeepLimits(former)
	if g := c.get("/self-service/login/api"); g.status != http.StatusOK {
		t.Errorf("after a reload with other limits = %d, want 200", g.status)
	}
}
