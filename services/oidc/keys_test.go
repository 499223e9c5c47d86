package oidc_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

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

// A key that the provider withdrew opens nothing once the new ones are read.
func TestWithdrawnKey(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	old := own.Key()
	p := provider(t, oidc.Options{}, config(own))
	own.Use(oidctest.NewKey(t, "second", jose.ES256))
	if _, err := signIn(t, p); err != nil {
		t.Fatal(err)
	}
	own.Change(func(o *oidctest.Provider) { o.Sign = old.SignWith })
	_, err := signIn(t, p)
	refusal(t, err, oidc.ErrRefused, "does not publish")
}

// A key opens only what it was published for.
func TestKeyOfAnotherEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		use, algorithm string
		want           string // empty: it signs id_tokens
	}{
		"signs":             {"sig", "RS256", ""},
		"nothing is said":   {"", "", ""},
		"encrypts":          {"enc", "", "does not publish"},
		"another algorithm": {"sig", "RS512", "does not publish"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			other := oidctest.NewKey(t, "other", jose.ES256) // so that the set is not empty
			set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
				{Key: own.Key().Private.Public(), KeyID: own.Key().ID, Use: tc.use, Algorithm: tc.algorithm},
				{Key: other.Private.Public(), KeyID: other.ID, Use: "sig"},
			}}
			own.Handle = map[string]http.HandlerFunc{"/keys": says(200, encode(t, set))}
			_, err := signIn(t, provider(t, oidc.Options{}, config(own)))
			if tc.want != "" {
				refusal(t, err, oidc.ErrRefused, tc.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// While a provider is away, what is known of it stands for a day and no longer:
// it may have withdrawn a key.
func TestKnownForADay(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/keys": "keys: answered 503", "/.well-known/openid-configuration": "discovery: answered 503"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			now := time.Now()
			own.Claims = map[string]any{"exp": now.Add(48 * time.Hour).Unix()}
			p := provider(t, oidc.Options{Now: func() time.Time { return now }}, config(own))
			if _, err := signIn(t, p); err != nil {
				t.Fatal(err)
			}
			own.Change(func(o *oidctest.Provider) { o.Handle = map[string]http.HandlerFunc{path: says(503, "")} })
			now = now.Add(23 * time.Hour)
			if _, err := signIn(t, p); err != nil {
				t.Errorf("after 23 h: %v", err)
			}
			now = now.Add(time.Hour)
			to, a, err := p.Start(t.Context(), request())
			if err == nil {
				_, err = p.Finish(t.Context(), a, oidc.Callback{Code: visit(t, to).Get("code")})
			}
			refusal(t, err, oidc.ErrUnavailable, want)
		})
	}
}

// Tokens with unknown keys make nobody fetch keys for each of them, and a new
// key is known again after the pause.
func TestUnknownKeysAreBounded(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	var skip atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skip.Load())) }
	p := provider(t, oidc.Options{Now: now}, config(own))
	if _, err := signIn(t, p); err != nil {
		t.Fatal(err)
	}
	stranger := oidctest.NewKey(t, "unknown", jose.ES256)
	own.Change(func(o *oidctest.Provider) { o.Sign = stranger.SignWith })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := signIn(t, p); !errors.Is(err, oidc.ErrRefused) {
				t.Errorf("an unknown key: %v, want ErrRefused", err)
			}
		})
	}
	all.Wait()
	if n := own.Calls("/keys"); n != 2 {
		t.Errorf("keys read %d times for 50 tokens, want 2 in all", n)
	}
	own.Use(stranger)
	_, err := signIn(t, p)
	refusal(t, err, oidc.ErrRefused, "does not publish") // within the pause
	skip.Store(int64(6 * time.Second))
	if _, err := signIn(t, p); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if n := own.Calls("/keys"); n != 3 {
		t.Errorf("keys read %d times, want 3", n)
	}
}

// Nobody who signs in waits for discovery or keys: Run reads them, once.
func TestRunReadsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork()
		c := newClient(t, oidc.Options{Transport: network}, network.config())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		network.expect(t, 1)
		p, _ := c.Provider("own")
		for range 100 {
			_, a := start(t, p)
			_, err := p.Finish(t.Context(), a, oidc.Callback{Code: "code"})
			refusal(t, err, oidc.ErrRefused, "token") // whoever is asked there knows no code
		}
		network.expect(t, 1)
		time.Sleep(61 * time.Minute) // refreshed in the background
		synctest.Wait()
		network.expect(t, 2)
		network.down.Store(true)
		time.Sleep(2 * time.Hour)
		start(t, p) // what is known stands while the provider is away
		network.down.Store(false)
		before := network.documents.Load()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if network.documents.Load() == before {
			t.Error("a provider that is back was not asked within two minutes")
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// network is a provider without sockets, whose time is that of the test.
type network struct {
	documents, keys atomic.Int64
	down            atomic.Bool
	set             string
	token           string // empty: no code is known
}

func newNetwork() *network {
	key := jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(make([]byte, 32)).Public(), KeyID: "first", Use: "sig"}
	set, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	return &network{set: string(set)}
}

func (n *network) config() oidc.Config {
	return oidc.Config{ID: "own", Provider: oidc.Generic, ClientID: "id", IssuerURL: "https://provider.example", Mapper: mapper}
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	switch {
	case n.down.Load():
		says(503, "")(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		n.documents.Add(1)
		says(200, `{"issuer":"https://provider.example","authorization_endpoint":"https://provider.example/authorize",
			"token_endpoint":"https://provider.example/token","jwks_uri":"https://provider.example/keys",
			"id_token_signing_alg_values_supported":["RS256","ES256"]}`)(w, r)
	case r.URL.Path == "/keys":
		n.keys.Add(1)
		says(200, n.set)(w, r)
	case n.token != "":
		says(200, n.token)(w, r)
	default:
		says(400, `{"error":"invalid_grant"}`)(w, r)
	}
	return w.Result(), nil
}

func (n *network) expect(t *testing.T, times int64) {
	t.Helper()
	if documents, keys := n.documents.Load(), n.keys.Load(); documents != times || keys != times {
		t.Errorf("discovery was read %d times and keys %d times, want %d", documents, keys, times)
	}
}

func TestHundredSignInsReadKeysOnce(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	p := provider(t, oidc.Options{}, config(own))
	for range 100 {
		if _, err := signIn(t, p); err != nil {
			t.Fatal(err)
		}
	}
	if keys, documents := own.Calls("/keys"), own.Calls("/.well-known/openid-configuration"); keys != 1 || documents != 1 {
		t.Errorf("keys read %d times, discovery %d times, want once", keys, documents)
	}
}
