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
		t.Run(name, func(t *testing.T) {
			if _, err := open(); err == nil || err.Error() != oidc.ErrState.Error() {
				t.Errorf("got %v, want ErrState", err)
			}
		})
	}
	if _, err := p.Open(state); err != nil {
		t.Errorf("Open = %v", err)
	}
	now = now.Add(oidc.Lifetime)
	if _, err := p.Open(state); !errors.Is(err, oidc.ErrState) {
		t.Errorf("Open after %s = %v, want ErrState", oidc.Lifetime, err)
	}
	// Who opened it in time still has to finish in time.
	if _, err := p.Finish(t.Context(), a, oidc.Callback{Code: "x"}); !errors.Is(err, oidc.ErrState) {
		t.Errorf("Finish after %s = %v, want ErrState", oidc.Lifetime, err)
	}
	if own.Calls("/token") != 0 {
		t.Error("a code was sent for an attempt that is none")
	}
}

// Nobody makes the server open as much as a request may hold.
func TestLongState(t *testing.T) {
	t.Parallel()
	p := provider(t, oidc.Options{}, config(oidctest.New(t)))
	for length, want := range map[int]error{2000: nil, 4000: oidc.ErrState} {
		r := request()
		r.Flow = strings.Repeat("x", length)
		to, _, err := p.Start(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		state := query(t, to).Get("state")
		if _, err := p.Open(state); !errors.Is(err, want) {
			t.Errorf("Open of %d bytes = %v, want %v", len(state), err, want)
		}
	}
}

// A code is worth something once, and only with the attempt that it was made for.
func TestReplay(t *testing.T) {
	t.Parallel()
	own, lax := oidctest.New(t), oidctest.New(t)
	lax.NoPKCE = true
	bare := config(own)
	bare.PKCE = oidc.PKCENever
	bound, unbound, unchecked := provider(t, oidc.Options{}, config(own)), provider(t, oidc.Options{}, bare), provider(t, oidc.Options{}, config(lax))
	// attempts begins two at p, and gives the code of the first.
	attempts := func(t *testing.T, p, other *oidc.Provider) (first, second oidc.Attempt, code string) {
		t.Helper()
		to, first := start(t, p)
		_, second = start(t, other)
		return first, second, visit(t, to).Get("code")
	}
	for name, tc := range map[string]struct {
		finish func(*testing.T) error
		want   string
	}{
		"code twice": {func(t *testing.T) error {
			first, _, code := attempts(t, bound, bound)
			if _, err := bound.Finish(t.Context(), first, oidc.Callback{Code: code}); err != nil {
				t.Error(err)
			}
			_, err := bound.Finish(t.Context(), first, oidc.Callback{Code: code})
			return err
		}, "invalid_grant"},
		"verifier of another attempt": {func(t *testing.T) error {
			_, second, code := attempts(t, bound, bound)
			_, err := bound.Finish(t.Context(), second, oidc.Callback{Code: code})
			return err
		}, "invalid_grant"},
		"no verifier": {func(t *testing.T) error {
			_, second, code := attempts(t, bound, unbound)
			_, err := bound.Finish(t.Context(), second, oidc.Callback{Code: code})
			return err
		}, "invalid_grant"},
		"nonce of another attempt": {func(t *testing.T) error {
			_, second, code := attempts(t, unchecked, unchecked)
			_, err := unchecked.Finish(t.Context(), second, oidc.Callback{Code: code})
			return err
		}, "nonce"},
		"code of nobody": {func(t *testing.T) error {
			first, _, _ := attempts(t, bound, bound)
			_, err := bound.Finish(t.Context(), first, oidc.Callback{Code: "code"})
			return err
		}, "invalid_grant"},
		"no code": {func(t *testing.T) error {
			first, _, _ := attempts(t, bound, bound)
			_, err := bound.Finish(t.Context(), first, oidc.Callback{})
			return err
		}, "no code"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusal(t, tc.finish(t), oidc.ErrRefused, tc.want)
		})
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

// A provider that does not announce iss may name itself, and nobody else.
func TestMixUpUnannounced(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	p := provider(t, oidc.Options{}, config(own))
	to, a := start(t, p)
	code := visit(t, to).Get("code")
	_, err := p.Finish(t.Context(), a, oidc.Callback{Code: code, Issuer: "https://evil.example"})
	refusal(t, err, oidc.ErrRefused, "another issuer")
	if own.Calls("/token") != 0 {
		t.Error("a code of a mix-up was sent")
	}
	if _, err := p.Finish(t.Context(), a, oidc.Callback{Code: code, Issuer: own.URL}); err != nil {
		t.Error(err)
	}
}
