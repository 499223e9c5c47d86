package settings

import (
	"errors"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// Ways are what people can sign in with, as the server is configured: what an
// identity has besides is no way.
type Ways struct {
	Password  bool
	Providers []string // by id
}

// Linked gives the providers at which an identity has an account, each once.
func Linked(i *identity.Identity) (providers []string) {
	c := i.Credential(identity.MethodOIDC)
	if c == nil {
		return nil
	}
	for _, identifier := range c.Identifiers {
		if a, ok := identity.AccountOf(identifier); ok && !slices.Contains(providers, a.Provider) {
			providers = append(providers, a.Provider)
		}
	}
	return providers
}

// Removable gives those of [Linked] whose accounts can be removed: without them the
// identity has another way to sign in.
func (w Ways) Removable(i *identity.Identity) []string {
	return slices.DeleteFunc(Linked(i), func(p string) bool { return !w.remain(i, p) })
}

// SignIn tells whether an identity has one of the ways.
func (w Ways) SignIn(i *identity.Identity) bool { return w.remain(i, "") }

// remain tells whether an identity can sign in without its accounts at a provider.
func (w Ways) remain(i *identity.Identity, without string) bool {
	if c := i.Credential(identity.MethodPassword); w.Password && c != nil && len(c.Identifiers) > 0 {
		return true
	}
	return slices.ContainsFunc(Linked(i), func(p string) bool { return p != without && slices.Contains(w.Providers, p) })
}

// link is stored with one account more, nil if that is there.
func link(stored *identity.Identity, p flow.Provider, a identity.Account, now time.Time) (*identity.Identity, error) {
	next, err := stored.WithAccount(a, now)
	if errors.Is(err, identity.ErrOtherIssuer) || next != nil && slices.Contains(Linked(stored), p.ID) {
		return nil, invalid("", flow.Generic("Another account at "+p.Label+" is linked to yours. Unlink that one first."))
	}
	return next, err
}

// unlink is stored without its accounts at a provider.
func (w Ways) unlink(stored *identity.Identity, provider string, now time.Time) (*identity.Identity, error) {
	switch {
	case !slices.Contains(Linked(stored), provider):
		return nil, ErrNotLinked
	case !w.remain(stored, provider):
		return nil, invalid("", flow.LastWay())
	}
	return stored.WithoutAccounts(provider, now)
}
