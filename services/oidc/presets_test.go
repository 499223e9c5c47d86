package oidc_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// shownMapper shows what a mapper is given.
const shownMapper = `{identity: {traits: {}, metadata_admin: std.extVar('claims')}}`

// recorded answers by host and path, as a network.
type recorded map[string]http.HandlerFunc

func (r recorded) RoundTrip(q *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	handle, ok := r[q.URL.Host+q.URL.Path]
	if !ok {
		handle = http.NotFound
	}
	handle(w, q)
	return w.Result(), nil
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	user := `{"login":"octocat","id":583231,"name":"The Octocat","avatar_url":"https://avatars.githubusercontent.com/u/583231","email":"profile@a.example"}`
	for name, tc := range map[string]struct {
		user, emails string
		email        string
		vouched      int
		refused      string
	}{
		"verified":    {user, `[{"email":"x@a.example","primary":false,"verified":true},{"email":"octo@a.example","primary":true,"verified":true}]`, "octo@a.example", 1, ""},
		"unverified":  {user, `[{"email":"octo@a.example","primary":true,"verified":false}]`, "octo@a.example", 0, ""},
		"not primary": {user, `[{"email":"octo@a.example","primary":true,"verified":false},{"email":"x@a.example","primary":false,"verified":true}]`, "octo@a.example", 0, ""},
		"no address":  {user, `[]`, "", 0, ""},
		"no id":       {`{"login":"octocat"}`, `[]`, "", 0, "sub"},
		"broken":      {`{`, `[]`, "", 0, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network := recorded{
				"github.com/login/oauth/access_token": func(w http.ResponseWriter, r *http.Request) {
					if r.PostFormValue("client_secret") == "" || r.PostFormValue("code_verifier") == "" {
						t.Error("secret or verifier is missing")
					}
					w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
					_, _ = io.WriteString(w, "access_token=gho_16C7e42F&scope=read%3Auser%2Cuser%3Aemail&token_type=bearer")
				},
				"api.github.com/user":        says(200, tc.user),
				"api.github.com/user/emails": says(200, tc.emails),
			}
			p := provider(t, oidc.Options{Transport: network}, oidc.Config{
				ID: "github", Provider: oidc.GitHub, ClientID: "id", ClientSecret: "secret", Mapper: mapper, AuthoritativeFor: []string{"*"},
			})
			to, a := start(t, p)
			if !strings.HasPrefix(to, "https://github.com/login/oauth/authorize?") || strings.Contains(to, "nonce=") {
				t.Errorf("authorization URL is %s", to)
			}
			got, err := p.Finish(t.Context(), a, oidc.Callback{Code: "code"})
			if tc.refused != "" {
				refusal(t, err, oidc.ErrRefused, tc.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Identifier() != "github:583231" || !strings.Contains(string(got.Identity.Traits), tc.email) || len(got.Identity.VerifiedAddresses) != tc.vouched {
				t.Errorf("got %s, %s, %v", got.Identifier(), got.Identity.Traits, got.Identity.VerifiedAddresses)
			}
		})
	}
}

// A server of one's own, and a tenant of ghe.com, answer elsewhere; without the
// scope for addresses, nobody asks for them.
func TestGitHubElsewhere(t *testing.T) {
	t.Parallel()
	for authorize, api := range map[string]string{
		"https://github.com/login/oauth/authorize":          "api.github.com",
		"https://github.a.example/login/oauth/authorize":    "github.a.example/api/v3",
		"https://a.ghe.com/login/oauth/authorize":           "api.a.ghe.com",
		"https://a-ghe.com.b.example/login/oauth/authorize": "a-ghe.com.b.example/api/v3",
	} {
		host := strings.Split(authorize, "/")[2]
		network := recorded{
			host + "/login/oauth/access_token": says(200, `{"access_token":"gho_16C7e42F","scope":"read:user","token_type":"bearer"}`),
			api + "/user":                      says(200, `{"login":"octocat","id":583231,"name":null,"updated_at":"2026-01-01T00:00:00Z"}`),
		}
		p := provider(t, oidc.Options{Transport: network}, oidc.Config{
			ID: "github", Provider: oidc.GitHub, ClientID: "id", ClientSecret: "secret", Scope: []string{"read:user"},
			Mapper:  shownMapper,
			AuthURL: authorize, TokenURL: "https://" + host + "/login/oauth/access_token",
		})
		_, a := start(t, p)
		got, err := p.Finish(t.Context(), a, oidc.Callback{Code: "code"})
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		const want = `{"nickname":"octocat","preferred_username":"octocat","sub":"583231","updated_at":1767225600}`
		var claims bytes.Buffer
		if err := json.Compact(&claims, got.Identity.MetadataAdmin); err != nil || claims.String() != want || got.Issuer != "https://"+host {
			t.Errorf("%s: claims of %s are %s, want %s", host, got.Issuer, got.Identity.MetadataAdmin, want)
		}
	}
}

// GitLab's id_tokens hold an address and little else, so its claims are those of
// userinfo, of its own servers too.
func TestGitLab(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	own.Userinfo = map[string]any{"sub": "person-1", "name": "A", "nickname": "a", "email": "a@b.example", "email_verified": true, "groups": []string{"g"}}
	c := config(own)
	c.Provider, c.Mapper = oidc.GitLab, shownMapper
	a, err := signIn(t, provider(t, oidc.Options{}, c))
	if err != nil {
		t.Fatal(err)
	}
	if a.Issuer != own.URL || !strings.Contains(string(a.Identity.MetadataAdmin), `"nickname"`) {
		t.Errorf("claims of %s are %s", a.Issuer, a.Identity.MetadataAdmin)
	}
}

// keysOf answers with the keys of a provider.
func keysOf(t *testing.T, p *oidctest.Provider) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		resp, err := http.Get(p.URL + "/keys") //nolint:noctx // on loopback, in a test
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	}
}

// Google writes its name in two ways: an account is of the same issuer by both.
func TestGoogle(t *testing.T) {
	t.Parallel()
	const host, issuer = "accounts.google.com", "https://accounts.google.com"
	for _, iss := range []string{issuer, host} {
		key := oidctest.New(t)
		var nonce string
		sign := key.Key().SignWith
		p := provider(t, oidc.Options{Transport: recorded{
			host + "/.well-known/openid-configuration": says(200, `{"issuer":"`+issuer+`",
				"authorization_endpoint":"`+issuer+`/auth","token_endpoint":"`+issuer+`/token","jwks_uri":"`+issuer+`/keys"}`),
			host + "/keys": keysOf(t, key),
			host + "/token": func(w http.ResponseWriter, _ *http.Request) {
				claims := map[string]any{"iss": iss, "sub": "g", "aud": "id", "exp": 4102444800, "nonce": nonce}
				says(200, `{"access_token":"x","id_token":"`+sign(claims)+`"}`)(w, nil)
			},
		}}, oidc.Config{ID: "google", Provider: oidc.Google, ClientID: "id", ClientSecret: "secret", Mapper: mapper})
		to, a := start(t, p)
		nonce = query(t, to).Get("nonce")
		got, err := p.Finish(t.Context(), a, oidc.Callback{Code: "code"})
		if want := (identity.Account{Provider: "google", Subject: "g", Issuer: issuer}); err != nil || got.Account != want {
			t.Errorf("iss %s: %+v, %v, want %+v", iss, got, err, want)
		}
	}
}

func TestMicrosoft(t *testing.T) {
	t.Parallel()
	const tenant, other = "9188040d-6c67-4c5b-b112-36a304b66dad", "11111111-2222-3333-4444-555555555555"
	issuer := func(id string) string { return "https://login.microsoftonline.com/" + id + "/v2.0" }
	for name, tc := range map[string]struct {
		tenant, announced string
		claims            map[string]any
		vouched           int
		refused           string
	}{
		"many tenants":        {"common", "{tenantid}", map[string]any{"iss": issuer(other), "tid": other}, 0, ""},
		"owner vouches":       {"common", "{tenantid}", map[string]any{"iss": issuer(other), "tid": other, "xms_edov": true}, 1, ""},
		"says it itself":      {"common", "{tenantid}", map[string]any{"iss": issuer(other), "tid": other, "email_verified": true}, 0, ""},
		"tenant of another":   {"common", "{tenantid}", map[string]any{"iss": issuer(other), "tid": tenant}, 0, "another issuer"},
		"no tenant":           {"common", "{tenantid}", map[string]any{"iss": issuer(other)}, 0, "another issuer"},
		"tenant is a path":    {"common", "{tenantid}", map[string]any{"iss": issuer("a/b"), "tid": "a/b"}, 0, "another issuer"},
		"one tenant":          {tenant, tenant, map[string]any{"iss": issuer(tenant), "tid": tenant}, 0, ""},
		"not the one":         {tenant, tenant, map[string]any{"iss": issuer(other), "tid": other}, 0, "another issuer"},
		"domain":              {"a.example", tenant, map[string]any{"iss": issuer(tenant), "tid": tenant}, 0, ""},
		"announces other":     {tenant, other, nil, 0, "another issuer"},
		"announces a pattern": {tenant, "{tenantid}", nil, 0, "another issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := oidctest.New(t)
			var nonce string
			sign := key.Key().SignWith
			host := "login.microsoftonline.com"
			network := recorded{
				host + "/" + tc.tenant + "/v2.0/.well-known/openid-configuration": says(200, `{"issuer":"`+issuer(tc.announced)+`",
					"authorization_endpoint":"https://`+host+`/authorize","token_endpoint":"https://`+host+`/token","jwks_uri":"https://`+host+`/keys"}`),
				host + "/keys": keysOf(t, key),
				host + "/token": func(w http.ResponseWriter, _ *http.Request) {
					claims := map[string]any{"sub": "m", "aud": "id", "exp": 4102444800, "nonce": nonce, "email": "a@b.example"}
					for name, v := range tc.claims {
						claims[name] = v
					}
					says(200, `{"access_token":"x","id_token":"`+sign(claims)+`"}`)(w, nil)
				},
			}
			p := provider(t, oidc.Options{Transport: network}, oidc.Config{
				ID: "ms", Provider: oidc.Microsoft, ClientID: "id", ClientSecret: "secret", Mapper: mapper,
				MicrosoftTenant: tc.tenant, AuthoritativeFor: []string{"*"},
			})
			to, a, err := p.Start(t.Context(), request())
			var got *oidc.Account
			if err == nil {
				nonce = query(t, to).Get("nonce")
				got, err = p.Finish(t.Context(), a, oidc.Callback{Code: "code"})
			}
			if tc.refused != "" {
				refusal(t, err, oidc.ErrRefused, tc.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Issuer != tc.claims["iss"] || len(got.Identity.VerifiedAddresses) != tc.vouched {
				t.Errorf("issuer %s, addresses %v", got.Issuer, got.Identity.VerifiedAddresses)
			}
		})
	}
}

func TestWhoseWordVerifies(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		authoritative []string
		claims        map[string]any
		want          int
	}{
		"nobody's":        {nil, map[string]any{"email": "a@b.example", "email_verified": true}, 0},
		"the domain's":    {[]string{"B.example"}, map[string]any{"email": "a@b.example", "email_verified": true}, 1},
		"another domain":  {[]string{"b.example"}, map[string]any{"email": "a@b.example.evil.example", "email_verified": true}, 0},
		"a subdomain":     {[]string{"b.example"}, map[string]any{"email": "a@x.b.example", "email_verified": true}, 0},
		"all":             {[]string{"*"}, map[string]any{"email": "a@b.example", "email_verified": true}, 1},
		"a string's":      {[]string{"*"}, map[string]any{"email": "a@b.example", "email_verified": "true"}, 1},
		"unverified":      {[]string{"*", "b.example"}, map[string]any{"email": "a@b.example", "email_verified": false}, 0},
		"nothing is said": {[]string{"b.example"}, map[string]any{"email": "a@b.example"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			own.Claims = tc.claims
			c := config(own)
			c.AuthoritativeFor = tc.authoritative
			a, err := signIn(t, provider(t, oidc.Options{}, c))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(a.Identity.VerifiedAddresses); got != tc.want {
				t.Errorf("%d addresses are verified, want %d", got, tc.want)
			}
		})
	}
}

func TestMapperFails(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`{}`:                       "no identity",
		`{identity: {traits: []}}`: "not an object",
		"\nerror 'hidden'":         "error in line 2",
		`local f(n) = f(n + 1); {identity: {traits: {a: f(0)}}}`: "mapper",
	} {
		c := config(oidctest.New(t))
		c.Mapper = source
		_, err := signIn(t, provider(t, oidc.Options{}, c))
		refusal(t, err, oidc.ErrMapper, want)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	sealer, err := oidc.NewSealer([]byte("a secret of the tests' own"))
	if err != nil {
		t.Fatal(err)
	}
	good := oidc.Config{ID: "own", Provider: oidc.Google, ClientID: "id", ClientSecret: "hidden-secret", Mapper: mapper}
	if _, err := oidc.New(oidc.Options{Sealer: sealer, Providers: []oidc.Config{good}}); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*oidc.Config){
		"id must be":         func(c *oidc.Config) { c.ID = "a:b" },
		"is unknown":         func(c *oidc.Config) { c.Provider = "facebook" },
		"client_id":          func(c *oidc.Config) { c.ClientID = "" },
		"issuer_url is":      func(c *oidc.Config) { c.Provider = oidc.Generic },
		"issuer_url must":    func(c *oidc.Config) { c.IssuerURL = "http://issuer.example" },
		"token_url must":     func(c *oidc.Config) { c.TokenURL = "https://hidden-secret@issuer.example" },
		"microsoft_tenant":   func(c *oidc.Config) { c.Provider, c.MicrosoftTenant = oidc.Microsoft, "a/b" },
		"pkce":               func(c *oidc.Config) { c.PKCE = "always" },
		"claims_source":      func(c *oidc.Config) { c.ClaimsSource = "me" },
		"requested_claims":   func(c *oidc.Config) { c.RequestedClaims = []byte("{") },
		"upstream parameter": func(c *oidc.Config) { c.UpstreamParameters = []string{"redirect_uri"} },
		"import":             func(c *oidc.Config) { c.Mapper = "import 'x'" },
	} {
		c := good
		change(&c)
		_, err := oidc.New(oidc.Options{Sealer: sealer, Providers: []oidc.Config{c}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden-secret") {
			t.Errorf("New = %v, want an error with %q", err, want)
		}
	}
	if _, err := oidc.New(oidc.Options{Sealer: sealer, Providers: []oidc.Config{good, good}}); err == nil {
		t.Error("two providers of one id are accepted")
	}
}
