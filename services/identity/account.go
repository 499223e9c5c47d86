package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrOtherIssuer says that an account was stored when its provider stood for
// another issuer: who has this subject now may be another person.
var ErrOtherIssuer = errors.New("identity: account of another issuer")

// Account is who somebody is at an identity provider.
type Account struct {
	Provider string `json:"provider"` // its id in the configuration
	Subject  string `json:"subject"`
	// Issuer is whom the provider stood for when it named the subject. It is empty
	// for an account that was stored without, which is believed of any issuer.
	Issuer string `json:"issuer,omitempty"`
}

// maxAccount is how many bytes an account may have.
const maxAccount = 1024

// Check says what is wrong with an account that is to be stored, nil if nothing is. The
// error does not quote it.
func (a Account) Check() error {
	switch {
	case a.Provider == "" || a.Subject == "" || strings.Contains(a.Provider, ":"):
		return errors.New("an account needs a provider, which holds no colon, and a subject")
	case len(a.Provider)+len(a.Subject)+len(a.Issuer) > maxAccount:
		return fmt.Errorf("an account must not have more than %d bytes", maxAccount)
	}
	for _, text := range []string{a.Provider, a.Subject, a.Issuer} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return errors.New("an account must not hold control characters")
		}
	}
	return nil
}

// Identifier is that of the account's credential, "<provider>:<subject>": unique
// over all identities.
func (a Account) Identifier() string { return a.Provider + ":" + a.Subject }

// Proven tells whether a says all that a provider proves.
func (a Account) Proven() bool { return a.Provider != "" && a.Subject != "" && a.Issuer != "" }

// AccountOf is what an identifier says of its account, all but the issuer; false
// if it is none of an account.
func AccountOf(identifier string) (Account, bool) {
	provider, subject, ok := strings.Cut(identifier, ":")
	return Account{Provider: provider, Subject: subject}, ok
}

// oidcConfig is the config of a credential of the type oidc.
type oidcConfig struct {
	Providers []Account `json:"providers"`
}

// OIDCConfig is the config of a credential whose identifiers are those of the
// accounts: {"providers": [{"provider": …, "subject": …, "issuer": …}]}.
func OIDCConfig(accounts ...Account) json.RawMessage {
	config, err := json.Marshal(oidcConfig{accounts})
	if err != nil {
		panic(err) // no text is no JSON
	}
	return config
}

// Holds gives nil if an account is i's, [ErrNotFound] if it is not, and
// [ErrOtherIssuer] if i has the one that another issuer has named so.
func (i *Identity) Holds(a Account) error {
	c := i.Credential(MethodOIDC)
	if c == nil || !slices.Contains(c.Identifiers, a.Identifier()) {
		return ErrNotFound
	}
	others, err := c.configured(func(k Account) bool {
		return k.Identifier() == a.Identifier() && k.Issuer != "" && k.Issuer != a.Issuer
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", i.ID, err)
	case len(others) > 0:
		return ErrOtherIssuer
	}
	return nil
}

// WithAccount gives a copy of i with an account more, nil if i holds it already, or
// [ErrOtherIssuer] as [Identity.Holds] does. Of a config no more is kept than the
// accounts.
func (i *Identity) WithAccount(a Account, now time.Time) (*Identity, error) {
	if err := i.Holds(a); !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	next := i.WithCredentials(now)
	if next.Credential(MethodOIDC) == nil {
		next.Credentials = append(next.Credentials, Credential{Type: MethodOIDC, CreatedAt: now})
	}
	c := next.Credential(MethodOIDC)
	// What a config tells of an account that no identifier names is of nobody.
	accounts, err := c.configured(func(k Account) bool { return k.Identifier() != a.Identifier() })
	if err != nil {
		return nil, err
	}
	c.Identifiers, c.Config, c.UpdatedAt = append(slices.Clone(c.Identifiers), a.Identifier()), OIDCConfig(append(accounts, a)...), now
	return next, nil
}

// WithoutAccounts gives a copy of i without its accounts at a provider, and without
// the credential if it has no others.
func (i *Identity) WithoutAccounts(provider string, now time.Time) (*Identity, error) {
	return i.withoutAccounts(now, func(identifier string) bool {
		a, ok := AccountOf(identifier)
		return ok && a.Provider == provider
	})
}

// WithoutCredential gives a copy of i without its credential of a type, of [MethodOIDC]
// without the account with the identifier only; nil if i has none such.
func (i *Identity) WithoutCredential(kind, identifier string, now time.Time) (*Identity, error) {
	c := i.Credential(kind)
	if c == nil || kind == MethodOIDC && !slices.Contains(c.Identifiers, identifier) {
		return nil, nil
	}
	if kind == MethodOIDC {
		return i.withoutAccounts(now, func(other string) bool { return other == identifier })
	}
	next := i.WithCredentials(now)
	next.Credentials = slices.DeleteFunc(next.Credentials, func(c Credential) bool { return c.Type == kind })
	return next, nil
}

func (i *Identity) withoutAccounts(now time.Time, gone func(identifier string) bool) (*Identity, error) {
	next := i.WithCredentials(now)
	c := next.Credential(MethodOIDC)
	if c == nil {
		return next, nil
	}
	accounts, err := c.configured(func(k Account) bool { return !gone(k.Identifier()) })
	if err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(slices.Clone(c.Identifiers), gone)
	c.Identifiers, c.Config, c.UpdatedAt = left, OIDCConfig(accounts...), now
	if len(left) == 0 {
		next.Credentials = slices.DeleteFunc(next.Credentials, func(c Credential) bool { return c.Type == MethodOIDC })
	}
	return next, nil
}

// configured gives the accounts of a credential's config that is tells true of.
func (c *Credential) configured(is func(Account) bool) ([]Account, error) {
	var config oidcConfig
	if len(c.Config) > 0 && json.Unmarshal(c.Config, &config) != nil { // the error may quote it
		return nil, errors.New("stored accounts at providers are not the JSON of such")
	}
	return slices.DeleteFunc(config.Providers, func(a Account) bool { return !is(a) }), nil
}
