package api_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
)

func flowCreation(l *api.Limits) *api.Limit { return &l.FlowCreation }

func TestRefusalByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tight(flowCreation), func(w *world) { w.options.Now = func() time.Time { return noon } })
	c := w.app()
	for range 2 {
		c.get(routeLogin + "/api")
	}
	compareGolden(t, "testdata/limited.golden", written(c.get(routeLogin+"/api", "X-Request-Id", "golden")))
}

// A browser is led to the error page. That costs no row: a flood of refusals
// would fill the store.
func TestRefusedPagesStoreNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tight(flowCreation))
	c := w.browser()
	var g got
	for range 5 {
		g = c.get(routeRegistration+"/browser", "Accept", "text/html")
	}
	at, err := url.Parse(g.header.Get("Location"))
	if err != nil || g.status != http.StatusSeeOther || !strings.HasSuffix(at.Path, "/error") {
		t.Fatalf("a browser beyond the limit = %d %s, want it led to the error page", g.status, at)
	}
	id := at.Query().Get("id")
	if !regexp.MustCompile(`^stub:429:[1-9][0-9]{0,3}$`).MatchString(id) {
		t.Errorf("that error has the id %q, want the seconds to wait in it", id)
	}
	if g := c.get("/self-service/errors?id=" + url.QueryEscape(id)); g.status != http.StatusOK || !strings.Contains(g.body, `"code":429`) || !strings.Contains(g.body, "Try again in ") {
		t.Errorf("that error = %d %s, want 200, code 429 and how long to wait", g.status, g.body)
	}
	defer w.lock()()
	if len(w.errors) != 0 {
		t.Errorf("%d errors are stored, want none", len(w.errors))
	}
}

// The page said "in a moment", whatever it was.
func TestRefusedPagesSayHowLongToWait(t *testing.T) {
	t.Parallel()
	c := newWorld(t).browser()
	for id, says := range map[string]string{
		"stub:429":        "Try again later.",
		"stub:429:1":      "Try again in 1 second.",
		"stub:429:90":     "Try again in 90 seconds.",
		"stub:429:91":     "Try again in 2 minutes.",
		"stub:429:3600":   "Try again in 60 minutes.",
		"stub:429:":       "",
		"stub:429:0":      "",
		"stub:429:-1":     "",
		"stub:429:1e9":    "",
		"stub:42937":      "",
		"stub:429:<b>":    "",
		"stub:429:999999": "",
	} {
		g := c.get("/self-service/errors?id=" + url.QueryEscape(id))
		status := http.StatusOK
		if says == "" {
			status = http.StatusNotFound
		}
		if g.status != status || !strings.Contains(g.body, says) {
			t.Errorf("error %q = %d %s, want %d with %q", id, g.status, g.body, status, says)
		}
	}
}

// A submit of a flow that is over begins another one, as often as it is sent.
func TestReplacedFlowsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tight(flowCreation))
	c := w.app()
	f := c.nativeFlow()
	w.mu.Lock()
	for id, over := range w.flows {
		over.ExpiresAt = time.Now().Add(-time.Second)
		w.flows[id] = over
	}
	w.mu.Unlock()
	for n, want := range []int{http.StatusGone, http.StatusTooManyRequests, http.StatusTooManyRequests} {
		if g := c.postJSON(f.submit(), submitBody("", "a@example.org", goodPassword)); g.status != want {
			t.Errorf("submit %d of a flow that is over = %d %s, want %d", n+1, g.status, g.body, want)
		}
	}
	defer w.lock()()
	if len(w.flows) != 2 {
		t.Errorf("%d flows are stored, want 2", len(w.flows))
	}
}

type busyLogin struct{ withoutProviders }

func (busyLogin) Login(context.Context, login.Submit) (*login.Result, error) {
	return nil, password.ErrBusy
}

// An outage must not use up what people may try.
func TestFaultsAreNoFailedLogins(t *testing.T) {
	t.Parallel()
	told := false
	w := newWorld(t, tight(func(l *api.Limits) *api.Limit { return &l.FailedLogin }), func(w *world) {
		w.inForce.Login = busyLogin{}
		w.options.ObserveLimit = func(string) { told = true }
	})
	c := w.app()
	for n := range 5 {
		if g := c.postJSON(c.flowPath("login"), loginBody("", "ann@example.org", goodPassword)); g.status != http.StatusServiceUnavailable {
			t.Errorf("login %d while the hash queue is full = %d, want 503", n+1, g.status)
		}
	}
	if told {
		t.Error("a refusal was told, want none")
	}
}
