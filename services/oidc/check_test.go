package oidc_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

func TestCheckFindsNothing(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	own.Discovery = map[string]any{"scopes_supported": []string{"openid", "email"}, "authorization_response_iss_parameter_supported": true}
	c := config(own)
	c.Scope, c.AuthoritativeFor = []string{"openid", "email"}, []string{"b.example"}
	r := provider(t, oidc.Options{}, c).Check(t.Context(), nil)
	if !r.OK() {
		t.Fatalf("problems: %v", r.Problems)
	}
	if r.Provider != "own" || r.Kind != oidc.Generic || r.Issuer != own.URL || r.Discovery != own.URL+"/.well-known/openid-configuration" ||
		r.TokenURL != own.URL+"/token" || r.UserinfoURL != own.URL+"/userinfo" || r.ClientAuth != "client_secret_basic" ||
		!r.PKCE.On || !r.SupportsIss || r.ClaimsSource != oidc.FromIDToken || !slices.Equal(r.Keys, []oidc.KeyReport{{ID: "first", Algorithm: "RSA"}}) {
		t.Errorf("report is %+v", r)
	}
	if r.Mapped == nil || !strings.Contains(string(r.Mapped.Traits), "jane.doe@b.example") || len(r.Mapped.VerifiedAddresses) != 1 || len(r.Unvouched) != 0 {
		t.Errorf("mapped %+v, unvouched %v", r.Mapped, r.Unvouched)
	}
	encoded, err := json.Marshal(r)
	if err != nil || strings.Contains(string(encoded), oidctest.ClientSecret) || strings.Contains(string(encoded), "null") {
		t.Errorf("encoded report is %s, %v", encoded, err)
	}
}

// Each row is one thing that is wrong, and the only one that is said.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	const document, keys = "/.well-known/openid-configuration", "/keys"
	says401 := func(path string) func(*oidctest.Provider, *oidc.Config) {
		return func(p *oidctest.Provider, _ *oidc.Config) {
			p.Handle = map[string]http.HandlerFunc{path: says(401, "hidden")}
		}
	}
	announces := func(name string, v any) func(*oidctest.Provider, *oidc.Config) {
		return func(p *oidctest.Provider, _ *oidc.Config) { p.Discovery = map[string]any{name: v} }
	}
	maps := func(source string) func(*oidctest.Provider, *oidc.Config) {
		return func(_ *oidctest.Provider, c *oidc.Config) { c.Mapper = source }
	}
	for name, tc := range map[string]struct {
		spoil  func(*oidctest.Provider, *oidc.Config)
		claims string
		want   string
	}{
		"issuer with a slash": {func(_ *oidctest.Provider, c *oidc.Config) { c.IssuerURL += "/" }, "", "slash at the end"},
		"issuer of another":   {announces("issuer", "https://other.example"), "", "as the provider writes it: https://other.example"},
		"not reachable":       {func(p *oidctest.Provider, _ *oidc.Config) { p.Stop() }, "", "cannot be reached"},
		"no document":         {says401(document), "", "answered 401"},
		"no keys":             {says401(keys), "", "keys: answered 401"},
		"no usable keys": {func(p *oidctest.Provider, _ *oidc.Config) {
			p.Handle = map[string]http.HandlerFunc{keys: says(200, `{}`)}
		}, "", "none that can be used"},
		"not TLS":           {announces("token_endpoint", "http://provider.example/token"), "", "token_endpoint is not an https URL"},
		"no token endpoint": {announces("token_endpoint", nil), "", "names no token_endpoint"},
		"no S256": {func(p *oidctest.Provider, c *oidc.Config) {
			c.PKCE = oidc.PKCEForce
			p.Discovery = map[string]any{"code_challenge_methods_supported": []string{"plain"}}
		}, "", "S256"},
		"scope": {announces("scopes_supported", []string{"profile"}), "", "scope openid is not one"},
		"no userinfo": {func(p *oidctest.Provider, c *oidc.Config) {
			c.ClaimsSource = oidc.FromUserinfo
			p.Discovery = map[string]any{"userinfo_endpoint": nil}
		}, "", "has no userinfo_endpoint"},
		"shared secrets":  {announces("id_token_signing_alg_values_supported", []string{"HS256", "none"}), "", "HS256, none only"},
		"private_key_jwt": {announces("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), "", "not by client_secret_post"},
		"no secret": {func(p *oidctest.Provider, c *oidc.Config) {
			c.ClientSecret = ""
			p.Discovery = map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_basic"}}
		}, "", "client_secret is not set"},
		"mapper breaks":       {maps("local c = std.extVar('claims');\n{identity: {traits: {email: c.mail}}}"), "", "mapper: error in line 2"},
		"mapper is empty":     {maps(`{}`), "", "gives no identity"},
		"mapper has no trait": {maps(`{identity: {}}`), "", "no traits"},
		"sub missing":         {nil, `{"email":"a@b.example","email_verified":true}`, "sub is missing"},
		"claims broken":       {nil, `[1]`, "not an object"},
		"claims twice":        {nil, `{"sub":"a","sub":"b"}`, "twice"},
		"not verified":        {nil, `{"sub":"a","email":"a@b.example"}`, "email_verified is not true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			c := config(own)
			c.AuthoritativeFor = []string{"*"}
			if tc.spoil != nil {
				tc.spoil(own, &c)
			}
			r := provider(t, oidc.Options{Timeout: 2 * time.Second}, c).Check(t.Context(), json.RawMessage(tc.claims))
			if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].String(), tc.want) || r.OK() {
				t.Fatalf("problems are %v, want one with %q", r.Problems, tc.want)
			}
			if text := r.Problems[0].String(); strings.Contains(text, "hidden") || strings.Contains(text, oidctest.ClientSecret) {
				t.Errorf("the problem shows a secret: %s", text)
			}
		})
	}
}

func TestCheckSaysWhoIsNotVouchedFor(t *testing.T) {
	t.Parallel()
	c := config(oidctest.New(t))
	c.AuthoritativeFor = []string{"other.example"}
	r := provider(t, oidc.Options{}, c).Check(t.Context(), json.RawMessage(`{"sub":"a","email":"a@b.example","email_verified":true}`))
	want := []oidc.Unvouched{{Via: "email", Value: "a@b.example", Reason: "the provider is not authoritative for this domain"}}
	if !r.OK() || !slices.Equal(r.Unvouched, want) || len(r.Mapped.VerifiedAddresses) != 0 {
		t.Errorf("unvouched %v, problems %v, want %v and none", r.Unvouched, r.Problems, want)
	}
}

// Presets map their own examples, and a plain OAuth 2.0 provider is not asked.
func TestCheckOfPresets(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{oidc.Google, oidc.GitHub, oidc.GitLab, oidc.Microsoft} {
		c := oidc.Config{ID: kind, Provider: kind, ClientID: "id", ClientSecret: "secret", Mapper: mapper, MicrosoftTenant: "common", AuthoritativeFor: []string{"*"}}
		r := provider(t, oidc.Options{Transport: recorded{}}, c).Check(t.Context(), nil)
		if r.Mapped == nil || len(r.Mapped.VerifiedAddresses) != 1 {
			t.Errorf("%s: example is mapped to %+v", kind, r.Mapped)
		}
		if plain := kind == oidc.GitHub; r.OK() != plain || (r.Discovery == "none") != plain || (r.ClientAuth != "") != plain {
			t.Errorf("%s: report is %+v", kind, r)
		}
	}
}
