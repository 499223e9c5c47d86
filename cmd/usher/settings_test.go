package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/override"
)

// settingsServer answers as an admin listener does, with two revisions.
type settingsServer struct {
	mu     sync.Mutex
	bodies []string // that were sent
	stale  bool     // another saves before this one
}

var savedAt = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func (s *settingsServer) revisions() []override.Revision {
	all := []override.Revision{
		{Number: 2, Values: override.Values{"session.lifespan": "12h0m0s", override.SignIn: false}, Actor: "admin:bob", At: savedAt},
		{Number: 1, Values: override.Values{override.SignIn: false}, Actor: "admin:ann", At: savedAt},
	}
	if s.stale {
		return all
	}
	return all[1:]
}

func (s *settingsServer) snapshot(signIn bool) override.Snapshot {
	r := s.revisions()[0]
	return override.Snapshot{Revision: r, Effect: effectWith(signIn), Settings: []override.State{
		{Setting: override.Setting{Name: override.SignIn, Kind: override.Switch}, Range: "true or false", Value: signIn, File: true, Source: override.Saved},
		{Setting: override.Setting{Name: "session.lifespan", Kind: override.Duration}, Range: "1s to 720h", Value: "24h0m0s", File: "24h0m0s", Source: override.FromFile},
	}}
}

func effectWith(signIn bool) override.Effect {
	e := override.NoEffect()
	e.Rows = []override.Row{{Flow: "registration", Method: "password", FlowType: "api", When: "background", Step: "crm"}}
	e.Answers = []override.Answer{{Method: "password", FlowType: "api", Client: "app", Fields: []string{"identity"}}}
	if signIn {
		e.Rows = append(e.Rows, override.Row{Flow: "registration", Method: "password", FlowType: "api", When: "last", Step: "session"})
		e.Answers[0].Fields = append(e.Answers[0].Fields, "session_token")
	}
	return e
}

func (s *settingsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var answer any
	body, _ := io.ReadAll(r.Body)
	if len(body) > 0 {
		s.bodies = append(s.bodies, r.Method+" "+r.URL.Path+" "+string(body))
	}
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, settingsPath) {
	case "GET ":
		answer = s.snapshot(false)
	case "PATCH ", "POST /revert":
		if strings.Contains(string(body), `"revision":9`) {
			s.stale = true
			w.WriteHeader(http.StatusConflict)
		}
		answer = s.snapshot(true)
	case "POST /preview":
		p := override.Preview{Today: effectWith(false), After: effectWith(true), Settings: s.snapshot(true).Settings}
		if strings.Contains(string(body), "session.lifespan") {
			p = override.Preview{Today: effectWith(false), Refused: []string{"session.lifespan: want less"}}
		}
		answer = p
	case "GET /history":
		found := s.revisions()
		switch r.URL.Query().Get("before") {
		case "10":
			found = []override.Revision{{Number: 9, Values: override.Values{}}}
		case "8":
			found = nil
		}
		answer = found
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args string
		code int
		want string // of what is said
		sent string // at last
	}{
		"get":             {"get", 0, "sign_in_after_registration  off    saved  on", ""},
		"one":             {"get session.lifespan", 0, "24h\n", ""},
		"one, misspelt":   {"get session.lifespam", 1, "did you mean session.lifespan?", ""},
		"none like it":    {"get colour", 1, "want one of sign_in_after_registration, session.lifespan", ""},
		"set":             {"set sign_in_after_registration=on session.lifespan=2h", 0, "off (saved)  → on (saved)", `PATCH /admin/settings {"revision":1,"set":{"session.lifespan":"2h","sign_in_after_registration":true},"reset":null}`},
		"no value":        {"set sign_in_after_registration", 1, "want NAME=VALUE", ""},
		"no switch":       {"set sign_in_after_registration=maybe", 1, "want on or off", ""},
		"twice":           {"set session.lifespan=1h session.lifespan=2h", 1, "given twice", ""},
		"nothing":         {"set", 1, "want one NAME=VALUE or more", ""},
		"stale":           {"set session.lifespan=1h --revision 9", 1, "admin:bob has saved revision 2 since: session.lifespan=12h, sign_in_after_registration=off\nnothing was changed", ""},
		"dry":             {"set sign_in_after_registration=on --dry-run", 0, "+  registration  password  api  last        session", `POST /admin/settings/preview {"set":{"sign_in_after_registration":true},"reset":null}`},
		"dry, the answer": {"set sign_in_after_registration=on --dry-run", 0, "after  fields identity, session_token", ""},
		"dry, refused":    {"set session.lifespan=9h --dry-run", 1, "this cannot hold:\n  session.lifespan: want less", ""},
		"dry, as JSON":    {"set session.lifespan=9h --dry-run --json", 1, `"session.lifespan: want less"`, ""},
		"reset":           {"reset sign_in_after_registration", 0, "saved revision 1", `PATCH /admin/settings {"revision":1,"set":null,"reset":["sign_in_after_registration"]}`},
		"history":         {"history", 0, "sign_in_after_registration=off", ""},
		"history, limit":  {"history --limit 100", 1, "want 1 to 99", ""},
		"diff":            {"diff 1 0", 0, "sign_in_after_registration  off         as in the file", ""},
		"diff with none":  {"diff 0 7", 1, "there is no revision 7", ""},
		"diff of one":     {"diff 1", 1, "want two revisions, not 1", ""},
		"revert":          {"revert 0", 0, "saved revision 1", `POST /admin/settings/revert {"revision":1,"to":0}`},
		"revert to words": {"revert former", 1, "want the number of a revision", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &settingsServer{}
			s := httptest.NewServer(server)
			defer s.Close()
			out, errOut, code := run(t, append([]string{"settings", "--admin", s.URL}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(out+errOut, tt.want) {
				t.Errorf("usher settings %s = %d\n%s%s\nwant %d and %q", tt.args, code, out, errOut, tt.code, tt.want)
			}
			if n := len(server.bodies); tt.sent != "" && (n == 0 || server.bodies[n-1] != tt.sent) {
				t.Errorf("usher settings %s sent %q, want %s", tt.args, server.bodies, tt.sent)
			}
		})
	}
}

func TestSettingsAreCompleted(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"get sign":                         "sign_in_after_registration\n",
		"reset social":                     "social_sign_in_by_itself\n",
		"set session.l":                    "session.lifespan=\n",
		"set session.issue.on_failure=":    "session.issue.on_failure=degrade\nsession.issue.on_failure=fail\n",
		"set sign_in_after_registration=o": "sign_in_after_registration=on\nsign_in_after_registration=off\n",
		"get session.lifespan sign":        ":4",
	} {
		if out, _, _ := run(t, append([]string{"__complete", "settings"}, strings.Fields(args)...)...); !strings.HasPrefix(out, want) {
			t.Errorf("completing %q = %q, want %q", args, out, want)
		}
	}
}
