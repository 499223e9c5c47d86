package e2e_test

import (
	"slices"
	"testing"

	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// When a provider's id stands for another issuer after a reload, who has a known
// subject there is a stranger; back at the former issuer all are who they were.
func TestSocialSignInAfterTheIssuerHasChanged(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			former, other := oidctest.New(t), oidctest.New(t)
			s := newSystem(t, shape, providerAt(former))
			owner, stranger := newAddress(), newAddress()
			enter := func(way, kind string, p *oidctest.Provider, address string) (*visitor, *answer) {
				v := s.visitor(way, 0).at(t)
				v.signIn = claiming(p, map[string]any{"sub": "7", "email": address, "email_verified": true})
				return v, v.visit(kind, example, "", nil)
			}
			v, a := enter(byPage, "registration", former, owner)
			id := v.in(a).Identity.ID

			s.reload(providerAt(other))
			for _, way := range ways {
				for _, kind := range []string{"login", "registration"} {
					v, a := enter(way, kind, other, stranger)
					if got, f := v.shown(a); got != kind || !slices.Equal(f.messages(), []int64{4000001}) {
						t.Errorf("%s, %s: led to a %s with the messages %v, want the %s with 4000001", way, kind, got, f.messages(), kind)
					}
				}
			}
			if got := s.identities(); len(got) != 1 {
				t.Errorf("%d identities are stored, want the owner's", len(got))
			}
			s.reload(providerAt(former))
			v, a = enter(byPage, "login", former, owner)
			if got := v.in(a).Identity.ID; got != id {
				t.Errorf("back at the former issuer: %s, want %s", got, id)
			}
		})
	}
}
