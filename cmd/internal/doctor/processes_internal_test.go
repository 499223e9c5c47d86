package doctor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/app"
)

// A process that drained was said not to reach its process, which is seen from here.
func TestWhatAProcessIsNotReadyFor(t *testing.T) {
	t.Parallel()
	type means struct {
		status Status
		says   string
	}
	cases := map[string]means{
		app.CheckProcess:  {Yellow, "drains"},
		app.CheckDatabase: {Red, "does not reach its database, which is seen from here"},
		app.CheckBus:      {Red, "does not reach its bus, which is seen from here"},
		app.CheckReach:    {Red, "does not reach the database, and others do"},
		app.CheckSessions: {Red, "does not reach its session worker, which is seen from here"},
	}
	for _, name := range app.HealthChecks {
		if cases[name].says == "" {
			t.Errorf("what it means that %q fails is not said", name)
		}
	}
	cases["a check of another version"] = means{Red, "is not ready: a check of another version"}
	for name, want := range cases {
		got := unready("http://127.0.0.1:4434", name)
		if got.Status != want.status || got.Check != checkHealth || !strings.Contains(got.Seen, "http://127.0.0.1:4434 "+want.says) || got.Mend == "" {
			t.Errorf("unready(%s) = %+v, want %s and %q", name, got, want.status, want.says)
		}
	}
}

func TestHealthOfAProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   Status
		says   string
	}{
		{200, `{"status":"ok"}`, Green, "is ready"},
		{200, `{"status":"ok","warnings":{"later":"unavailable"}}`, Yellow, "is not ready: later"},
		{503, `{"errors":{"later":"unavailable"}}`, Red, "is not ready: later"},
		{503, `{"errors":{"process":"unavailable"}}`, Yellow, "drains"},
		{503, `{"errors":{"database":"unavailable","database from here":"unavailable"}}`, Red, "and others do"},
		{503, `{}`, Red, "status 503"},
		{200, `<html>`, Red, "no admin listener"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(c.status)
			_, _ = rw.Write([]byte(c.body))
		}))
		d := Doctor{Admin: Admin{URL: s.URL, Client: s.Client()}}
		got := d.lookHealth(t.Context())
		if len(got) != 1 || got[0].Status != c.want || !strings.Contains(got[0].Seen, c.says) {
			t.Errorf("%d %s: findings are %+v, want one, %s with %q", c.status, c.body, got, c.want, c.says)
		}
		s.Close()
	}
}
