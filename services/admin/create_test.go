package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

var by = admin.Author{Actor: "admin:ops", RequestID: "http-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

func TestCreate(t *testing.T) {
	t.Parallel()
	plain := password.New("x") // against every policy, which is not asked
	for name, c := range map[string]struct {
		in         admin.Creation
		state      identity.State
		credential string // its config, "" for none
		verified   bool
	}{
		"without a password":        {state: identity.Active},
		"with a password":           {in: admin.Creation{Password: plain}, state: identity.Active, credential: phc(plain)},
		"with a hash":               {in: admin.Creation{HashedPassword: phc(password.New("y"))}, state: identity.Active, credential: phc(password.New("y"))},
		"inactive":                  {in: admin.Creation{State: identity.Inactive}, state: identity.Inactive},
		"with a verified address":   {in: admin.Creation{Verified: []string{"ANNA@example.org"}}, state: identity.Active, verified: true},
		"with its recovery address": {in: admin.Creation{Recovery: []string{"anna@EXAMPLE.org"}}, state: identity.Active},
	} {
		f := newFakes(t)
		c.in.SchemaID, c.in.Traits, c.in.Author = "person", json.RawMessage(goodTraits), by
		c.in.MetadataAdmin = json.RawMessage(`{"source":"crm"}`)
		got, err := f.service().Create(t.Context(), c.in)
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
		if event := f.events[0]; event.Actor != "admin:ops" || event.Source != "/usher/admin" || event.RequestID != "http-1" || event.Sequence != "1" {
			t.Errorf("%s: event = %+v, want the first of the identity, by admin:ops", name, event)
		}
	}
}

func TestCreationThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in    admin.Creation
		store error
		hash  error
		form  map[string][]int64 // nil: want the error below
		want  error
	}{
		"no such schema":                {in: admin.Creation{SchemaID: "none", Traits: json.RawMessage(goodTraits)}, form: map[string][]int64{"": {4000001}}},
		"broken traits":                 {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(`{"email":"no","name":{}}`)}, form: map[string][]int64{"traits.email": {4000040}}},
		"a password for nothing":        {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(`{"name":{}}`), Password: password.New("x")}, form: map[string][]int64{"": {4000009}}},
		"no such hash":                  {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), HashedPassword: "$1$salt$hash"}, form: map[string][]int64{"": {4000001}}},
		"a verified address of another": {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Verified: []string{"anna@example.org", "ben@example.org"}}, form: map[string][]int64{"": {4000001}}},
		"a verified one that is none":   {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Verified: []string{"no"}}, form: map[string][]int64{"": {4000001}}},
		"a recovery address of another": {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Recovery: []string{"ben@example.org"}}, form: map[string][]int64{"": {4000001}}},
		"a recovery address that is for something else": {
			in: admin.Creation{
				SchemaID: "person", Traits: json.RawMessage(`{"email":"anna@example.org","other":"ben@example.org","name":{}}`), Recovery: []string{"ben@example.org"},
			},
			form: map[string][]int64{"": {4000001}},
		},
		"a taken identifier": {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits)}, store: identity.ErrExists, want: identity.ErrExists},
		"a full hash queue":  {in: admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Password: password.New("x")}, hash: password.ErrBusy, want: password.ErrBusy},
	} {
		f := newFakes(t)
		if c.hash != nil {
			f.hash = func() error { return c.hash }
		}
		if c.store != nil {
			f.create = func() error { return c.store }
		}
		got, err := f.service().Create(t.Context(), c.in)
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
	in := admin.Creation{SchemaID: "person", Traits: json.RawMessage(goodTraits), Password: password.New("x"), Author: by}
	got, err := f.service().Create(t.Context(), in)
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
		in := admin.Creation{SchemaID: "anything", Traits: json.RawMessage(traits), Author: by}
		got, err := newFakes(t).service().Create(t.Context(), in)
		if err != nil || string(got.Traits) != "{}" {
			t.Errorf("Create with traits %q = %+v, %v, want traits {}", traits, got, err)
		}
	}
}
