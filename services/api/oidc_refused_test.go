package api_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// misbehaving are providers whose word must not be taken, and what somebody in the
// middle could make of a callback. Each changes the provider, or the callback that
// it has led to.
var misbehaving = map[string]func(t *testing.T, p *oidctest.Provider, back *url.URL){
	"nonce foreign":        claims("nonce", "foreign"),
	"nonce missing":        claims("nonce", nil),
	"issuer foreign":       claims("iss", "https://evil.example"),
	"audience foreign":     claims("aud", "another client"),
	"audience of two":      claims("aud", []string{"another client", oidctest.ClientID}),
	"azp foreign":          claims("azp", "another client"),
	"expired":              claims("exp", time.Now().Add(-time.Hour).Unix()),
	"never expires":        claims("exp", nil),
	"not yet valid":        claims("nbf", time.Now().Add(time.Hour).Unix()),
	"issued in the future": claims("iat", time.Now().Add(time.Hour).Unix()),
	"subject missing":      claims("sub", nil),
	"subject empty":        claims("sub", ""),
	"claims of 1 MiB":      claims("x", strings.Repeat("x", 1<<20)),
	"alg none": signs(func(_ oidctest.Key, claims map[string]any) string {
		return unsigned(claims)
	}),
	"HMAC with the public key": signs(func(k oidctest.Key, claims map[string]any) string {
		public, err := json.Marshal(jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID})
		if err != nil {
			panic(err)
		}
		return oidctest.Sign(public, jose.HS256, k.ID, claims)
	}),
	"HMAC with the client's secret": signs(func(k oidctest.Key, claims map[string]any) string {
		return oidctest.Sign([]byte(strings.Repeat(oidctest.ClientSecret, 2)), jose.HS256, k.ID, claims)
	}),
	"unknown key id": signs(func(k oidctest.Key, claims map[string]any) string {
		return oidctest.Sign(k.Private, k.Algorithm, "unknown", claims)
	}),
	"no key id": signs(func(k oidctest.Key, claims map[string]any) string {
		return oidctest.Sign(k.Private, k.Algorithm, "", claims)
	}),
	"wrong key": func(t *testing.T, p *oidctest.Provider, _ *url.URL) {
		foreign := oidctest.NewKey(t, p.Key().ID, jose.RS256)
		p.Change(func(p *oidctest.Provider) { p.Sign = foreign.SignWith })
	},
	"no id_token":               answers("/token", http.StatusOK, `{"access_token":"a","token_type":"Bearer"}`),
	"token is HTML":             answers("/token", http.StatusOK, `<html>`),
	"token redirects elsewhere": redirects("/token"),
	"token fails":               answers("/token", http.StatusInternalServerError, ``),
	"code replayed": func(t *testing.T, p *oidctest.Provider, back *url.URL) {
		resp, err := http.PostForm(p.URL+"/token", url.Values{
			"client_id": {oidctest.ClientID}, "client_secret": {oidctest.ClientSecret}, "code": {back.Query().Get("code")},
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	},
	"code of another": func(_ *testing.T, _ *oidctest.Provider, back *url.URL) { setQuery(back, "code", "foreign") },
	"no code":         func(_ *testing.T, _ *oidctest.Provider, back *url.URL) { setQuery(back, "code", "") },
	"mix-up of issuers (RFC 9207)": func(_ *testing.T, _ *oidctest.Provider, back *url.URL) {
		setQuery(back, "iss", "https://evil.example")
	},
	"denied": func(_ *testing.T, _ *oidctest.Provider, back *url.URL) {
		setQuery(back, "code", "")
		setQuery(back, "error", "access_denied")
	},
	"provider is gone": func(_ *testing.T, p *oidctest.Provider, _ *url.URL) { p.Stop() },
}

// reasons are what the log says of each, so that none is refused for another one.
var reasons = map[string]string{
	"HMAC with the client's secret": "id_token: is malformed or signed with an algorithm that is refused",
	"HMAC with the public key":      "id_token: is malformed or signed with an algorithm that is refused",
	"alg none":                      "id_token: is malformed or signed with an algorithm that is refused",
	"audience foreign":              "id_token: was made for another client",
	"audience of two":               "id_token: was made for another client",
	"azp foreign":                   "id_token: was made for another client",
	"claims of 1 MiB":               "token: answer is too large",
	"code of another":               "token: answered invalid_grant",
	"code replayed":                 "token: answered invalid_grant",
	"denied":                        ": ",
	"expired":                       "id_token: is expired",
	"issued in the future":          "id_token: was issued in the future",
	"issuer foreign":                "id_token: was made by another issuer",
	"mix-up of issuers (RFC 9207)":  "callback: comes from another issuer",
	"never expires":                 "id_token: is expired",
	"no code":                       "callback: holds no code",
	"no id_token":                   "id_token: is missing",
	"no key id":                     "id_token: names no key",
	"nonce foreign":                 "id_token: nonce is not that of the attempt",
	"nonce missing":                 "id_token: nonce is not that of the attempt",
	"not yet valid":                 "id_token: is not valid yet",
	"provider is gone":              "token: cannot be reached: the connection is refused",
	"subject empty":                 "claims: sub is missing, empty or too long",
	"subject missing":               "id_token: sub or iss is missing or ambiguous",
	"token fails":                   "token: answered 500 Internal Server Error",
	"token is HTML":                 "token: not a token answer",
	"token redirects elsewhere":     "token: redirects are not followed",
	"unknown key id":                "id_token: is signed with a key that the provider does not publish",
	"wrong key":                     "id_token: signature is not the provider's",
}

func claims(name string, value any) func(*testing.T, *oidctest.Provider, *url.URL) {
	return func(_ *testing.T, p *oidctest.Provider, _ *url.URL) {
		p.Change(func(p *oidctest.Provider) {
			p.Claims = maps.Clone(p.Claims)
			p.Claims[name] = value
		})
	}
}

func signs(sign func(oidctest.Key, map[string]any) string) func(*testing.T, *oidctest.Provider, *url.URL) {
	return func(_ *testing.T, p *oidctest.Provider, _ *url.URL) {
		k := p.Key()
		p.Change(func(p *oidctest.Provider) {
			p.Sign = func(claims map[string]any) string { return sign(k, claims) }
		})
	}
}

func unsigned(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"first"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

func answers(path string, status int, body string) func(*testing.T, *oidctest.Provider, *url.URL) {
	return handles(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func redirects(path string) func(*testing.T, *oidctest.Provider, *url.URL) {
	return handles(path, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
	})
}

func handles(path string, h http.HandlerFunc) func(*testing.T, *oidctest.Provider, *url.URL) {
	return func(_ *testing.T, p *oidctest.Provider, _ *url.URL) {
		p.Change(func(p *oidctest.Provider) { p.Handle = map[string]http.HandlerFunc{path: h} })
	}
}

func setQuery(u *url.URL, name, value string) {
	q := u.Query()
	if q.Set(name, value); value == "" {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
}

// TestProviderIsNotBelieved: of each case a page, a script and an app get the
// contract's answer, which is the flow with 4000001, and nothing else comes of it.
func TestProviderIsNotBelieved(t *testing.T) {
	t.Parallel()
	for what, spoil := range misbehaving {
		for _, kind := range []string{routeRegistration, routeLogin} {
			t.Run(what+kind, func(t *testing.T) {
				t.Parallel()
				w, p := social(t)
				c, app := w.browser(), w.app()
				f := c.begin(kind)
				pageBack := parsed(t, visit(t, c.start(f, nil)))
				n := app.get(kind + "/api?return_session_token_exchange_code=true")
				appBack := parsed(t, visit(t, app.start(n.shown(t), nil)))
				for _, back := range []*url.URL{pageBack, appBack} {
					spoil(t, p, back)
				}

				g := c.get(pageBack.RequestURI(), "Accept", "text/html")
				if to := g.header.Get("Location"); g.status != http.StatusFound && g.status != http.StatusSeeOther || !strings.HasSuffix(to, "?flow="+f.ID) {
					t.Errorf("callback = %d to %s, want the flow", g.status, to)
				}
				if s := c.get(kind + "/flows?id=" + f.ID).shown(t); !slices.Equal(s.messages(), []int64{4000001}) {
					t.Errorf("messages %v, want 4000001", s.messages())
				}
				if g := c.get(pageBack.RequestURI(), "Accept", "application/json"); g.status != http.StatusBadRequest {
					t.Errorf("callback again = %d, want 400", g.status)
				}

				g = w.browser().get(appBack.RequestURI(), "Accept", "text/html")
				second := parsed(t, g.header.Get("Location")).Query().Get("code")
				g = app.get("/sessions/token-exchange?init_code=" + initCode(t, n) + "&return_to_code=" + second)
				if g.status != http.StatusUnprocessableEntity || !slices.Equal(g.shown(t).messages(), []int64{4000001}) {
					t.Errorf("exchange = %d %s, want 422 with 4000001", g.status, g.body)
				}

				w.mu.Lock()
				defer w.mu.Unlock()
				if len(w.identities) != 0 || len(w.sessions) != 0 || len(w.grants) != 0 {
					t.Errorf("%d identities, %d sessions and %d grants, want none", len(w.identities), len(w.sessions), len(w.grants))
				}
				if why := reasonIn(w.log.String()); why != reasons[what] {
					t.Errorf("refused since %q, want %q", why, reasons[what])
				}
				if log := w.log.String(); strings.Contains(log, oidctest.ClientSecret) || strings.Contains(log, "access-token") || strings.Contains(log, second) {
					t.Error("a secret is in the log")
				}
			})
		}
	}
}

// reasonIn is why a provider was not believed.
func reasonIn(log string) string {
	_, behind, _ := strings.Cut(log, `"step":"`)
	step, behind, _ := strings.Cut(behind, `"`)
	_, behind, _ = strings.Cut(behind, `"reason":"`)
	reason, _, _ := strings.Cut(behind, `"`)
	return step + ": " + reason
}

func initCode(t *testing.T, g got) string {
	t.Helper()
	var v struct {
		Code string `json:"session_token_exchange_code"`
	}
	if err := json.Unmarshal([]byte(g.body), &v); err != nil || v.Code == "" {
		t.Fatalf("no exchange code in %s", g.body)
	}
	return v.Code
}

// An address that the provider does not vouch for is stored as any other.
func TestUntrustedAddress(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*oidc.Config, *oidctest.Provider){
		"not authoritative":  func(c *oidc.Config, _ *oidctest.Provider) { c.AuthoritativeFor = []string{"example.net"} },
		"nobody's authority": func(c *oidc.Config, _ *oidctest.Provider) { c.AuthoritativeFor = nil },
		"not verified there": func(_ *oidc.Config, p *oidctest.Provider) { p.Claims["email_verified"] = false },
	} {
		w, p := social(t, func(c *oidc.Config) { change(c, &oidctest.Provider{Claims: map[string]any{}}) })
		p.Change(func(p *oidctest.Provider) { change(&oidc.Config{}, p) })
		c := w.browser()
		c.ended(c.through(c.browserFlow(), nil))
		if i := w.person("corp:7"); i == nil || i.Addresses[0].Verified {
			t.Errorf("%s: registered %+v, want an address that is not verified", what, i)
		}
	}
}
