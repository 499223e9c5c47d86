package identity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/identity"
)

var seven = identity.Account{Provider: "corp", Subject: "Seven:7", Issuer: "https://corp.example.org"}

// with is who signs in by a password and by accounts, of which config is stored.
func with(config string, identifiers ...string) *identity.Identity {
	return &identity.Identity{Credentials: []identity.Credential{
		{Type: identity.MethodPassword, Identifiers: []string{"corp:Seven:7"}},
		{Type: identity.MethodOIDC, Identifiers: identifiers, Config: json.RawMessage(config)},
	}}
}

func TestAccountOf(t *testing.T) {
	t.Parallel()
	a, ok := identity.AccountOf(seven.Identifier())
	if a.Issuer = seven.Issuer; !ok || a != seven {
		t.Errorf("AccountOf(%q) = %+v, %t, want %+v", seven.Identifier(), a, ok, seven)
	}
	if a, ok := identity.AccountOf("corp"); ok {
		t.Errorf("AccountOf(corp) = %+v, want none", a)
	}
}

func TestAccountCheck(t *testing.T) {
	t.Parallel()
	for a, good := range map[identity.Account]bool{
		seven:                            true,
		{Provider: "corp", Subject: "7"}: true,
		{Provider: "corp", Subject: strings.Repeat("7", 1020)}:              true,
		{Provider: "corp", Subject: strings.Repeat("7", 1021)}:              false,
		{Provider: "corp", Subject: "7", Issuer: strings.Repeat("x", 1020)}: false,
		{Subject: "7"}:                                             false,
		{Provider: "corp"}:                                         false,
		{Provider: "co:rp", Subject: "7"}:                          false,
		{Provider: "corp", Subject: "7\x00"}:                       false,
		{Provider: "corp", Subject: "7\xff"}:                       false,
		{Provider: "corp\n", Subject: "7"}:                         false,
		{Provider: "corp", Subject: "7", Issuer: "https://\u0085"}: false,
	} {
		if err := a.Check(); (err == nil) != good {
			t.Errorf("Check of %.60q = %v, want it taken: %t", a, err, good)
		}
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	stranger := seven
	stranger.Issuer = "https://new.example.org"
	const (
		imported = `{"providers":[{"subject":"Seven:7","provider":"corp","initial_id_token":"x","use_auto_link":true}]}`
		stored   = `{"providers":[{"provider":"other","subject":"Seven:7","issuer":"https://new.example.org"},{"provider":"corp","subject":"Seven:7","issuer":"https://corp.example.org"}]}`
	)
	for name, c := range map[string]struct {
		i       *identity.Identity
		account identity.Account
		want    error
	}{
		"theirs":                    {with(stored, "corp:Seven:7"), seven, nil},
		"another issuer's":          {with(stored, "corp:Seven:7"), stranger, identity.ErrOtherIssuer},
		"of who knows":              {with(stored, "corp:Seven:7"), identity.Account{Provider: "corp", Subject: "Seven:7"}, identity.ErrOtherIssuer},
		"stored without an issuer":  {with(imported, "corp:Seven:7"), stranger, nil},
		"stored with nothing":       {with("", "corp:Seven:7"), stranger, nil},
		"told of, and no more":      {with(stored, "other:Seven:7"), seven, identity.ErrNotFound},
		"a password's identifier":   {with(stored), seven, identity.ErrNotFound},
		"another subject":           {with(stored, "corp:Seven:8"), seven, identity.ErrNotFound},
		"nobody's":                  {&identity.Identity{}, seven, identity.ErrNotFound},
		"two entries, one is wrong": {with(`{"providers":[{"provider":"corp","subject":"Seven:7"},{"provider":"corp","subject":"Seven:7","issuer":"x"}]}`, "corp:Seven:7"), seven, identity.ErrOtherIssuer},
	} {
		if err := c.i.Holds(c.account); !errors.Is(err, c.want) {
			t.Errorf("%s: Holds = %v, want %v", name, err, c.want)
		}
	}
	for _, config := range []string{`{"providers":{}}`, `[]`, `{"providers":[{"issuer":7}]}`, `x`} {
		if err := with(config, "corp:Seven:7").Holds(seven); err == nil || errors.Is(err, identity.ErrNotFound) || errors.Is(err, identity.ErrOtherIssuer) {
			t.Errorf("Holds with the config %s = %v, want that it cannot be read", config, err)
		}
	}
}

// Identifiers and config change as one, and what they were made of stays as it was.
func TestAccountsComeAndGo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	eight := identity.Account{Provider: "other", Subject: "8", Issuer: "https://other.example.org"}
	i := &identity.Identity{Credentials: []identity.Credential{{Type: identity.MethodPassword}}}
	credential := func(ids []string, accounts ...identity.Account) identity.Credential {
		return identity.Credential{Type: identity.MethodOIDC, Identifiers: ids, Config: identity.OIDCConfig(accounts...), CreatedAt: now, UpdatedAt: now}
	}
	expect := func(what string, i *identity.Identity, err error, want ...identity.Credential) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want = append([]identity.Credential{{Type: identity.MethodPassword}}, want...)
		if diff := cmp.Diff(want, i.Credentials); diff != "" || !i.UpdatedAt.Equal(now) {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	one, err := i.WithAccount(seven, now)
	expect("first", one, err, credential([]string{"corp:Seven:7"}, seven))
	two, err := one.WithAccount(eight, now)
	both := credential([]string{"corp:Seven:7", "other:8"}, seven, eight)
	expect("second", two, err, both)
	if again, err := two.WithAccount(eight, now); again != nil || err != nil {
		t.Errorf("WithAccount of what is there = %+v, %v, want nothing", again, err)
	}
	left, err := two.WithoutAccounts("corp", now)
	expect("one gone", left, err, credential([]string{"other:8"}, eight))
	expect("its origin", two, nil, both)
	left, err = left.WithoutAccounts("other", now)
	expect("all gone", left, err)

	of := func(kind, identifier string) *identity.Identity {
		next, err := two.WithoutCredential(kind, identifier, now)
		if err != nil {
			t.Fatalf("WithoutCredential(%q, %q) = %v", kind, identifier, err)
		}
		return next
	}
	expect("one account gone", of(identity.MethodOIDC, "corp:Seven:7"), nil, credential([]string{"other:8"}, eight))
	if next := of(identity.MethodPassword, "corp:Seven:7"); len(next.Credentials) != 1 || next.Credentials[0].Type != identity.MethodOIDC {
		t.Errorf("without the password = %+v, want the accounts", next.Credentials)
	}
	for _, none := range [][2]string{{identity.MethodOIDC, ""}, {identity.MethodOIDC, "corp"}, {identity.MethodOIDC, "other:9"}, {"totp", ""}, {"", ""}} {
		if next := of(none[0], none[1]); next != nil {
			t.Errorf("WithoutCredential%q = %+v, want nothing", none, next.Credentials)
		}
	}
	expect("its origin", two, nil, both)
	last, err := one.WithoutCredential(identity.MethodOIDC, "corp:Seven:7", now)
	expect("the last account gone", last, err)

	stranger := seven
	stranger.Issuer = "https://new.example.org"
	if next, err := two.WithAccount(stranger, now); next != nil || !errors.Is(err, identity.ErrOtherIssuer) {
		t.Errorf("WithAccount of another issuer = %+v, %v, want %v", next, err, identity.ErrOtherIssuer)
	}
	stale := two.WithCredentials(now) // which tells of an account that is not there
	stale.Credential(identity.MethodOIDC).Identifiers = []string{"other:8"}
	next, err := stale.WithAccount(stranger, now)
	expect("in the place of a stale one", next, err, credential([]string{"other:8", "corp:Seven:7"}, eight, stranger))
	if next, err := with("[]", "other:8").WithAccount(seven, now); next != nil || err == nil {
		t.Errorf("WithAccount beside what cannot be read = %+v, %v, want an error", next, err)
	}
	if next, err := with("[]", "other:8").WithoutAccounts("other", now); next != nil || err == nil {
		t.Errorf("WithoutAccounts of what cannot be read = %+v, %v, want an error", next, err)
	}
}
