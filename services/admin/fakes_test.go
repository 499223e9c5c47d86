package admin_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
)

const personSchema = `{
  "type": "object",
  "properties": {
    "traits": {
      "type": "object",
      "properties": {
        "email": {"type": "string", "format": "email", "ory.sh/kratos": {
          "credentials": {"password": {"identifier": true}}, "verification": {"via": "email"}, "recovery": {"via": "email"}}},
        "other": {"type": "string", "format": "email", "ory.sh/kratos": {"verification": {"via": "email"}}},
        "username": {"type": "string", "ory.sh/kratos": {"credentials": {"password": {"identifier": true}}}},
        "name": {"type": "object", "properties": {"first": {"type": "string", "maxLength": 10}}}
      },
      "required": ["name"],
      "additionalProperties": false
    }
  }
}`

const anythingSchema = `{"type": "object", "properties": {"traits": {"type": "object"}}}`

const goodTraits = `{"email":"Anna@example.org","name":{"first":"Anna"}}`

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// fakes are all that a [admin.Service] needs: a store of one identity and a
// ledger of one session.
type fakes struct {
	t       *testing.T
	now     time.Time
	schemas map[string]*identity.Schema
	stored  *identity.Identity
	session *session.Session
	change  *identity.Change // the last one
	events  []events.Event
	live    []uuid.UUID // sessions that a revocation hits
	until   time.Time

	hash, create, extend func() error

	slow        time.Duration // of a hash
	taken       string        // an address that somebody has
	racers      []string      // and those that somebody gets meanwhile
	seen        bool          // by who looks once more
	unavailable error
	breaksAt    int // the commit that cannot be made
	commits     int
	batch       []*identity.Identity // in the order of the commits
}

func newFakes(t *testing.T) *fakes {
	t.Helper()
	f := &fakes{t: t, now: start, schemas: map[string]*identity.Schema{}, live: []uuid.UUID{uuid.New(), uuid.New()}}
	for id, document := range map[string]string{"person": personSchema, "anything": anythingSchema} {
		s, err := identity.Compile(id, []byte(document))
		if err != nil {
			t.Fatal(err)
		}
		f.schemas[id] = s
	}
	return f
}

func (f *fakes) service() *admin.Service {
	return &admin.Service{Maker: admin.Maker{Schemas: f, Passwords: f, Now: func() time.Time { return f.now }}, Store: f, Batches: f, Sessions: f, Lifespan: time.Hour}
}

func (f *fakes) Schema(id string) (*identity.Schema, bool) {
	s, ok := f.schemas[id]
	return s, ok
}

func (f *fakes) Hash(_ context.Context, p password.Plain) (string, error) {
	f.now = f.now.Add(f.slow)
	if f.hash != nil {
		return "", f.hash()
	}
	return phc(p), nil
}

// phc is the hash of a password, made in no time; it has the form of bcrypt's.
func phc(p password.Plain) string {
	sum := sha256.Sum256([]byte(p.Reveal()))
	return "$2a$12$" + hex.EncodeToString(sum[:])[:53]
}

func (f *fakes) CreateIdentity(_ context.Context, i *identity.Identity, e events.Event) error {
	if f.create != nil {
		return f.create()
	}
	f.stored = i
	f.append(e)
	return nil
}

func (f *fakes) Taken(_ context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error) {
	taken := map[uuid.UUID]bool{}
	for _, i := range all {
		taken[i.ID] = i.Addresses[0].Value == f.taken || f.seen && f.commits > 0 && slices.Contains(f.racers, i.Addresses[0].Value)
	}
	return taken, f.unavailable
}

// CreateIdentities finds those of racers taken, which [fakes.Taken] does not know.
func (f *fakes) CreateIdentities(_ context.Context, all []*identity.Identity, told []events.Event) error {
	f.commits++
	for _, i := range all {
		if slices.Contains(f.racers, i.Addresses[0].Value) {
			return identity.ErrExists
		}
	}
	if f.breaksAt == f.commits {
		return errUnavailable
	}
	f.batch = append(f.batch, all...)
	for _, e := range told {
		f.append(e)
	}
	return nil
}

var errUnavailable = errors.New("unavailable")

func (f *fakes) UpdateIdentity(_ context.Context, id uuid.UUID, decide func(*identity.Identity) (*identity.Change, error)) error {
	if f.stored == nil || f.stored.ID != id {
		return identity.ErrNotFound
	}
	before, _ := json.Marshal(f.stored)
	change, err := decide(f.stored)
	if after, _ := json.Marshal(f.stored); string(after) != string(before) {
		f.t.Errorf("the update has changed what it was given:\n%s\n%s", before, after)
	}
	f.change = change
	if change == nil || err != nil {
		return err
	}
	f.stored = change.Identity
	sequence := int64(len(f.events) + 1)
	f.append(change.Updated(sequence))
	f.revoke(change.Revoked)
	return nil
}

func (f *fakes) DeleteIdentity(_ context.Context, id uuid.UUID, d admin.Deletion) error {
	if f.stored == nil || f.stored.ID != id {
		return identity.ErrNotFound
	}
	f.stored = nil
	f.revoke(d.Revoked)
	f.append(d.Deleted(int64(len(f.events) + 1)))
	return nil
}

func (f *fakes) revoke(event session.Revocation) {
	if event == nil {
		return
	}
	for _, id := range f.live {
		f.append(event(id, int64(len(f.events)+1)))
	}
}

// append checks an event against its schema.
func (f *fakes) append(e events.Event) {
	f.t.Helper()
	payload, err := e.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	eventstest.Validate(f.t, payload)
	f.events = append(f.events, e)
}

// said gives the events so far as type and data.
func (f *fakes) said() (all []string) {
	for _, e := range f.events {
		all = append(all, e.Type+" "+e.Sequence)
	}
	return all
}

func (f *fakes) RevokeSessions(_ context.Context, w session.Which, event session.Revocation) (int, error) {
	if f.session == nil || w.IdentityID != f.session.IdentityID || w.ID != f.session.ID || w.But != uuid.Nil {
		f.t.Errorf("RevokeSessions of %+v, want the one session", w)
	}
	f.live = []uuid.UUID{w.ID}
	f.revoke(event)
	return 1, nil
}

func (f *fakes) SessionsOf(context.Context, uuid.UUID, *bool, int, int) ([]session.Session, int, error) {
	return nil, 0, errors.New("not asked")
}

func (f *fakes) Sessions(context.Context, uuid.UUID, int, *bool) ([]session.Session, error) {
	return nil, errors.New("not asked")
}

func (f *fakes) Session(_ context.Context, id uuid.UUID) (*session.Session, error) {
	if f.session == nil || f.session.ID != id {
		return nil, session.ErrNotFound
	}
	return f.session, nil
}

func (f *fakes) ExtendSession(_ context.Context, _ uuid.UUID, until time.Time) (*session.Session, error) {
	if f.extend != nil {
		return nil, f.extend()
	}
	f.until = until
	extended := *f.session
	extended.ExpiresAt = until
	return &extended, nil
}

func (f *fakes) DeleteSessions(_ context.Context, _ uuid.UUID, event session.Revocation) (int, error) {
	f.revoke(event)
	return len(f.live), nil
}

// messages are the ids by node of the form that err holds.
func messages(t *testing.T, err error) map[string][]int64 {
	t.Helper()
	var invalid *flow.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("error = %v, want one that a person can mend", err)
	}
	ids := map[string][]int64{}
	for node, said := range invalid.Form.Messages {
		for _, m := range said {
			ids[node] = append(ids[node], m.ID)
		}
	}
	return ids
}

func sameMessages(a, b map[string][]int64) bool { return maps.EqualFunc(a, b, slices.Equal) }
