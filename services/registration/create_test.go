package registration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
)

// creator is a store made of a function.
type creator func(*identity.Identity, events.Event) error

func (c creator) CreateIdentity(_ context.Context, i *identity.Identity, e events.Event) error {
	return c(i, e)
}

func newCreator(f *fakes, store creator) *registration.Creator {
	return &registration.Creator{Store: store, Schemas: f, Passwords: f, Now: f.clock}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	plain := password.New("x") // against every policy, which is not asked
	for name, c := range map[string]struct {
		in         registration.Creation
		state      identity.State
		credential string // its config, "" for none
		verified   bool
	}{
		"without a password":       {state: identity.Active},
		"with a password":          {in: registration.Creation{Password: plain}, state: identity.Active, credential: phc(plain)},
		"with a hash":              {in: registration.Creation{HashedPassword: phc(password.New("y"))}, state: identity.Active, credential: phc(password.New("y"))},
		"inactive":                 {in: registration.Creation{State: identity.Inactive}, state: identity.Inactive},
		"with a verified address":  {in: registration.Creation{Verified: []string{"ANNA@example.org"}}, state: identity.Active, verified: true},
		"verified, but not theirs": {in: registration.Creation{Verified: []string{"ben@example.org", "no"}}, state: identity.Active},
	} {
		f := newFakes(t)
		c.in.SchemaID, c.in.Traits, c.in.Actor, c.in.RequestID = "person", json.RawMessage(goodTraits), "admin:ops", "http-1"
		c.in.MetadataAdmin = json.RawMessage(`{"source":"crm"}`)
		var event events.Event
		got, err := newCreator(f, func(_ *identity.Identity, e events.Event) error { event = e; return nil }).Create(t.Context(), c.in)
		if err != nil {
			t.Errorf("%s: Create: %v", name, err)
			continue
		}
		if got.State != c.state || string(got.Traits) != goodTraits || string(got.MetadataAdmin) != `{"source":"crm"}` {
			t.Errorf("%s: identity = %+v, want the imported one, %s", name, got, c.state)
		}
		if c.credential == "" && got.Credentials != nil {
			t.Errorf("%s: credentials = %+v, want none", name, got.Credentials)
		}
		if c.credential != "" {
			if config := string(got.Credentials[0].Config); config != fmt.Sprintf(`{"hashed_password":%q}`, c.credential) {
				t.Errorf("%s: credential = %s, want %s", name, config, c.credential)
			}
		}
		if a := got.Addresses[0]; a.Verified != c.verified || (a.Status == identity.AddressCompleted) != c.verified || a.VerifiedAt.IsZero() == c.verified {
			t.Errorf("%s: address = %+v, want verified: %t", name, a, c.verified)
		}
		payload, err := event.Encode()
		if err != nil {
			t.Fatal(err)
		}
		eventstest.Validate(t, payload)
		if event.Actor != "admin:ops" || event.Source != "/usher/admin" || event.RequestID != "http-1" || event.Sequence != "1" {
			t.Errorf("%s: event = %+v, want the first of the identity, by admin:ops", name, event)
		}
	}
}

func TestCreationThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in    registration.Creation
		store error
		hash  error
		form  map[string][]int64 // nil: want the error below
		want  error
	}{
		"no such schema":         {in: registration.Creation{SchemaID: "none", Traits: json.RawMessage(goodTraits)}, form: map[string][]int64{"": {4000001}}},
		"broken traits":          {in: registration.Creation{SchemaID: "person", Traits: json.RawMessage(`{"email":"no","name":{}}`)}, form: map[string][]int64{"traits.email": {4000040}}},
		"a password for nothing": {in: registration.Creation{SchemaID: "person", Traits: json.RawMessage(`{"name":{}}`), Password: password.New("x")}, form: map[string][]int64{"": {4000009}}},
		"no such hash":           {in: registration.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), HashedPassword: "$1$salt$hash"}, form: map[string][]int64{"": {4000001}}},
		"a taken identifier":     {in: registration.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits)}, store: identity.ErrExists, want: identity.ErrExists},
		"a full hash queue":      {in: registration.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Password: password.New("x")}, hash: password.ErrBusy, want: password.ErrBusy},
	} {
		f := newFakes(t)
		if c.hash != nil {
			f.hash = func() error { return c.hash }
		}
		got, err := newCreator(f, func(*identity.Identity, events.Event) error { return c.store }).Create(t.Context(), c.in)
		if got != nil || err == nil {
			t.Errorf("%s: Create = %+v, %v, want an error", name, got, err)
			continue
		}
		if c.form != nil {
			if got := messages(t, err); !sameMessages(got, c.form) {
				t.Errorf("%s: messages = %v, want %v", name, got, c.form)
			}
		} else if !errors.Is(err, c.want) {
			t.Errorf("%s: Create = %v, want %v", name, err, c.want)
		}
	}
}

func TestCreationIsAsOldAsItsBeginning(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.now = start.Add(123 * time.Nanosecond)
	in := registration.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Password: password.New("x")}
	got, err := newCreator(f, func(*identity.Identity, events.Event) error { return nil }).Create(t.Context(), in)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if !got.CreatedAt.Equal(start) || !got.Credentials[0].CreatedAt.Equal(start) {
		t.Errorf("identity is of %v, its credential of %v, want %v to the microsecond", got.CreatedAt, got.Credentials[0].CreatedAt, start)
	}
}

func TestCreationWithoutTraitsStoresAnEmptyObject(t *testing.T) {
	t.Parallel()
	for _, traits := range []string{"", "null", " null ", "{}"} {
		in := registration.Creation{SchemaID: "anything", Traits: json.RawMessage(traits)}
		got, err := newCreator(newFakes(t), func(*identity.Identity, events.Event) error { return nil }).Create(t.Context(), in)
		if err != nil || string(got.Traits) != "{}" {
			t.Errorf("Create with traits %q = %+v, %v, want traits {}", traits, got, err)
		}
	}
}
