package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/override"
)

// savedSettings is an admin API that keeps settings as the real one answers.
type savedSettings struct {
	mu        sync.Mutex
	settings  []override.State // of the file alone
	revisions []override.Revision
	// refuse says why values cannot hold, nil if they can.
	refuse func(override.Values) []string
	// lost makes the hooks depend on the settings, which they must not.
	lost bool
	// inForce says why the newest revision is not in force.
	inForce []string
	// patched are the bodies that were asked to be saved.
	patched []string
}

func setting(name, label string, kind override.Kind, value any, choices ...string) override.State {
	wanted := ""
	if kind == override.Duration {
		wanted = "1s to 720h"
	}
	return override.State{
		Range:   wanted,
		Setting: override.Setting{Name: name, Label: label, Help: "Help of " + label + ".", Kind: kind, Choices: choices},
		Value:   value, File: value, Source: override.FromFile,
	}
}

const (
	onFailure   = "session.issue.on_failure"
	lifespan    = "session.lifespan"
	enabled     = "selfservice.flows.registration.enabled"
	settingPage = "/console/settings"
)

// withSettings gives a world such an API.
func withSettings(t *testing.T) (*world, *savedSettings) {
	t.Helper()
	w := newWorld(t)
	s := &savedSettings{settings: []override.State{
		setting(override.SignIn, "Sign in", override.Switch, true),
		setting(override.Gate, "Require a verified address", override.Switch, false),
		setting(override.SocialSignIn, "Social sign-in signs in by itself", override.Switch, true),
		setting(onFailure, "When no session can be issued", override.Choice, "degrade", "degrade", "fail"),
		setting(enabled, "Registration", override.Switch, true),
		setting(lifespan, "Session lifetime", override.Duration, "24h0m0s"),
	}}
	s.serve(w.admin)
	return w, s
}

func (s *savedSettings) serve(mux *http.ServeMux) {
	handle := func(pattern string, answer func(body settingsBody, r *http.Request) (int, any)) {
		mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			var body settingsBody
			_ = json.NewDecoder(r.Body).Decode(&body)
			status, said := answer(body, r)
			rw.WriteHeader(status)
			_ = json.NewEncoder(rw).Encode(said)
		})
	}
	handle("GET /admin/settings", func(settingsBody, *http.Request) (int, any) { return 200, s.now() })
	handle("POST /admin/settings/preview", func(b settingsBody, _ *http.Request) (int, any) {
		values := s.with(b)
		if reasons := s.refused(values); len(reasons) > 0 {
			return 200, map[string]any{"settings": s.states(values), "today": s.effect(s.values()), "after": override.Effect{}, "refused": reasons}
		}
		return 200, map[string]any{"settings": s.states(values), "today": s.effect(s.values()), "after": s.effect(values), "refused": []string{}}
	})
	handle("PATCH /admin/settings", func(b settingsBody, _ *http.Request) (int, any) {
		text, _ := json.Marshal(b)
		s.patched = append(s.patched, string(text))
		if b.Revision != s.newest().Number {
			return 409, refusedBy("somebody has saved since")
		}
		values := s.with(b)
		if reasons := s.refused(values); len(reasons) > 0 {
			return 400, refusedBy(strings.Join(reasons, "; "))
		}
		s.save("bob", values)
		return 200, s.now()
	})
	handle("POST /admin/settings/revert", func(b settingsBody, _ *http.Request) (int, any) {
		if b.Revision != s.newest().Number {
			return 409, refusedBy("somebody has saved since")
		}
		values := override.Values{}
		if b.To > 0 {
			values = s.revisions[b.To-1].Values
		}
		s.save("bob", values)
		return 200, s.now()
	})
	handle("GET /admin/settings/history", func(_ settingsBody, r *http.Request) (int, any) {
		before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
		size, _ := strconv.Atoi(r.URL.Query().Get("page_size"))
		list := []override.Revision{}
		for _, revision := range slices.Backward(s.revisions) {
			if (before == 0 || revision.Number < before) && len(list) < size {
				list = append(list, revision)
			}
		}
		return 200, list
	})
}

type settingsBody struct {
	Revision int64           `json:"revision"`
	To       int64           `json:"to,omitempty"`
	Set      override.Values `json:"set"`
	Reset    []string        `json:"reset"`
}

func refusedBy(reason string) any { return map[string]any{"error": map[string]any{"reason": reason}} }

func (s *savedSettings) save(by string, values override.Values) {
	n := int64(len(s.revisions) + 1)
	s.revisions = append(s.revisions, override.Revision{Number: n, Values: values, Actor: "admin:" + by, At: at.Add(-time.Duration(100-n) * time.Minute)})
}

// saves lets somebody save.
func (s *savedSettings) saves(by string, values override.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.save(by, values)
}

func (s *savedSettings) newest() override.Revision {
	if len(s.revisions) == 0 {
		return override.Revision{Values: override.Values{}}
	}
	return s.revisions[len(s.revisions)-1]
}

func (s *savedSettings) values() override.Values { return s.newest().Values }

func (s *savedSettings) with(b settingsBody) override.Values {
	values := override.Values{}
	for name, value := range s.values() {
		values[name] = value
	}
	for name, value := range b.Set {
		values[name] = value
	}
	for _, name := range b.Reset {
		delete(values, name)
	}
	return values
}

func (s *savedSettings) states(values override.Values) []override.State {
	states := slices.Clone(s.settings)
	for n := range states {
		if value, ok := values[states[n].Name]; ok && states[n].Source != override.Locked {
			states[n].Value, states[n].Source = value, override.Saved
		}
	}
	return states
}

func (s *savedSettings) refused(values override.Values) []string {
	if s.refuse == nil {
		return nil
	}
	return s.refuse(values)
}

func (s *savedSettings) now() any {
	return map[string]any{"revision": s.newest(), "settings": s.states(s.values()), "effect": s.effect(s.values()), "refused": s.inForce}
}

// effect is what values do, of a password and of a provider.
func (s *savedSettings) effect(values override.Values) override.Effect {
	is := func(name string) bool {
		for _, state := range s.states(values) {
			if state.Name == name {
				return state.Value == true
			}
		}
		return false
	}
	e := override.Effect{Background: map[string][]string{"password": {"web_hook crm (identity.created)"}, "oidc": {"web_hook crm (identity.created)"}}, Warnings: []string{}}
	for method, signsIn := range map[string]bool{"oidc": is(override.SocialSignIn), "password": is(override.SignIn)} {
		if s.lost && !signsIn {
			e.Background[method] = []string{}
		}
	}
	for _, kind := range []string{"api", "browser"} {
		add := func(flow, method, when, step string, line int) {
			e.Rows = append(e.Rows, override.Row{Flow: flow, Method: method, FlowType: kind, When: when, Step: step, Line: line})
		}
		add("registration", "password", "before the commit", "web_hook vet", 12)
		if is(override.SignIn) {
			add("registration", "password", "last in the answer", "session", 13)
		}
		add("registration", "password", "from the event", "web_hook crm", 14)
		if is(override.SocialSignIn) {
			add("registration", "oidc", "last in the answer", "session (by itself)", 0)
		}
		add("registration", "oidc", "from the event", "web_hook crm", 20)
		if is(override.Gate) {
			add("login", "password", "once the password is right", "require_verified_address", 0)
		}
		add("login", "password", "from the event", "web_hook crm", 30)
	}
	if is(override.SignIn) {
		e.Warnings = append(e.Warnings, "method password has the session step")
	}
	for _, method := range []string{"password", "oidc"} {
		signsIn := method == "password" && is(override.SignIn) || method == "oidc" && is(override.SocialSignIn)
		for _, client := range []string{"app", "browser (script)", "browser (page)"} {
			e.Answers = append(e.Answers, answerOf(method, client, signsIn, fmt.Sprint(s.valueOf(values, lifespan))))
		}
	}
	return e
}

func (s *savedSettings) valueOf(values override.Values, name string) any {
	for _, state := range s.states(values) {
		if state.Name == name {
			return state.Value
		}
	}
	return nil
}

func answerOf(method, client string, signsIn bool, lasts string) override.Answer {
	a := override.Answer{Method: method, Client: client, Fields: []string{}, Cookies: []string{}, FlowType: "browser"}
	status, session, token := "200 OK", "", ""
	if client == "app" {
		a.FlowType = "api"
	} else {
		a.Cookies = append(a.Cookies, "csrf_token_806060ca5bf70dff3caa0e5c860002aade9d470a5a4dce73bcfa7ba10778f481")
	}
	if signsIn && client == "app" {
		a.Fields = append(a.Fields, "session_token")
		token = "  \"session_token\": \"ory_st_EXAMPLEexampleEXAMPLEexample0000\",\n"
	}
	if signsIn {
		session = fmt.Sprintf("  \"session\": {\"active\": true, \"lasts\": %q},\n", lasts)
		if client != "app" {
			a.Cookies = append(a.Cookies, "ory_kratos_session")
		}
		if client != "browser (page)" {
			a.Fields = append(a.Fields, "session")
		}
	}
	if client == "browser (page)" {
		a.Example = "HTTP/1.1 303 See Other\nLocation: https://id.example/ui/welcome\nSet-Cookie: " + strings.Join(a.Cookies, "=EXAMPLE; Path=/; HttpOnly\nSet-Cookie: ") + "=EXAMPLE; Path=/; HttpOnly\n"
		return a
	}
	a.Fields = append(a.Fields, "identity", "continue_with")
	a.Example = "HTTP/1.1 " + status + "\nContent-Type: application/json\n\n{\n" + token + session + "  \"identity\": {\"traits\": {\"email\": \"ann@example.org\"}},\n  \"continue_with\": []\n}"
	return a
}
