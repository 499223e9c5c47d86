package admin_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
)

// With a way to sign in go all sessions; the last way stays, and what nobody could sign
// in with does not.
func TestRemoveCredential(t *testing.T) {
	t.Parallel()
	either := func(i *identity.Identity) bool { return len(i.Credentials) > 0 }
	accountsOnly := func(i *identity.Identity) bool { return i.Credential(identity.MethodOIDC) != nil }
	for name, c := range map[string]struct {
		accounts         bool
		kind, identifier string
		signsIn          func(*identity.Identity) bool
		left             int // credentials
		want             error
	}{
		"password beside accounts":              {accounts: true, kind: "password", signsIn: either, left: 1},
		"password beside accounts, with a name": {accounts: true, kind: "password", identifier: "x", signsIn: either, left: 1},
		"the last account beside a password":    {accounts: true, kind: "oidc", identifier: "corp:7", signsIn: either, left: 1},
		"the last way":                          {kind: "password", signsIn: either, left: 1, want: admin.ErrLastWay},
		"the last that is configured":           {accounts: true, kind: "oidc", identifier: "corp:7", signsIn: accountsOnly, left: 2, want: admin.ErrLastWay},
		"what nobody signs in with":             {kind: "password", signsIn: accountsOnly, left: 0},
		"another's account":                     {accounts: true, kind: "oidc", identifier: "corp:8", signsIn: either, left: 2, want: admin.ErrNoCredential},
		"no account":                            {kind: "oidc", identifier: "corp:7", signsIn: either, left: 1, want: admin.ErrNoCredential},
		"another kind":                          {kind: "totp", signsIn: either, left: 1, want: admin.ErrNoCredential},
	} {
		f, i := withAnna(t)
		if c.accounts {
			next, err := i.WithAccount(identity.Account{Provider: "corp", Subject: "7", Issuer: "https://corp.example"}, start)
			if err != nil {
				t.Fatal(err)
			}
			f.stored = next
		}
		epoch := f.stored.Epoch
		err := f.service().RemoveCredential(t.Context(), admin.Removal{ID: i.ID, Type: c.kind, Identifier: c.identifier, SignsIn: c.signsIn, Author: by})
		if !errors.Is(err, c.want) || len(f.stored.Credentials) != c.left {
			t.Errorf("%s: RemoveCredential = %v, %d are left, want %v, %d", name, err, len(f.stored.Credentials), c.want, c.left)
		}
		if c.want != nil {
			checkEvents(t, f, i.ID, nil, "")
			continue
		}
		checkEvents(t, f, i.ID, []string{"credentials"}, "admin")
		if f.stored.Epoch != epoch+1 || !f.stored.UpdatedAt.Equal(f.now) {
			t.Errorf("%s: epoch %d since %v, want the next one", name, f.stored.Epoch, f.stored.UpdatedAt)
		}
	}
	f, _ := withAnna(t)
	if err := f.service().RemoveCredential(t.Context(), admin.Removal{ID: uuid.New(), Type: "password", SignsIn: either, Author: by}); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("RemoveCredential of nobody = %v, want %v", err, identity.ErrNotFound)
	}
}
