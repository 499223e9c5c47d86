package oidc_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

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

	// Without the verifier of its attempt, a code is worth nothing either.
	unbound := config(own)
	unbound.PKCE = oidc.PKCENever
	to, _ = start(t, p)
	_, bare := start(t, provider(t, oidc.Options{}, unbound))
	_, err = p.Finish(t.Context(), bare, oidc.Callback{Code: visit(t, to).Get("code")})
	refusal(t, err, oidc.ErrRefused, "invalid_grant")

	// A provider that looks at no verifier: the nonce is of the other attempt.
	own.Change(func(o *oidctest.Provider) { o.NoPKCE = true })
	to, _ = start(t, p)
	_, err = p.Finish(t.Context(), second, oidc.Callback{Code: visit(t, to).Get("code")})
	refusal(t, err, oidc.ErrRefused, "nonce")
	_, err = p.Finish(t.Context(), first, oidc.Callback{})
	refusal(t, err, oidc.ErrRefused, "no code")
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
