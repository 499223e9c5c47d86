package admin_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// withAnna has an identity whose address is verified, which has a password.
func withAnna(t *testing.T) (*fakes, *identity.Identity) {
	t.Helper()
	f := newFakes(t)
	i, err := f.service().Create(t.Context(), admin.Creation{
		SchemaID: "person", Traits: json.RawMessage(`{ "email": "Anna@example.org", "name": {"first": "Anna"} }`),
		MetadataAdmin: json.RawMessage(`{"a": 1}`), Verified: []string{"anna@example.org"}, Password: password.New("x"), Author: by,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.events = nil
	f.now = start.Add(time.Hour)
	return f, i
}

// wants is a change of what is stored.
func wants(change func(w *admin.Wanted)) func(*identity.Identity) (admin.Wanted, error) {
	return func(i *identity.Identity) (admin.Wanted, error) {
		w := admin.Wanted{SchemaID: i.SchemaID, State: i.State, Traits: i.Traits, MetadataPublic: i.MetadataPublic, MetadataAdmin: i.MetadataAdmin}
		if change != nil {
			change(&w)
		}
		return w, nil
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	traits := func(text string) func(*admin.Wanted) {
		return func(w *admin.Wanted) { w.Traits = json.RawMessage(text) }
	}
	for name, c := range map[string]struct {
		want     func(*admin.Wanted)
		in       admin.Update
		changed  []string
		revoked  string // reason
		verified []string
		others   []string // addresses that are not verified
		ids      []string
	}{
		"nothing":        {verified: []string{"anna@example.org"}},
		"only spaces":    {want: traits(goodTraits), verified: []string{"anna@example.org"}},
		"empty is as is": {want: func(w *admin.Wanted) { w.SchemaID, w.State = "", "" }, verified: []string{"anna@example.org"}},
		"a name":         {want: traits(`{"email":"Anna@example.org","name":{"first":"Ann"}}`), changed: []string{"traits"}, verified: []string{"anna@example.org"}},
		"the same address, written otherwise": {
			want: traits(`{"email":"ANNA@example.org","name":{}}`), changed: []string{"traits"}, verified: []string{"anna@example.org"},
		},
		"another address": {
			want: traits(`{"email":"ben@example.org","name":{}}`), changed: []string{"traits", "credentials"}, others: []string{"ben@example.org"}, ids: []string{"ben@example.org"},
		},
		"one more address and a name to sign in with": {
			want:    traits(`{"email":"anna@example.org","other":"ben@example.org","username":"Anna","name":{}}`),
			changed: []string{"traits", "credentials"}, verified: []string{"anna@example.org"}, others: []string{"ben@example.org"}, ids: []string{"anna@example.org", "anna"},
		},
		"metadata": {
			want:    func(w *admin.Wanted) { w.MetadataPublic, w.MetadataAdmin = json.RawMessage(`{"b":2}`), nil },
			changed: []string{"metadata_public", "metadata_admin"}, verified: []string{"anna@example.org"},
		},
		"an external id": {
			want: func(w *admin.Wanted) { w.ExternalID = "crm-7" }, changed: []string{"external_id"}, verified: []string{"anna@example.org"},
		},
		"another schema": {
			want: func(w *admin.Wanted) { w.SchemaID, w.Traits = "anything", json.RawMessage(`{"any":1}`) }, changed: nil,
		},
		"inactive": {
			want:    func(w *admin.Wanted) { w.State = identity.Inactive },
			changed: []string{"state"}, revoked: "deactivated", verified: []string{"anna@example.org"},
		},
		"a new password": {in: admin.Update{Password: password.New("y")}, changed: []string{"credentials"}, revoked: "admin", verified: []string{"anna@example.org"}},
		"a new hash":     {in: admin.Update{HashedPassword: phc(password.New("z"))}, changed: []string{"credentials"}, revoked: "admin", verified: []string{"anna@example.org"}},
		"the same hash":  {in: admin.Update{HashedPassword: phc(password.New("x"))}, verified: []string{"anna@example.org"}},
		"inactive with a new password": {
			want: func(w *admin.Wanted) { w.State = identity.Inactive }, in: admin.Update{Password: password.New("y")},
			changed: []string{"state", "credentials"}, revoked: "deactivated", verified: []string{"anna@example.org"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, before := withAnna(t)
			c.in.ID, c.in.Want, c.in.Author = before.ID, wants(c.want), by
			got, err := f.service().Update(t.Context(), c.in)
			if name == "another schema" { // nothing there to sign in with: the password would be nobody's
				if m := messages(t, err); !sameMessages(m, map[string][]int64{"": {4000009}}) {
					t.Errorf("messages = %v, want 4000009", m)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkEvents(t, f, got.ID, c.changed, c.revoked)
			if raised := got.Epoch - before.Epoch; raised != int64(min(len(c.revoked), 1)) {
				t.Errorf("the epoch was raised by %d, sessions are revoked: %q", raised, c.revoked)
			}
			if len(c.changed) == 0 && (f.change != nil || !got.UpdatedAt.Equal(before.UpdatedAt) || string(got.Traits) != string(before.Traits)) {
				t.Errorf("nothing has changed, but %+v is stored", f.change)
			}
			checkAddresses(t, before, got, c.verified, c.others)
			if ids := got.Credentials[0].Identifiers; c.ids != nil && !slices.Equal(ids, c.ids) {
				t.Errorf("identifiers = %q, want %q", ids, c.ids)
			}
		})
	}
}

func checkEvents(t *testing.T, f *fakes, id uuid.UUID, changed []string, revoked string) {
	t.Helper()
	var want []string
	if changed != nil {
		want = []string{"identity.updated 1"}
	}
	if revoked != "" {
		want = append(want, "session.revoked 2", "session.revoked 3")
	}
	if got := f.said(); !slices.Equal(got, want) {
		t.Fatalf("events = %q, want %q", got, want)
	}
	for n, e := range f.events {
		if e.Actor != by.Actor || e.Source != "/usher/admin" || e.RequestID != by.RequestID || e.TraceParent != by.TraceParent || e.Subject != id.String() {
			t.Errorf("event = %+v, want one about %s by %+v", e, id, by)
		}
		var updated events.IdentityUpdated
		var ended events.SessionRevoked
		switch {
		case n == 0 && (json.Unmarshal(e.Data, &updated) != nil || !slices.Equal(updated.Changed, changed)):
			t.Errorf("changed = %q, want %q", updated.Changed, changed)
		case n > 0 && (json.Unmarshal(e.Data, &ended) != nil || ended.Reason != revoked || ended.SessionID != f.live[n-1].String()):
			t.Errorf("revoked = %+v, want reason %s", ended, revoked)
		}
	}
}

func checkAddresses(t *testing.T, before, after *identity.Identity, verified, others []string) {
	t.Helper()
	for _, a := range after.Addresses {
		kept := slices.ContainsFunc(before.Addresses, func(b identity.Address) bool { return b.ID == a.ID })
		switch {
		case slices.Contains(verified, a.Value) && (!kept || !a.Verified || a.Status != identity.AddressCompleted):
			t.Errorf("address = %+v, want the one that was there", a)
		case slices.Contains(others, a.Value) && (kept || a.Verified || a.Status != identity.AddressPending || a.ID == uuid.Nil):
			t.Errorf("address = %+v, want a new one that is pending", a)
		}
	}
	if len(after.Addresses) != len(verified)+len(others) {
		t.Errorf("addresses = %+v, want %q and %q", after.Addresses, verified, others)
	}
}

// An identity whose traits its schema has outgrown must still be stopped.
func TestUpdateOfTheStateAsksNoSchema(t *testing.T) {
	t.Parallel()
	f, i := withAnna(t)
	i.Traits, i.SchemaID = json.RawMessage(`{"outgrown":true}`), "gone"
	if _, err := f.service().Update(t.Context(), admin.Update{ID: i.ID, Author: by, Want: wants(func(w *admin.Wanted) { w.State = identity.Inactive })}); err != nil {
		t.Errorf("Update to inactive = %v, want no error", err)
	}
}

func TestUpdateGivesAFirstPassword(t *testing.T) {
	t.Parallel()
	f, i := withAnna(t)
	i.Credentials = nil
	got, err := f.service().Update(t.Context(), admin.Update{ID: i.ID, Author: by, Want: wants(nil), Password: password.New("y")})
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Credentials; len(c) != 1 || !slices.Equal(c[0].Identifiers, []string{"anna@example.org"}) || got.Addresses[0].ID != i.Addresses[0].ID {
		t.Errorf("credentials = %+v, want one for the address that was there", c)
	}
}

func TestUpdateThatCannotBe(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		change func(*fakes, *admin.Update)
		form   map[string][]int64
		want   error
	}{
		"nobody": {change: func(_ *fakes, u *admin.Update) { u.ID = uuid.New() }, want: identity.ErrNotFound},
		"what is wanted": {change: func(_ *fakes, u *admin.Update) {
			u.Want = func(*identity.Identity) (admin.Wanted, error) { return admin.Wanted{}, boom }
		}, want: boom},
		"a full queue": {change: func(f *fakes, u *admin.Update) {
			f.hash, u.Password = func() error { return password.ErrBusy }, password.New("y")
		}, want: password.ErrBusy},
		"no such hash":   {change: func(_ *fakes, u *admin.Update) { u.HashedPassword = "md5" }, form: map[string][]int64{"": {4000001}}},
		"no such schema": {change: func(_ *fakes, u *admin.Update) { u.Want = wants(func(w *admin.Wanted) { w.SchemaID = "none" }) }, form: map[string][]int64{"": {4000001}}},
		"broken traits": {change: func(_ *fakes, u *admin.Update) {
			u.Want = wants(func(w *admin.Wanted) { w.Traits = json.RawMessage(`{"email":"no","name":{}}`) })
		}, form: map[string][]int64{"traits.email": {4000040}}},
		"nothing to sign": {change: func(_ *fakes, u *admin.Update) {
			u.Want = wants(func(w *admin.Wanted) { w.Traits = json.RawMessage(`{"name":{}}`) })
		}, form: map[string][]int64{"": {4000009}}},
	} {
		f, i := withAnna(t)
		in := admin.Update{ID: i.ID, Want: wants(nil), Author: by}
		c.change(f, &in)
		got, err := f.service().Update(t.Context(), in)
		switch {
		case got != nil || err == nil || len(f.events) > 0:
			t.Errorf("%s: Update = %+v, %v, want an error and nothing stored", name, got, err)
		case c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: Update = %v, want %v", name, err, c.want)
		case c.want == nil && !sameMessages(messages(t, err), c.form):
			t.Errorf("%s: messages = %v, want %v", name, messages(t, err), c.form)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f, i := withAnna(t)
	if err := f.service().Delete(t.Context(), i.ID, by); err != nil {
		t.Fatal(err)
	}
	if got, want := f.said(), []string{"session.revoked 1", "session.revoked 2", "identity.deleted 3"}; !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
	if err := f.service().Delete(t.Context(), i.ID, by); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("Delete again = %v, want %v", err, identity.ErrNotFound)
	}
}

// Sessions end with what they were for, and no reason says more than happened.
func TestUpdateOfTheState(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to identity.State
		password password.Plain
		changed  []string
		revoked  string
	}{
		"stays":                   {from: identity.Active, to: identity.Active},
		"stays out":               {from: identity.Inactive, to: identity.Inactive},
		"goes":                    {from: identity.Active, to: identity.Inactive, changed: []string{"state"}, revoked: "deactivated"},
		"comes back":              {from: identity.Inactive, to: identity.Active, changed: []string{"state"}},
		"back with a new hash":    {from: identity.Inactive, to: identity.Active, password: password.New("y"), changed: []string{"state", "credentials"}, revoked: "admin"},
		"out with a new password": {from: identity.Inactive, to: identity.Inactive, password: password.New("y"), changed: []string{"credentials"}, revoked: "admin"},
	} {
		f, i := withAnna(t)
		i.State = c.from
		before := *i
		got, err := f.service().Update(t.Context(), admin.Update{
			ID: i.ID, Password: c.password, Author: by, Want: wants(func(w *admin.Wanted) { w.State = c.to }),
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkEvents(t, f, i.ID, c.changed, c.revoked)
		if raised := got.Epoch - before.Epoch; raised != int64(min(len(c.revoked), 1)) {
			t.Errorf("%s: the epoch was raised by %d, sessions are revoked: %q", name, raised, c.revoked)
		}
		want := before.StateChangedAt
		if c.from != c.to {
			want = f.now
		}
		if got.State != c.to || !got.StateChangedAt.Equal(want) {
			t.Errorf("%s: state = %s since %v, want %s since %v", name, got.State, got.StateChangedAt, c.to, want)
		}
	}
}

// That a number was proved says nothing of a mailbox of the same name.
func TestUpdateKeepsNoProofOfAnotherWay(t *testing.T) {
	t.Parallel()
	f, i := withAnna(t)
	i.Addresses[0].Via = "sms"
	got, err := f.service().Update(t.Context(), admin.Update{ID: i.ID, Author: by, Want: wants(func(w *admin.Wanted) {
		w.Traits = json.RawMessage(`{"email":"anna@example.org","name":{}}`)
	})})
	if err != nil {
		t.Fatal(err)
	}
	if a := got.Addresses[0]; a.Via != "email" || a.Verified || a.ID == i.Addresses[0].ID {
		t.Errorf("address = %+v, want a new one that is not verified", a)
	}
}
