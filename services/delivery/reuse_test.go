package delivery_test

import (
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// Every credential is remembered with its name in the commit that made it, of
// hooks in the table and of those in the file.
func TestNamesAreRememberedWithTheirCredentials(t *testing.T) {
	t.Parallel()
	o := newOffice()
	now := monday
	o.declarations.Now = func() time.Time { return now }
	o.declarations.Fixed = func() map[string]delivery.Hook {
		return map[string]delivery.Hook{"file": {Name: "file", Kind: delivery.Worker, InFile: true}}
	}
	reused := crm()
	reused.ReuseName = true
	if _, _, err := o.declarations.Create(t.Context(), reused, boss); err != nil {
		t.Fatal(err)
	}
	if h := o.hooks["crm"]; !h.CredentialUntil.Equal(o.expires) || h.CredentialUntil.Before(monday) || !h.ReuseName {
		t.Errorf("created %+v, want a credential until %s, and the name to be had again", h, o.expires)
	}
	now = now.Add(time.Hour)
	if _, _, err := o.declarations.Rotate(t.Context(), "crm", boss); err != nil {
		t.Fatal(err)
	}
	if h := o.hooks["crm"]; !h.CredentialUntil.Equal(o.expires) || !o.expires.Equal(now.Add(90*24*time.Hour)) {
		t.Errorf("rotated %+v, want a credential until %s, 90 days from now", h, o.expires)
	}
	if _, _, err := o.declarations.Rotate(t.Context(), "file", boss); err != nil {
		t.Fatal(err)
	}
	if want := []string{"file " + o.expires.Format(time.DateOnly)}; !slices.Equal(o.minted, want) {
		t.Errorf("names of the file: %q, want %q", o.minted, want)
	}
	o.wantActed(t, "hook.create", "hook.rotate", "hook.rotate")
}
