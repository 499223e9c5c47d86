package oidc_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*oidc.Config, *oidctest.Provider)
		email  string
	}{
		"RS256":   {func(*oidc.Config, *oidctest.Provider) {}, ""},
		"ES256":   {func(_ *oidc.Config, p *oidctest.Provider) { p.Use(oidctest.NewKey(t, "second", jose.ES256)) }, ""},
		"no pkce": {func(c *oidc.Config, _ *oidctest.Provider) { c.PKCE = oidc.PKCENever }, ""},
		"in params": {func(_ *oidc.Config, p *oidctest.Provider) {
			p.Discovery = map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_post"}}
		}, ""},
		"userinfo": {func(c *oidc.Config, p *oidctest.Provider) {
			c.ClaimsSource = oidc.FromUserinfo
			p.Userinfo = map[string]any{"sub": "person-1", "email": "a@b.example"}
		}, "a@b.example"},
		"two audiences": {func(_ *oidc.Config, p *oidctest.Provider) {
			p.Claims = map[string]any{"aud": []string{"other", oidctest.ClientID}, "azp": oidctest.ClientID}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			c := config(own)
			tc.change(&c, own)
			a, err := signIn(t, provider(t, oidc.Options{}, c))
			if err != nil {
				t.Fatal(err)
			}
			if a.Identifier() != "own:person-1" || a.Issuer != own.URL || tc.email != "" && !strings.Contains(string(a.Identity.Traits), tc.email) {
				t.Errorf("signed in as %s of %s with %s", a.Identifier(), a.Issuer, a.Identity.Traits)
			}
		})
	}
}

func TestAuthorizationURL(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	p := provider(t, oidc.Options{}, config(own))
	r := request()
	r.Upstream = map[string]string{"login_hint": "a@b.example", "redirect_uri": "https://evil.example", "unknown": "x"}
	to, a, err := p.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"client_id": oidctest.ClientID, "response_type": "code", "redirect_uri": callback, "scope": "openid",
		"code_challenge_method": "S256", "login_hint": "a@b.example", "unknown": "",
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if q.Get("nonce") == "" || q.Get("code_challenge") == "" {
		t.Error("nonce or code_challenge is missing")
	}
	if shown := fmt.Sprintf("%v %+v %#v", a, a, a); strings.Contains(shown, q.Get("nonce")) {
		t.Errorf("the attempt shows its nonce: %s", shown)
	}
	got, err := p.Open(q.Get("state"))
	if err != nil || got.ID != a.ID || got.Flow != "flow-1" || got.FlowType != "login" || got.Client != oidc.Browser {
		t.Errorf("Open = %+v, %v", got, err)
	}
}

// A value that is too long is left out, since an authorization URL is a line of a
// header.
func TestLongUpstreamParameter(t *testing.T) {
	t.Parallel()
	p := provider(t, oidc.Options{}, config(oidctest.New(t)))
	for length, want := range map[int]bool{512: true, 513: false} {
		r := request()
		r.Upstream = map[string]string{"login_hint": strings.Repeat("x", length)}
		to, _, err := p.Start(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := query(t, to).Has("login_hint"); got != want {
			t.Errorf("login_hint of %d bytes goes to the provider: %t, want %t", length, got, want)
		}
	}
}

func TestPKCEForced(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	own.Discovery = map[string]any{"code_challenge_methods_supported": nil}
	auto, forced := config(own), config(own)
	forced.PKCE = oidc.PKCEForce
	if to, _ := start(t, provider(t, oidc.Options{}, auto)); strings.Contains(to, "code_challenge") {
		t.Error("auto: a challenge for a provider that announces none")
	}
	if to, _ := start(t, provider(t, oidc.Options{}, forced)); !strings.Contains(to, "code_challenge_method=S256") {
		t.Error("force: no challenge")
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	p := provider(t, oidc.Options{}, config(oidctest.New(t)))
	_, a := start(t, p)
	for said, want := range map[string]string{"access_denied": "access_denied", "<script>": "other"} {
		_, err := p.Finish(t.Context(), a, oidc.Callback{Error: said})
		var denied *oidc.Denied
		if !errors.As(err, &denied) || denied.Code != want {
			t.Errorf("error=%s: got %v", said, err)
		}
	}
}
