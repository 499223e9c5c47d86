package settings_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/webhook"
)

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fakes are a store of one person, and all that a change asks besides.
type fakes struct {
	anna     *identity.Identity
	current  *session.Session // as it is stored
	stored   []events.Event
	due      []webhook.Due
	kept     uuid.UUID
	outcomes []settings.Outcome
	broken   error
	flows    map[uuid.UUID]*flow.Flow
	plan     hook.SettingsPlan
	hashing  error
	hashes   int
	called   []*webhook.Call
	calling  error
	// overtake is what another change does before the next is decided under the lock.
	overtake func(*identity.Identity)
	commits  int
}

func (f *fakes) ChangeIdentity(_ context.Context, id, by uuid.UUID, decide func(*identity.Identity, *session.Session) (*settings.Change, error)) error {
	if id != f.anna.ID || by != f.current.ID {
		panic("another's identity or session")
	}
	if f.overtake != nil {
		next := *f.anna
		next.Credentials = slices.Clone(f.anna.Credentials)
		f.overtake(&next)
		f.anna, f.overtake = &next, nil
	}
	before, _ := json.Marshal(f.anna)
	c, err := decide(f.anna, f.current)
	if after, _ := json.Marshal(f.anna); string(before) != string(after) {
		panic("what is stored was changed: " + string(after))
	}
	if c == nil || err != nil {
		return err
	}
	if f.broken != nil {
		return f.broken
	}
	f.commits++
	f.stored = append(append(f.stored, c.Updated(7)), c.Requested...)
	if c.Revoked != nil {
		f.stored = append(f.stored, c.Revoked(uuid.New(), 8))
	}
	f.anna, f.due, f.kept = c.Identity, append(f.due, c.Due...), c.Kept
	if f.kept == f.current.ID {
		f.current.Epoch = f.anna.Epoch
	}
	return nil
}

func (f *fakes) Identity(context.Context, uuid.UUID) (*identity.Identity, error) { return f.anna, nil }

func (f *fakes) CreateFlow(_ context.Context, created *flow.Flow) error {
	f.flows[created.ID] = created
	return nil
}

func (f *fakes) Flow(_ context.Context, id uuid.UUID) (*flow.Flow, error) {
	if found := f.flows[id]; found != nil {
		return found, nil
	}
	return nil, flow.ErrNotFound
}

// newFakes is Anna with a password, if it has identifiers, and accounts at providers.
func newFakes(password []string, accounts ...string) *fakes {
	f := &fakes{anna: &identity.Identity{ID: uuid.New(), State: identity.Active, Epoch: 3}, flows: map[uuid.UUID]*flow.Flow{}}
	f.current = &session.Session{ID: uuid.New(), IdentityID: f.anna.ID, Epoch: f.anna.Epoch, ExpiresAt: start.Add(time.Hour)}
	if password != nil {
		f.anna.Credentials = append(f.anna.Credentials, identity.Credential{Type: identity.MethodPassword, Identifiers: password})
	}
	if accounts != nil {
		f.anna.Credentials = append(f.anna.Credentials, identity.Credential{Type: identity.MethodOIDC, Identifiers: accounts, Config: stored(accounts)})
	}
	return f
}

// at is an account of the issuer that its provider stands for.
func at(identifier string) identity.Account {
	a, _ := identity.AccountOf(identifier)
	a.Issuer = "https://" + a.Provider + ".example.org"
	return a
}

// stored is what is stored of accounts.
func stored(identifiers []string) json.RawMessage {
	var accounts []identity.Account
	for _, identifier := range identifiers {
		accounts = append(accounts, at(identifier))
	}
	return identity.OIDCConfig(accounts...)
}

func (f *fakes) service() *settings.Service {
	return &settings.Service{
		Store: f, Schemas: schemas{}, Policy: password.Policy{Similarity: true}, Passwords: f, Hooks: f, Verification: f,
		Plan: func(string) hook.SettingsPlan { return f.plan },
		Now:  func() time.Time { return start }, Observe: func(o settings.Outcome) { f.outcomes = append(f.outcomes, o) },
	}
}

func (f *fakes) submit(provider string) settings.Submit {
	current := *f.current
	return settings.Submit{
		Flow:     &flow.Flow{ID: uuid.New(), Kind: flow.Settings, Type: flow.Browser, IssuedAt: start.Add(-time.Minute)},
		Session:  &current,
		Fresh:    true,
		Provider: flow.Provider{ID: provider, Label: "Corp & Sons"},
		Client:   flow.Client{RequestID: "http-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
}

var (
	here     = []string{"anna@example.org"}
	anything = settings.Ways{Password: true, Providers: []string{"corp", "corporate", "other"}}
)

// said is the message that an error shows, 0 if it shows none.
func said(err error) int64 {
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		return 0
	}
	return invalid.Form.Messages[""][0].ID
}

func TestLink(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fakes  *fakes
		broken error
		want   []string
		said   int64
		result string
	}{
		"first":             {newFakes(here), nil, []string{"corp:7"}, 0, settings.OK},
		"second":            {newFakes(here, "other:1"), nil, []string{"other:1", "corp:7"}, 0, settings.OK},
		"a similar name":    {newFakes(here, "corporate:7"), nil, []string{"corporate:7", "corp:7"}, 0, settings.OK},
		"linked already":    {newFakes(here, "corp:7"), nil, []string{"corp:7"}, 0, settings.Unchanged},
		"another one there": {newFakes(here, "corp:8"), nil, []string{"corp:8"}, 4000001, settings.Invalid},
		"somebody else's":   {newFakes(here), identity.ErrExists, nil, 4000027, settings.Invalid},
		"database is down":  {newFakes(here), errors.New("down"), nil, 0, settings.Broken},
		"she is gone":       {newFakes(here), identity.ErrNotFound, nil, 0, settings.Denied},
	} {
		f := c.fakes
		f.broken = c.broken
		err := f.service().Link(t.Context(), f.submit("corp"), at("corp:7"))
		if said(err) != c.said || c.broken != nil && !errors.Is(err, c.broken) || (err == nil) != (c.said == 0 && c.broken == nil) {
			t.Errorf("%s: Link = %v, want message %d and %v", name, err, c.said, c.broken)
		}
		var got []string
		if credential := f.anna.Credential(identity.MethodOIDC); credential != nil {
			got = credential.Identifiers
			if string(credential.Config) != string(stored(got)) {
				t.Errorf("%s: config = %s, want that of %q", name, credential.Config, got)
			}
		}
		if !slices.Equal(got, c.want) || !slices.Equal(f.outcomes, []settings.Outcome{{Change: "link", Result: c.result}}) {
			t.Errorf("%s: accounts %q, outcomes %v, want %q, %s", name, got, f.outcomes, c.want, c.result)
		}
		if (len(f.stored) == 1) != (c.result == settings.OK) {
			t.Errorf("%s: events %v", name, f.stored)
		}
	}
}

// The same subject of another issuer is another account: it takes nobody's place.
func TestLinkOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	f := newFakes(here, "other:1", "corp:7")
	before := f.anna
	theirs := at("corp:7")
	theirs.Issuer = "https://new.example.org"
	if err := f.service().Link(t.Context(), f.submit("corp"), theirs); said(err) != 4000001 || f.anna != before {
		t.Errorf("Link = %v, Anna has %+v, want message 4000001 and Anna as before", err, f.anna.Credentials)
	}
	if err := f.service().Unlink(t.Context(), f.submit("corp"), anything); err != nil { // she is who she was
		t.Fatal(err)
	}
	if err := f.service().Link(t.Context(), f.submit("corp"), theirs); err != nil {
		t.Fatal(err)
	}
	if got, want := string(f.anna.Credential(identity.MethodOIDC).Config), string(identity.OIDCConfig(at("other:1"), theirs)); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func TestUnlink(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fakes  *fakes
		ways   settings.Ways
		want   []string
		said   int64
		err    error
		result string
	}{
		"beside a password":           {newFakes(here, "corp:7"), anything, nil, 0, nil, settings.OK},
		"beside another":              {newFakes(nil, "corp:7", "other:1"), anything, []string{"other:1"}, 0, nil, settings.OK},
		"several there":               {newFakes(here, "corp:7", "corp:8", "corporate:1"), anything, []string{"corporate:1"}, 0, nil, settings.OK},
		"the last way":                {newFakes(nil, "corp:7"), anything, []string{"corp:7"}, 4000001, nil, settings.Invalid},
		"several of the last":         {newFakes(nil, "corp:7", "corp:8"), anything, []string{"corp:7", "corp:8"}, 4000001, nil, settings.Invalid},
		"password without identifier": {newFakes([]string{}, "corp:7"), anything, []string{"corp:7"}, 4000001, nil, settings.Invalid},
		"passwords are off":           {newFakes(here, "corp:7"), settings.Ways{Providers: anything.Providers}, []string{"corp:7"}, 4000001, nil, settings.Invalid},
		"the other is not configured": {newFakes(nil, "corp:7", "gone:1"), anything, []string{"corp:7", "gone:1"}, 4000001, nil, settings.Invalid},
		"not linked":                  {newFakes(here, "other:1"), anything, []string{"other:1"}, 0, settings.ErrNotLinked, settings.Unchanged},
		"no account anywhere":         {newFakes(here), anything, nil, 0, settings.ErrNotLinked, settings.Unchanged},
	} {
		f := c.fakes
		err := f.service().Unlink(t.Context(), f.submit("corp"), c.ways)
		if said(err) != c.said || c.err != nil && !errors.Is(err, c.err) || (err == nil) != (c.said == 0 && c.err == nil) {
			t.Errorf("%s: Unlink = %v, want message %d and %v", name, err, c.said, c.err)
		}
		var got []string
		if credential := f.anna.Credential(identity.MethodOIDC); credential != nil {
			got = credential.Identifiers
			if string(credential.Config) != string(stored(got)) {
				t.Errorf("%s: config = %s, want that of %q", name, credential.Config, got)
			}
		}
		if !slices.Equal(got, c.want) || !slices.Equal(f.outcomes, []settings.Outcome{{Change: "unlink", Result: c.result}}) {
			t.Errorf("%s: accounts %q, outcomes %v, want %q, %s", name, got, f.outcomes, c.want, c.result)
		}
	}
}

// What a person is offered to remove is what they could.
func TestRemovable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fakes *fakes
		ways  settings.Ways
		want  []string
	}{
		{newFakes(here, "corp:7", "corp:8", "gone:1"), anything, []string{"corp", "gone"}},
		{newFakes(nil, "corp:7"), anything, nil},
		{newFakes(nil, "corp:7", "gone:1"), anything, []string{"gone"}},
		{newFakes(here), anything, nil},
	} {
		got := c.ways.Removable(c.fakes.anna)
		if !slices.Equal(got, c.want) {
			t.Errorf("Removable = %q, want %q", got, c.want)
		}
		for _, p := range settings.Linked(c.fakes.anna) {
			f := *c.fakes
			if err := f.service().Unlink(t.Context(), f.submit(p), c.ways); (err == nil) != slices.Contains(got, p) {
				t.Errorf("Unlink of %s = %v, but what can be removed is %q", p, err, got)
			}
		}
	}
}

func TestEvent(t *testing.T) {
	t.Parallel()
	f := newFakes(here)
	in := f.submit("corp")
	if err := f.service().Link(t.Context(), in, at("corp:7")); err != nil {
		t.Fatal(err)
	}
	person := f.anna.ID.String()
	want := events.Event{
		SpecVersion: "1.0", Source: "/usher/settings", Type: "identity.updated", Subject: person, Sequence: "7", DataContentType: "application/json",
		DataSchema: "urn:usher:event:identity.updated:1", RequestID: "http-1", Actor: "person:" + person, TraceParent: in.Client.TraceParent, Time: start,
		Data: json.RawMessage(`{"identity_id":"` + person + `","changed":["credentials"]}`),
	}
	if diff := cmp.Diff(want, f.stored[0], cmpopts.IgnoreFields(events.Event{}, "ID")); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	payload, err := f.stored[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
}

// A session that was valid when the edge looked need not be it when the change is
// made.
func TestWhoIsNotSignedInAnyMoreChangesNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(f *fakes){
		"deactivated": func(f *fakes) { f.anna.State = identity.Inactive },
		"recovered":   func(f *fakes) { f.anna.Epoch++ },
		"logged out":  func(f *fakes) { f.current.Revoked = true },
		"over":        func(f *fakes) { f.current.ExpiresAt = start },
	} {
		f := newPerson(`{"email":"anna@example.org","name":"Anna"}`, oldPassword)
		f.anna.Credentials = append(f.anna.Credentials, newFakes(nil, "corp:7").anna.Credentials...)
		in := f.submit("corp")
		change(f)
		_, profile := f.service().Profile(t.Context(), in, json.RawMessage(`{"email":"anna@example.org","name":"Ann"}`))
		_, set := f.service().SetPassword(t.Context(), in, password.New(newPassword))
		for what, err := range map[string]error{
			"Link":        f.service().Link(t.Context(), in, at("corp:7")),
			"Unlink":      f.service().Unlink(t.Context(), in, anything),
			"Profile":     profile,
			"SetPassword": set,
		} {
			if !errors.Is(err, session.ErrIdentityInactive) || len(f.stored) > 0 {
				t.Errorf("%s: %s = %v, %d events, want %v and none", name, what, err, len(f.stored), session.ErrIdentityInactive)
			}
		}
	}
}

// Nothing is linked that the provider has not proven.
func TestLinkOfAnotherProvidersAccount(t *testing.T) {
	t.Parallel()
	for _, identifier := range []string{"other:7", "corp", "corp:", "corporate:7", ""} {
		f := newFakes(here)
		if err := f.service().Link(t.Context(), f.submit("corp"), at(identifier)); err == nil || len(f.stored) > 0 {
			t.Errorf("Link of %q = %v, want an error", identifier, err)
		}
	}
}
