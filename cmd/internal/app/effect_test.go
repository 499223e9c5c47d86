package app

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/override"
)

func effectWith(t *testing.T, overrides map[string]any) override.Effect {
	t.Helper()
	all := map[string]any{"data_dir": t.TempDir()}
	maps.Copy(all, overrides)
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: all})
	if err != nil {
		t.Fatal(err)
	}
	e, err := effectOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	passwordList = "selfservice.flows.registration.after.password.hooks"
	loginList    = "selfservice.flows.login.after.password.hooks"
)

// called is a list with background, waiting and refusing endpoints, and more behind them.
func called(more ...any) []any {
	endpoint := func(id string, config map[string]any) map[string]any {
		config["id"], config["url"], config["method"] = id, "https://hooks.example/"+id, "POST"
		return map[string]any{"hook": "web_hook", "config": config}
	}
	return append([]any{
		endpoint("crm", map[string]any{"response": map[string]any{"ignore": true}}),
		endpoint("ledger", map[string]any{}),
		endpoint("vet", map[string]any{"can_interrupt": true}),
	}, more...)
}

var (
	showHook    = map[string]any{"hook": "show_verification_ui"}
	sessionHook = map[string]any{"hook": "session"}
	gateHook    = map[string]any{"hook": "require_verified_address"}
)

func TestEffectOfSession(t *testing.T) {
	t.Parallel()
	declared := map[string]any{"workers": []any{map[string]any{"name": "greeter", "events": []any{"identity.created"}}}}
	with := func(list []any) override.Effect {
		all := maps.Clone(declared)
		all[passwordList] = list
		return effectWith(t, all)
	}
	on, off := with(called(showHook, sessionHook)), with(called(showHook))
	if got, want := on.Background["password"], []string{
		"web_hook webhook-crm (identity.created)", "worker courier (verification.requested)", "worker greeter (identity.created)",
	}; !slices.Equal(got, want) {
		t.Errorf("background = %q, want %q", got, want)
	}
	if !slices.Equal(on.Background["password"], off.Background["password"]) {
		t.Errorf("background with session = %q, without = %q", on.Background, off.Background)
	}
	for _, tt := range []struct {
		client         string
		with, without  []string
		cookies, fewer int
	}{
		{
			"app",
			[]string{"session_token", "session", "identity", "continue_with", "continue_with: show_verification_ui", "continue_with: set_ory_session_token"},
			[]string{"identity", "continue_with", "continue_with: show_verification_ui"},
			0, 0,
		},
		{
			"browser (script)",
			[]string{"session", "identity", "continue_with", "continue_with: redirect_browser_to", "continue_with: show_verification_ui"},
			[]string{"identity", "continue_with", "continue_with: redirect_browser_to", "continue_with: show_verification_ui"},
			2, 1,
		},
		{"browser (page)", []string{}, []string{}, 2, 1},
	} {
		a, b := answerFor(t, on, tt.client), answerFor(t, off, tt.client)
		if !slices.Equal(a.Fields, tt.with) || !slices.Equal(b.Fields, tt.without) {
			t.Errorf("%s: fields with session = %q, without = %q", tt.client, a.Fields, b.Fields)
		}
		if len(a.Cookies) != tt.cookies || len(b.Cookies) != tt.fewer {
			t.Errorf("%s: cookies with session = %q, without = %q", tt.client, a.Cookies, b.Cookies)
		}
		if strings.Contains(b.Example, "ory_kratos_session") || strings.Contains(b.Example, "EXAMPLEexample") {
			t.Errorf("%s: example without session = %s", tt.client, b.Example)
		}
	}
	if len(on.Warnings) == 0 || len(off.Warnings) != 0 {
		t.Errorf("warnings with session = %q, without = %q", on.Warnings, off.Warnings)
	}
}

func answerFor(t *testing.T, e override.Effect, client string) override.Answer {
	t.Helper()
	n := slices.IndexFunc(e.Answers, func(a override.Answer) bool { return a.Method == "password" && a.Client == client })
	if n < 0 {
		t.Fatalf("no answer for %s in %+v", client, e.Answers)
	}
	return e.Answers[n]
}

// TestEffectShowsWhichHooksAGateTurnsOff: a list of the method's own takes the
// place of the general one, and so a gate that is written into it takes its hooks away.
func TestEffectShowsWhichHooksAGateTurnsOff(t *testing.T) {
	t.Parallel()
	const general = "selfservice.flows.login.after.hooks"
	open := effectWith(t, map[string]any{general: called()})
	gated := effectWith(t, map[string]any{general: called(), loginList: []any{gateHook}})
	lost := "web_hook webhook-crm (login.succeeded)"
	if !slices.Contains(open.Background["password"], lost) || slices.Contains(gated.Background["password"], lost) {
		t.Errorf("background = %q, with a list of its own %q", open.Background, gated.Background)
	}
}

func TestEffectOfRegistrationTurnedOff(t *testing.T) {
	t.Parallel()
	e := effectWith(t, map[string]any{"selfservice.flows.registration.enabled": false})
	if slices.ContainsFunc(e.Rows, func(r override.Row) bool { return r.Flow == "registration" }) {
		t.Errorf("rows = %+v, want none of a registration", e.Rows)
	}
	if a := answerFor(t, e, "app"); !strings.Contains(a.Example, "self_service_flow_disabled") {
		t.Errorf("example = %s", a.Example)
	}
}

// TestEffectOfSocialSignIn: it stays on by itself while the lists have no session.
func TestEffectOfSocialSignIn(t *testing.T) {
	t.Parallel()
	for _, byItself := range []bool{true, false} {
		e := effectWith(t, social("https://sso.example", map[string]any{
			passwordList: []any{}, "selfservice.flows.registration.after.oidc.auto_session": byItself,
		}))
		shown := slices.ContainsFunc(e.Rows, func(r override.Row) bool {
			return r.Method == "oidc" && r.Flow == "registration" && strings.HasPrefix(r.Step, "session (by itself)")
		})
		if shown != byItself {
			t.Errorf("auto_session %v: session by itself is shown: %v", byItself, shown)
		}
		for _, a := range e.Answers {
			if a.Method == "oidc" && a.Client == "app" && slices.Contains(a.Fields, "session") != byItself {
				t.Errorf("auto_session %v: an app receives %q", byItself, a.Fields)
			}
		}
	}
}

// TestNoSavedSettingAffectsAnAsynchronousHook flips each switch, alone and with all
// others, where hooks stand in every list.
func TestNoSavedSettingAffectsAnAsynchronousHook(t *testing.T) {
	t.Parallel()
	everywhere := map[string]any{
		"selfservice.flows.registration.after.hooks": called(), passwordList: called(sessionHook),
		"selfservice.flows.login.after.hooks": called(), "selfservice.flows.verification.enabled": true,
		"data_dir": t.TempDir(),
	}
	for name, lists := range map[string]map[string]any{
		"a list for all logins":       {},
		"a list of the method's own":  {loginList: called()},
		"a gate in the method's list": {loginList: called(gateHook)},
	} {
		all := social("https://sso.example", everywhere)
		maps.Copy(all, lists)
		cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: all})
		if err != nil {
			t.Fatal(err)
		}
		today, err := effectOf(cfg)
		if err != nil {
			t.Fatal(err)
		}
		flipped, held := override.Values{}, 0
		for _, s := range cfg.Settings(nil) {
			if s.Kind != override.Switch {
				continue
			}
			flipped[s.Name] = s.Value != true
			for _, values := range []override.Values{{s.Name: s.Value != true}, maps.Clone(flipped)} {
				changed, _, err := cfg.With(values)
				if err != nil {
					continue // it cannot be saved
				}
				held++
				after, err := effectOf(changed)
				if err != nil {
					t.Fatal(err)
				}
				if !maps.EqualFunc(today.Background, after.Background, slices.Equal[[]string]) {
					t.Errorf("%s: with %v the background is %q, want %q", name, values, after.Background, today.Background)
				}
			}
		}
		if len(flipped) < 5 || held < 8 {
			t.Errorf("%s: of %v only %d could be saved", name, flipped, held)
		}
	}
}
