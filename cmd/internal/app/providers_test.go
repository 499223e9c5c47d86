package app

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// social turns social sign-in on, with a provider at a URL, and lays more over it.
func social(issuer string, more map[string]any) map[string]any {
	mapper := base64.StdEncoding.EncodeToString([]byte(`{identity: {traits: {email: std.extVar('claims').email}}}`))
	all := map[string]any{
		"selfservice.methods.oidc.enabled": true,
		"selfservice.methods.oidc.config.providers": []any{map[string]any{
			"id": "sso", "provider": "generic", "client_id": oidctest.ClientID, "client_secret": oidctest.ClientSecret,
			"issuer_url": issuer, "mapper_url": "base64://" + mapper,
		}},
	}
	for key, value := range more {
		all[key] = value
	}
	return all
}

// watched is a provider that knows nothing, and tells what becomes of connections to it.
func watched(t *testing.T) (issuer string, connections <-chan http.ConnState) {
	t.Helper()
	states := make(chan http.ConnState, 100)
	front := httptest.NewUnstartedServer(http.NotFoundHandler())
	front.Config.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
	front.Start()
	t.Cleanup(front.Close)
	return front.URL, states
}

func await(t *testing.T, connections <-chan http.ConnState, wanted http.ConnState) {
	t.Helper()
	for {
		select {
		case s := <-connections:
			if s == wanted {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no connection became %s", wanted)
		}
	}
}

// Each client is looked after as long as it is in force: the first is asked at
// the start, and nothing of it stays when a reload brings another.
func TestProvidersAreLookedAfterWhileTheyAreInForce(t *testing.T) {
	t.Parallel()
	first, ofFirst := watched(t)
	second, ofSecond := watched(t)
	p := &process{inForce: inForce{live: &live{}}, log: slog.New(slog.DiscardHandler), stages: newStages(slog.New(slog.DiscardHandler)), signals: signals{reconfigured: make(chan struct{}, 1)}}
	reconfigure(t, p, social(first, nil))
	if err := p.startProviders(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, ofFirst, http.StateIdle)

	client := p.live.now().providers
	reconfigure(t, p, social(first, map[string]any{"session.lifespan": "2h"}))
	if p.live.now().providers != client {
		t.Error("a reload that leaves the providers alone forgets what is known of them")
	}
	reconfigure(t, p, social(second, nil))
	if p.live.now().providers == client {
		t.Fatal("a reload keeps the former providers")
	}
	await(t, ofSecond, http.StateIdle)
	await(t, ofFirst, http.StateClosed)
	if err := p.stages.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	await(t, ofSecond, http.StateClosed)
}

// A provider that never answers keeps no process from ending.
func TestDrainingWaitsForNoProvider(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	p := &process{inForce: inForce{live: &live{}}, log: slog.New(slog.DiscardHandler), stages: newStages(slog.New(slog.DiscardHandler)), signals: signals{reconfigured: make(chan struct{}, 1)}}
	reconfigure(t, p, social(silent.URL, nil))
	if err := p.startProviders(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-asked
	began := time.Now()
	if err := p.stages.stop(); err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("stop = %v after %s", err, time.Since(began))
	}
}

// Attempts are sealed by the cookie secrets: who changes them means it.
func TestOtherSecretsMakeOtherProviders(t *testing.T) {
	t.Parallel()
	p := configured(t, social("http://127.0.0.1:1", nil))
	client := p.live.now().providers
	reconfigure(t, p, social("http://127.0.0.1:1", map[string]any{"secrets.cookie": []any{"Xk9rTn2bWc7Lq4Zs1Vh8Yd5Gf3Jm6Pa0Qe"}}))
	if p.live.now().providers == client {
		t.Error("a reload with other secrets seals attempts with the former ones")
	}
}

func TestLiveKnowsTheProvidersInForce(t *testing.T) {
	t.Parallel()
	p := configured(t, social("http://127.0.0.1:1", map[string]any{
		"selfservice.methods.oidc.config.base_redirect_uri":                    "https://id.example.org/",
		"selfservice.flows.login.after.oidc.default_browser_return_url":        "https://app.example.org/in",
		"selfservice.flows.registration.after.oidc.default_browser_return_url": "https://app.example.org/new",
	}))
	if sso, ok := p.live.now().providers.Provider("sso"); !ok || len(p.live.now().providers.Providers()) != 1 || sso.ID() != "sso" {
		t.Errorf("providers = %v, want sso", p.live.now().providers.Providers())
	}
	s := p.live.now().settings
	if s.OIDCRedirectBase != "https://id.example.org/" || s.Login.MethodReturnURLs["oidc"] != "https://app.example.org/in" || s.Registration.MethodReturnURLs["oidc"] != "https://app.example.org/new" {
		t.Errorf("settings = %q, %v, %v; want the configured ones", s.OIDCRedirectBase, s.Login.MethodReturnURLs, s.Registration.MethodReturnURLs)
	}
	if want := []string{"password", "oidc"}; !slices.Equal(s.Login.Methods, want) || !slices.Equal(s.Registration.Methods, append(want, "profile")) {
		t.Errorf("methods = %v, %v, want %v, and profile for a registration in two steps", s.Login.Methods, s.Registration.Methods, want)
	}
	reconfigure(t, p, nil)
	if _, ok := p.live.now().providers.Provider("sso"); ok || len(p.live.now().providers.Providers()) > 0 {
		t.Errorf("providers = %v behind a reload without, want none", p.live.now().providers.Providers())
	}
	if s := p.live.now().settings; s.OIDCRedirectBase != s.PublicURL || slices.Contains(s.Login.Methods, "oidc") {
		t.Errorf("settings = %q, %v; want the public URL and no method oidc", s.OIDCRedirectBase, s.Login.Methods)
	}
}

// P3: a social registration gets the session step whether anybody asked for it
// or not, and only auto_session: false turns that off.
func TestSocialSignInSaysWhatBecomesOfTheSession(t *testing.T) {
	t.Parallel()
	const after = "selfservice.flows.registration.after.oidc"
	session := []any{map[string]any{"hook": "session"}}
	for _, tt := range []struct {
		over map[string]any
		want string
	}{
		{nil, "session (by itself)"},
		{map[string]any{after + ".hooks": session}, "session"},
		{map[string]any{after + ".hooks": session, after + ".auto_session": false}, "session"},
		{map[string]any{after + ".auto_session": false}, "no session: auto_session is false, and session is not in the list"},
	} {
		cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: social("http://127.0.0.1:1", tt.over)})
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		say(slog.New(slog.NewTextHandler(&log, nil)), cfg, nil)
		if want := "social sign-in with sso: " + tt.want; SocialSignIn(cfg) != want || !strings.Contains(log.String(), want+`"`) {
			t.Errorf("with %v: %q, logged %s, want %q", tt.over, SocialSignIn(cfg), log.String(), want)
		}
		rows := 0
		for _, row := range PlansOf(cfg).Rows {
			if row.Flow == "registration" && row.Method == "oidc" && row.Step == tt.want {
				rows++
			}
		}
		if planned := !strings.HasPrefix(tt.want, "no"); planned != (rows == 2) {
			t.Errorf("with %v: the plans have the step %d times", tt.over, rows)
		}
	}
	if cfg, _, _ := config.Load(config.Options{Dev: true, Env: []string{}}); SocialSignIn(cfg) != "" {
		t.Error("social sign-in is said to be there where it is not")
	}
}

// "config check" needs no network.
func TestCheckAsksNoProvider(t *testing.T) {
	t.Parallel()
	provider := oidctest.New(t)
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: social(provider.URL, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Check(cfg); err != nil || provider.Calls("/.well-known/openid-configuration") > 0 {
		t.Errorf("Check = %v with %d calls, want none", err, provider.Calls("/.well-known/openid-configuration"))
	}
}

func TestProviderChecksWantTLS(t *testing.T) {
	t.Parallel()
	for base, wrong := range map[string]bool{"http://id.example.org/": true, "https://id.example.org/": false} {
		cfg, _, err := config.Load(config.Options{Env: []string{}, NoSecrets: true, Overrides: social("https://127.0.0.1:1", map[string]any{
			"dev": false, "serve.public.base_url": base, "selfservice.flows.verification.enabled": false,
		})})
		if err != nil {
			t.Fatal(err)
		}
		checks, err := NewProviderChecks(cfg)
		if err != nil {
			t.Fatal(err)
		}
		reports, err := checks.Run(t.Context(), []string{"sso"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(fmt.Sprint(reports[0].Problems), "redirect_uri is plain HTTP"); said != wrong {
			t.Errorf("%s: problems = %v", base, reports[0].Problems)
		}
		if _, err := checks.Run(t.Context(), []string{"sso", "none"}, nil); err == nil {
			t.Error("a provider that is not there was checked")
		}
	}
}
