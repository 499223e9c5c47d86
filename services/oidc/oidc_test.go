package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

const mapper = `local claims = std.extVar('claims');
{identity: {traits: {[if 'email' in claims then 'email']: claims.email},
  verified_addresses: if 'email' in claims then [{via: 'email', value: claims.email}] else []}}`

const callback = "http://127.0.0.1:4433/self-service/methods/oidc/callback/own"

func config(p *oidctest.Provider) oidc.Config {
	return oidc.Config{
		ID: "own", Provider: oidc.Generic, ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		IssuerURL: p.URL, Mapper: mapper,
	}
}

func newClient(t *testing.T, o oidc.Options, configs ...oidc.Config) *oidc.Client {
	t.Helper()
	var err error
	if o.Sealer == nil {
		if o.Sealer, err = oidc.NewSealer([]byte("a secret of the tests' own")); err != nil {
			t.Fatal(err)
		}
	}
	o.Providers = configs
	c, err := oidc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func provider(t *testing.T, o oidc.Options, c oidc.Config) *oidc.Provider {
	t.Helper()
	p, ok := newClient(t, o, c).Provider(c.ID)
	if !ok {
		t.Fatalf("provider %s is not there", c.ID)
	}
	return p
}

func request() oidc.Request {
	return oidc.Request{Flow: "flow-1", FlowType: "login", Client: oidc.Browser, RedirectURL: callback}
}

func start(t *testing.T, p *oidc.Provider) (string, oidc.Attempt) {
	t.Helper()
	to, a, err := p.Start(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	return to, a
}

// visit sends a person to an authorization URL and gives what comes back.
func visit(t *testing.T, to string) url.Values {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("no redirect, status %d", resp.StatusCode)
	}
	return back.Query()
}

func signIn(t *testing.T, p *oidc.Provider) (*oidc.Account, error) {
	t.Helper()
	to, _ := start(t, p)
	back := visit(t, to)
	a, err := p.Open(back.Get("state"))
	if err != nil {
		t.Fatal(err)
	}
	return p.Finish(t.Context(), a, oidc.Callback{Code: back.Get("code")})
}

// refusal fails unless err is of the kind, and says what it should and no more.
func refusal(t *testing.T, err, kind error, want string) {
	t.Helper()
	var failed *oidc.Failed
	if !errors.As(err, &failed) || !errors.Is(err, kind) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want %v with %q", err, kind, want)
	}
	for _, secret := range []string{oidctest.ClientSecret, "access-token", "hidden", "eyJ", "127.0.0.1"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error shows %q: %v", secret, err)
		}
	}
}

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

func TestState(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	now := time.Now()
	other := config(own)
	other.ID = "other"
	c := newClient(t, oidc.Options{Now: func() time.Time { return now }}, config(own), other)
	p, _ := c.Provider("own")
	q, _ := c.Provider("other")
	_, a := start(t, p)
	to, _ := start(t, p)
	u, _ := url.Parse(to)
	state := u.Query().Get("state")
	foreign, err := oidc.NewSealer([]byte("a secret of somebody else"))
	if err != nil {
		t.Fatal(err)
	}
	stranger := provider(t, oidc.Options{Sealer: foreign}, config(own))
	changed := []byte(state)
	changed[40] ^= 1
	for name, open := range map[string]func() (oidc.Attempt, error){
		"missing":          func() (oidc.Attempt, error) { return p.Open("") },
		"changed":          func() (oidc.Attempt, error) { return p.Open(string(changed)) },
		"cut":              func() (oidc.Attempt, error) { return p.Open(state[:30]) },
		"long":             func() (oidc.Attempt, error) { return p.Open(strings.Repeat("A", 5000)) },
		"of another":       func() (oidc.Attempt, error) { return q.Open(state) },
		"sealed elsewhere": func() (oidc.Attempt, error) { return stranger.Open(state) },
		"finished by other": func() (oidc.Attempt, error) {
			_, err := q.Finish(t.Context(), a, oidc.Callback{Code: "x"})
			return a, err
		},
		"of no attempt": func() (oidc.Attempt, error) {
			_, err := p.Finish(t.Context(), oidc.Attempt{Provider: "own", Expires: now.Add(time.Hour)}, oidc.Callback{Code: "x"})
			return a, err
		},
	} {
		if _, err := open(); err == nil || err.Error() != oidc.ErrState.Error() {
			t.Errorf("%s: got %v, want ErrState", name, err)
		}
	}
	if _, err := p.Open(state); err != nil {
		t.Errorf("Open = %v", err)
	}
	now = now.Add(oidc.Lifetime)
	if _, err := p.Open(state); !errors.Is(err, oidc.ErrState) {
		t.Errorf("Open after %s = %v, want ErrState", oidc.Lifetime, err)
	}
}

// refusedClaims are id_tokens that no attempt may accept.
func refusedClaims() map[string]struct {
	claims map[string]any
	want   string
} {
	type row = struct {
		claims map[string]any
		want   string
	}
	now := time.Now()
	return map[string]row{
		"nonce foreign":         {map[string]any{"nonce": "foreign"}, "nonce"},
		"nonce missing":         {map[string]any{"nonce": nil}, "nonce"},
		"issuer":                {map[string]any{"iss": "https://evil.example"}, "another issuer"},
		"issuer missing":        {map[string]any{"iss": nil}, "another issuer"},
		"audience":              {map[string]any{"aud": "other"}, "another client"},
		"audience missing":      {map[string]any{"aud": nil}, "another client"},
		"azp":                   {map[string]any{"azp": "other"}, "another client"},
		"azp missing":           {map[string]any{"aud": []string{"other", oidctest.ClientID}}, "another client"},
		"expired":               {map[string]any{"exp": now.Add(-time.Minute).Unix()}, "expired"},
		"expiry missing":        {map[string]any{"exp": nil}, "expired"},
		"not yet valid":         {map[string]any{"nbf": now.Add(time.Hour).Unix()}, "not valid yet"},
		"sub missing":           {map[string]any{"sub": nil}, "sub"},
		"sub empty":             {map[string]any{"sub": ""}, "sub"},
		"sub blank":             {map[string]any{"sub": "  "}, "sub"},
		"sub a number":          {map[string]any{"sub": 7}, "malformed"},
		"sub long":              {map[string]any{"sub": strings.Repeat("x", 256)}, "sub"},
		"sub ambiguous":         {map[string]any{"Sub": "victim", "sub": "person-1", "SUB": "victim"}, ""},
		"claims over 64 KiB":    {map[string]any{"x": strings.Repeat("x", 70<<10)}, "64 KiB"},
		"claims of 1 MiB":       {map[string]any{"x": strings.Repeat("x", 1<<20)}, "too large"},
		"expiry is not a time":  {map[string]any{"exp": "soon"}, "malformed"},
		"audience is an object": {map[string]any{"aud": map[string]any{}}, "malformed"},
	}
}

func TestRefusedClaims(t *testing.T) {
	t.Parallel()
	for name, tc := range refusedClaims() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			own.Claims = tc.claims
			p := provider(t, oidc.Options{}, config(own))
			a, err := signIn(t, p)
			if name == "sub ambiguous" && err == nil {
				if a.Subject == "victim" {
					t.Error("signed in as the victim")
				}
				return
			}
			refusal(t, err, oidc.ErrRefused, tc.want)
		})
	}
}

func TestRefusedSignatures(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	key := own.Key()
	stranger := oidctest.NewKey(t, key.ID, jose.RS256)
	public, err := (&jose.JSONWebKey{Key: key.Private.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		sign func(map[string]any) string
		want string
	}{
		"none": {func(c map[string]any) string {
			parts := strings.Split(key.SignWith(c), ".")
			return "eyJhbGciOiJub25lIiwia2lkIjoiZmlyc3QifQ." + parts[1] + "."
		}, "algorithm"},
		"HMAC with the public key": {func(c map[string]any) string { return oidctest.Sign(public, jose.HS256, key.ID, c) }, "algorithm"},
		"wrong key":                {stranger.SignWith, "signature"},
		"unknown key id":           {func(c map[string]any) string { return oidctest.Sign(key.Private, jose.RS256, "unknown", c) }, "signature"},
		"no key id":                {func(c map[string]any) string { return oidctest.Sign(key.Private, jose.RS256, "", c) }, "names no key"},
		"not announced":            {func(c map[string]any) string { return oidctest.Sign(key.Private, jose.PS256, key.ID, c) }, "algorithm"},
		"no token":                 {func(map[string]any) string { return "" }, "missing"},
		"no JWT":                   {func(map[string]any) string { return "hidden" }, "names no key"},
		"signature cut":            {func(c map[string]any) string { return strings.TrimRight(key.SignWith(c), "=")[:400] }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			own := oidctest.New(t)
			own.Use(key)
			own.Sign = tc.sign
			_, err := signIn(t, provider(t, oidc.Options{}, config(own)))
			refusal(t, err, oidc.ErrRefused, tc.want)
		})
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	p := provider(t, oidc.Options{}, config(own))
	to, first := start(t, p)
	code := visit(t, to).Get("code")
	_, second := start(t, p)

	// Another attempt's verifier does not redeem the code, and spends it.
	_, err := p.Finish(t.Context(), second, oidc.Callback{Code: code})
	refusal(t, err, oidc.ErrRefused, "invalid_grant")
	_, err = p.Finish(t.Context(), first, oidc.Callback{Code: code})
	refusal(t, err, oidc.ErrRefused, "invalid_grant")

	// A provider that looks at no verifier: the nonce is of the other attempt.
	own.Change(func(o *oidctest.Provider) { o.NoPKCE = true })
	to, _ = start(t, p)
	_, err = p.Finish(t.Context(), second, oidc.Callback{Code: visit(t, to).Get("code")})
	refusal(t, err, oidc.ErrRefused, "nonce")
	_, err = p.Finish(t.Context(), first, oidc.Callback{})
	refusal(t, err, oidc.ErrRefused, "no code")
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

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	p := provider(t, oidc.Options{}, config(own))
	for n, id := range []string{"first", "second", "second"} {
		if n == 1 {
			to, a := start(t, p)
			own.Use(oidctest.NewKey(t, id, jose.ES256)) // between start and callback
			if _, err := p.Finish(t.Context(), a, oidc.Callback{Code: visit(t, to).Get("code")}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := signIn(t, p); err != nil {
			t.Fatal(err)
		}
	}
	if keys, documents := own.Calls("/keys"), own.Calls("/.well-known/openid-configuration"); keys != 2 || documents != 1 {
		t.Errorf("keys read %d times, discovery %d times, want 2 and 1", keys, documents)
	}
}

func TestMixUp(t *testing.T) {
	t.Parallel()
	good, evil := oidctest.New(t), oidctest.New(t)
	good.Discovery = map[string]any{"authorization_response_iss_parameter_supported": true}
	other := config(evil)
	other.ID = "evil"
	c := newClient(t, oidc.Options{}, config(good), other)
	p, _ := c.Provider("own")
	q, _ := c.Provider("evil")
	to, a := start(t, p)
	back := visit(t, to)
	if _, err := q.Open(back.Get("state")); !errors.Is(err, oidc.ErrState) {
		t.Errorf("the other provider's callback opens the state: %v", err)
	}
	for _, issuer := range []string{"", evil.URL} {
		_, err := p.Finish(t.Context(), a, oidc.Callback{Code: back.Get("code"), Issuer: issuer})
		refusal(t, err, oidc.ErrRefused, "another issuer")
	}
	if good.Calls("/token")+evil.Calls("/token") != 0 {
		t.Error("a code of a mix-up was sent")
	}
	if _, err := p.Finish(t.Context(), a, oidc.Callback{Code: back.Get("code"), Issuer: good.URL}); err != nil {
		t.Error(err)
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	p := provider(t, oidc.Options{}, config(oidctest.New(t)))
	_, a := start(t, p)
	for said, want := range map[string]string{"access_denied": "access_denied", "<script>": "other"} {
		_, err := p.Finish(t.Context(), a, oidc.Callback{Error: said, ErrorDescription: strings.Repeat("x", 300)})
		var denied *oidc.Denied
		if !errors.As(err, &denied) || denied.Code != want || len(denied.Description) != 200 {
			t.Errorf("error=%s: got %v", said, err)
		}
	}
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestBrokenProvider(t *testing.T) {
	t.Parallel()
	never := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
	}
	large := says(200, `{"access_token":"`+strings.Repeat("x", 300<<10)+`"}`)
	const document, token, keys, userinfo = "/.well-known/openid-configuration", "/token", "/keys", "/userinfo"
	for name, tc := range map[string]struct {
		path   string
		handle http.HandlerFunc
		kind   error
		want   string
	}{
		"discovery never answers": {document, never, oidc.ErrUnavailable, "in time"},
		"discovery 500":           {document, says(500, "hidden"), oidc.ErrUnavailable, "answered 500"},
		"discovery redirects":     {document, redirect, oidc.ErrRefused, "redirects"},
		"discovery large":         {document, large, oidc.ErrRefused, "too large"},
		"discovery broken":        {document, says(200, `{"hidden`), oidc.ErrRefused, "not a discovery document"},
		"discovery other issuer":  {document, says(200, `{"issuer":"https://hidden.example"}`), oidc.ErrRefused, "another issuer"},
		"token never answers":     {token, never, oidc.ErrUnavailable, "in time"},
		"token 500":               {token, says(500, "hidden"), oidc.ErrUnavailable, "answered"},
		"token 400":               {token, says(400, `{"error":"hidden","error_description":"hidden"}`), oidc.ErrRefused, "an error"},
		"token redirects":         {token, redirect, oidc.ErrRefused, "redirects"},
		"token large":             {token, large, oidc.ErrRefused, "too large"},
		"token broken":            {token, says(200, `{"hidden`), oidc.ErrRefused, "not a token answer"},
		"token empty":             {token, says(200, `{}`), oidc.ErrRefused, "not a token answer"},
		"token without id_token":  {token, says(200, `{"access_token":"hidden"}`), oidc.ErrRefused, "is missing"},
		"keys 500":                {keys, says(500, "hidden"), oidc.ErrUnavailable, "keys"},
		"keys never answer":       {keys, never, oidc.ErrUnavailable, "keys"},
		"keys redirect":           {keys, redirect, oidc.ErrUnavailable, "keys"},
		"userinfo 500":            {userinfo, says(500, "hidden"), oidc.ErrUnavailable, "answered"},
		"userinfo never answers":  {userinfo, never, oidc.ErrUnavailable, "in time"},
		"userinfo redirects":      {userinfo, redirect, oidc.ErrRefused, "redirects"},
		"userinfo large":          {userinfo, large, oidc.ErrRefused, "too large"},
		"userinfo null":           {userinfo, says(200, `null`), oidc.ErrRefused, "sub"},
		"userinfo of another":     {userinfo, says(200, `{"sub":"person-2"}`), oidc.ErrRefused, "sub"},
		"userinfo without sub":    {userinfo, says(200, `{}`), oidc.ErrRefused, "sub"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			own.Handle = map[string]http.HandlerFunc{tc.path: tc.handle}
			c := config(own)
			if tc.path == userinfo {
				c.ClaimsSource = oidc.FromUserinfo
			}
			p := provider(t, oidc.Options{Timeout: 300 * time.Millisecond}, c)
			to, a, err := p.Start(t.Context(), request())
			if err == nil {
				_, err = p.Finish(t.Context(), a, oidc.Callback{Code: visit(t, to).Get("code")})
			}
			refusal(t, err, tc.kind, tc.want)
		})
	}
}

// A provider that is away stops neither the start nor, once it is back, anybody.
func TestProviderComesBack(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	const document = "/.well-known/openid-configuration"
	own.Handle = map[string]http.HandlerFunc{document: says(503, "")}
	now := time.Now()
	p := provider(t, oidc.Options{Now: func() time.Time { return now }}, config(own))
	for range 5 {
		_, _, err := p.Start(t.Context(), request())
		refusal(t, err, oidc.ErrUnavailable, "503")
	}
	if n := own.Calls(document); n != 1 {
		t.Errorf("asked %d times within a moment, want once", n)
	}
	own.Change(func(o *oidctest.Provider) { o.Handle = nil })
	now = now.Add(3 * time.Second)
	if _, err := signIn(t, p); err != nil {
		t.Error(err)
	}
}

func TestRunKeepsDiscoveryFresh(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	c := newClient(t, oidc.Options{}, config(own))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	p, _ := c.Provider("own")
	if _, err := signIn(t, p); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	_, _, err := provider(t, oidc.Options{DisallowPrivateIPRanges: true}, config(own)).Start(t.Context(), request())
	refusal(t, err, oidc.ErrUnavailable, "cannot be reached")
	if own.Calls("/.well-known/openid-configuration") != 0 {
		t.Error("the provider was called")
	}
}

func query(t *testing.T, text string) url.Values {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
