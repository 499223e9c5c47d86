package oidc_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

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

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func query(t testing.TB, text string) url.Values {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
