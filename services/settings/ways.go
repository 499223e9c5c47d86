package settings

import (
	"slices"
	"strings"
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
		if p, _, ok := strings.Cut(identifier, ":"); ok && !slices.Contains(providers, p) {
			providers = append(providers, p)
		}
	}
	return providers
}

// Removable gives those of [Linked] whose accounts can be removed: without them the
// identity has another way to sign in.
func (w Ways) Removable(i *identity.Identity) []string {
	return slices.DeleteFunc(Linked(i), func(p string) bool { return !w.remain(i, p) })
}

// remain tells whether an identity can sign in without its accounts at a provider.
func (w Ways) remain(i *identity.Identity, without string) bool {
	if c := i.Credential(identity.MethodPassword); w.Password && c != nil && len(c.Identifiers) > 0 {
		return true
	}
	return slices.ContainsFunc(Linked(i), func(p string) bool { return p != without && slices.Contains(w.Providers, p) })
}

// link is stored with one identifier more, nil if that is there.
func link(stored *identity.Identity, p flow.Provider, identifier string, now time.Time) (*identity.Identity, error) {
	next := stored.WithIdentifier(identity.MethodOIDC, identifier, now)
	if next != nil && slices.Contains(Linked(stored), p.ID) {
		return nil, invalid(flow.Generic("Another account at " + p.Label + " is linked to yours. Unlink that one first."))
	}
	return next, nil
}

// unlink is stored without its accounts at a provider.
func (w Ways) unlink(stored *identity.Identity, provider string, now time.Time) (*identity.Identity, error) {
	switch {
	case !slices.Contains(Linked(stored), provider):
		return nil, ErrNotLinked
	case !w.remain(stored, provider):
		return nil, invalid(flow.LastWay())
	}
	next := stored.WithCredentials(now)
	c := next.Credential(identity.MethodOIDC)
	c.UpdatedAt = now
	c.Identifiers = slices.DeleteFunc(slices.Clone(c.Identifiers), func(identifier string) bool { return strings.HasPrefix(identifier, provider+":") })
	if len(c.Identifiers) == 0 {
		next.Credentials = slices.DeleteFunc(next.Credentials, func(c identity.Credential) bool { return c.Type == identity.MethodOIDC })
	}
	return next, nil
}
