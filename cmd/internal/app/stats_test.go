package app

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/stats"
	"github.com/usher-auth/usher/workers"
)

// TestTotals: what the metrics hold is what the last hour is made of.
func TestTotals(t *testing.T) {
	t.Parallel()
	m := newMetrics("1.0.0")
	m.registration(t.Context(), registration.Outcome{Method: "password", Result: registration.OK, Hop: 3 * time.Millisecond, Hash: time.Second})
	m.registration(t.Context(), registration.Outcome{Method: "oidc", Result: registration.OK, Hop: time.Minute})
	m.registration(t.Context(), registration.Outcome{Method: "password", Result: registration.Invalid})
	m.login(login.Outcome{Method: "password", Result: login.WrongCredentials})
	m.request(t.Context(), "/self-service/registration", http.MethodPost, 200, time.Millisecond)
	m.request(t.Context(), "/self-service/registration", http.MethodPost, 503, time.Millisecond)
	m.request(t.Context(), "/admin/identities", http.MethodPost, 201, time.Millisecond)
	for _, route := range []string{"/health/ready", "/admin/health/ready", "/admin/stats", "/console/", "/metrics"} {
		m.request(t.Context(), route, http.MethodGet, 503, time.Millisecond)
	}
	m.issue("ok", time.Millisecond)
	m.issue("error", time.Millisecond)
	m.attempt("crm", workers.Attempt{Outcome: workers.Done, Took: 20 * time.Millisecond})
	m.attempt("crm", workers.Attempt{Outcome: workers.Skipped, Took: time.Microsecond})
	m.attempt("crm", workers.Attempt{Outcome: workers.Dead, Took: time.Millisecond})
	m.attempt("courier", workers.Attempt{Outcome: workers.Done, Took: time.Millisecond})
	got := m.totals()
	want := map[string]int64{
		"registrations.ok": 2, "registrations.invalid": 1, "logins.credentials": 1,
		stats.Requests: 3, stats.RequestErrors: 1, stats.SessionErrors: 1,
		stats.HooksDone: 2, stats.HooksFailed: 1, stats.MailsSent: 1,
	}
	for name, n := range got.Counts {
		if n != want[name] {
			t.Errorf("%s = %d, want %d", name, n, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("totals lack %v", want)
	}
	hop, hook := got.Times[stats.Hop], got.Times[stats.Hook]
	if hop.Count() != 2 || hop[len(hop)-1] != 1 || hook.Count() != 3 {
		t.Errorf("hops = %v, hooks = %v; want 2, one beyond all bounds, and 3", hop, hook)
	}
}

// TestStatsAreHeard by the process itself, what waits included.
func TestStatsAreHeard(t *testing.T) {
	t.Parallel()
	s := serveIn(t, t.TempDir())
	hour := func() (h stats.Hour) {
		t.Helper()
		r, err := http.Get(s.at.Admin + "/admin/stats")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	deadline := time.Now().Add(30 * time.Second)
	h := hour()
	for ; h.Now == nil && time.Now().Before(deadline); h = hour() {
		time.Sleep(200 * time.Millisecond)
	}
	if len(h.Instances) != 1 || !slices.Equal(h.Instances[0].Parts, []string{"api", "session", "hooks", "console"}) {
		t.Errorf("instances = %+v, want this one", h.Instances)
	}
	if !h.Complete || h.Now == nil || h.Until.Sub(h.From)%stats.Step != 0 {
		t.Errorf("hour = %+v, want a complete one with what waits", h)
	}
}
