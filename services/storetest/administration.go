package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// edit changes a stored identity as f says, which gets a copy.
func (s *suite) edit(st *store.Store, id uuid.UUID, f func(i *identity.Identity)) error {
	return st.UpdateIdentity(s.ctx(), id, func(stored *identity.Identity) (*identity.Change, error) {
		next := *stored
		next.Addresses, next.Credentials = slices.Clone(stored.Addresses), slices.Clone(stored.Credentials)
		f(&next)
		c := &identity.Change{Identity: &next, Updated: func(sequence int64) events.Event {
			return s.made(next.ID, sequence, events.IdentityUpdated{IdentityID: id.String(), Changed: []string{"traits"}})
		}}
		if next.Epoch != stored.Epoch {
			c.Revoked = s.revoked(id)
		}
		return c, nil
	})
}

func (s *suite) made(id uuid.UUID, n int64, p events.Payload) events.Event {
	e := events.New(p, s.clock(), about("admin", id))
	e.Sequence = fmt.Sprint(n)
	return e
}

func (s *suite) revoked(of uuid.UUID) session.Revocation {
	return func(id uuid.UUID, sequence int64) events.Event {
		return s.made(of, sequence, events.SessionRevoked{SessionID: id.String(), IdentityID: of.String(), Reason: "deactivated"})
	}
}

func (s *suite) address(value string) identity.Address {
	return identity.Address{
		ID: uuid.New(), Via: "email", Value: value, Verifiable: true, Identifier: true, Status: identity.AddressPending, CreatedAt: s.clock(), UpdatedAt: s.clock(),
	}
}

// code stores a code that went to an address.
func (s *suite) code(identityID, addressID uuid.UUID) {
	s.t.Helper()
	s.exec(`INSERT INTO codes (flow_id, identity_id, address_id, digest, created_at, expires_at) VALUES ($1, $2, $3, $4, 1, 2)`,
		uuid.New(), identityID, addressID, []byte("digest"))
}

func testUpdateIdentity(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org", "ann@example.net")
	r.Identity.Credentials[0].Identifiers = []string{"ann@example.org", "ann@example.net", "ann", "anna"}
	s.must(st.Register(s.ctx(), r))
	id := r.Identity.ID
	for _, a := range r.Identity.Addresses {
		s.code(id, a.ID)
	}
	s.advance(time.Minute)
	var want identity.Identity
	s.must(s.edit(st, id, func(i *identity.Identity) {
		i.SchemaID, i.State, i.StateChangedAt, i.UpdatedAt = "other", identity.Inactive, s.clock(), s.clock()
		i.Traits, i.MetadataPublic, i.MetadataAdmin = json.RawMessage(`{ "b":1}`), json.RawMessage(`{"c": 2}`), json.RawMessage(`[3]`)
		kept := i.Addresses[1]
		kept.Recovery, kept.UpdatedAt = true, s.clock()
		i.Addresses = []identity.Address{kept, s.address("bea@example.org")}
		i.Credentials[0].Identifiers = []string{"ann@example.net", "bea@example.org", "anna", "bea"}
		i.Credentials[0].UpdatedAt = s.clock()
		i.Credentials = append(i.Credentials, identity.Credential{Type: "zed", Identifiers: []string{"zed"}, Config: json.RawMessage(`{}`), CreatedAt: s.clock(), UpdatedAt: s.clock()})
		want = *i
	}))
	got, err := st.Identity(s.ctx(), id)
	s.must(err)
	if diff := cmp.Diff(&want, got, anySequence); diff != "" {
		t.Errorf("Identity: want(-) got(+):\n%s", diff)
	}
	if got, want := s.types(st), []string{"identity.created 1", "identity.updated 2"}; !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	if n := s.count(`codes`); n != 1 {
		t.Errorf("%d codes are left, want that of the address that stays", n)
	}
	s.registered(st, "ann@example.org") // what was given up can be another's
	ann := s.record("ann2@example.org")
	ann.Identity.Credentials[0].Identifiers = []string{"ann2@example.org", "ann"}
	s.must(st.Register(s.ctx(), ann))

	s.must(s.edit(st, id, func(i *identity.Identity) { i.Credentials = i.Credentials[:1] }))
	if got, err := st.Identity(s.ctx(), id); err != nil || len(got.Credentials) != 1 {
		t.Errorf("Identity = %+v, %v, want one credential", got, err)
	}
	testUpdateOfNothing(t, s, st, id)
}

func testUpdateOfNothing(t *testing.T, s *suite, st *store.Store, id uuid.UUID) {
	before := s.types(st)
	s.must(st.UpdateIdentity(s.ctx(), id, func(*identity.Identity) (*identity.Change, error) { return nil, nil }))
	boom := errors.New("boom")
	if err := st.UpdateIdentity(s.ctx(), id, func(*identity.Identity) (*identity.Change, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Errorf("UpdateIdentity = %v, want what was decided: %v", err, boom)
	}
	if err := s.edit(st, uuid.New(), nil); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("UpdateIdentity of an unknown id = %v, want %v", err, identity.ErrNotFound)
	}
	s.must(st.Append(s.ctx(), s.made(id, 4, events.IdentityActivated{IdentityID: id.String()}))) // 3 was the last: nothing took one
	if got := s.types(st)[len(before):]; !slices.Equal(got, []string{"identity.activated 4"}) {
		t.Errorf("outbox has %q more, want the next event to follow without a gap", got)
	}
}

func (s *suite) count(from string) (n int) {
	s.t.Helper()
	s.must(s.raw().QueryRowContext(s.ctx(), `SELECT count(*) FROM `+from).Scan(&n))
	return n
}

func testUpdateIdentityTaken(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.registered(st, "ann@example.org"), s.record("bob@example.org")
	bob.Identity.Credentials[0].Identifiers = []string{"bob@example.org", "bob"}
	s.must(st.Register(s.ctx(), bob))
	for name, change := range map[string]func(*identity.Identity){
		"address": func(i *identity.Identity) { i.Addresses = []identity.Address{s.address("bob@example.org")} },
		"handle":  func(i *identity.Identity) { i.Credentials[0].Identifiers = []string{"ann@example.org", "bob"} },
	} {
		if err := s.edit(st, ann.Identity.ID, change); !errors.Is(err, identity.ErrExists) {
			t.Errorf("UpdateIdentity to a taken %s = %v, want %v", name, err, identity.ErrExists)
		}
	}
	got, err := st.Identity(s.ctx(), ann.Identity.ID)
	s.must(err)
	if diff := cmp.Diff(ann.Identity, got, anySequence); diff != "" || len(s.pending(st)) != 2 {
		t.Errorf("a refused update has left %d events and:\n%s", len(s.pending(st)), diff)
	}
}

// Of many updates at once none is lost, and the events stand in their order.
func testUpdateIdentityAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	const updates = 20
	for _, err := range atOnce(2*updates, func(n int) error {
		if n%2 == 0 {
			return st.Append(s.ctx(), newRefused(s.clock(), r))
		}
		return s.edit(st, r.Identity.ID, func(i *identity.Identity) {
			var all []int
			_ = json.Unmarshal(i.MetadataAdmin, &all)
			i.MetadataAdmin, _ = json.Marshal(append(all, n))
		})
	}) {
		s.must(err)
	}
	got, err := st.Identity(s.ctx(), r.Identity.ID)
	s.must(err)
	var all []int
	s.must(json.Unmarshal(got.MetadataAdmin, &all))
	if len(all) != updates {
		t.Errorf("%d of %d updates are there: %v", len(all), updates, all)
	}
	for n, e := range s.pending(st) {
		if want := sequence(n + 1); e.Sequence != want {
			t.Errorf("event %d of the outbox has sequence %s, want %s", n+1, e.Sequence, want)
		}
	}
}

// Two identities that want each other's address at once do not wait for each
// other in a circle.
func testUpdateIdentityCrosswise(t *testing.T, s *suite) {
	st := s.store(nil)
	for n := range 10 {
		values := []string{fmt.Sprintf("a%d@example.org", n), fmt.Sprintf("b%d@example.org", n)}
		people := []registration.Record{s.registered(st, values[0]), s.registered(st, values[1])}
		for _, err := range atOnce(2, func(n int) error {
			return s.edit(st, people[n].Identity.ID, func(i *identity.Identity) {
				i.Addresses = []identity.Address{s.address(values[1-n])}
				i.Credentials[0].Identifiers = []string{values[1-n]}
			})
		}) {
			if !errors.Is(err, identity.ErrExists) {
				t.Fatalf("UpdateIdentity to an address that another has = %v, want %v", err, identity.ErrExists)
			}
		}
	}
}

func testUpdateIdentityRevokes(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	other := s.registered(st, "bob@example.org")
	sessions := make([]session.Issue, 3)
	for n := range sessions {
		q := s.issueFor(r).Request
		q.GrantID = uuid.Nil
		if n == 0 {
			q.Lifespan = time.Second
		}
		sessions[n] = s.issue(q)
		_, err := st.IssueSession(s.ctx(), sessions[n])
		s.must(err)
	}
	others := s.issueFor(other)
	_, err := st.IssueSession(s.ctx(), others)
	s.must(err)
	s.advance(time.Minute) // the first is over by itself
	before := s.types(st)
	s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.State, i.Epoch = identity.Inactive, i.Epoch+1 }))
	s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.State = identity.Active }))
	// What was revoked is not revoked once more.
	s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.State, i.Epoch = identity.Inactive, i.Epoch+1 }))
	want := []string{"identity.updated 5", "session.revoked 6", "session.revoked 7", "identity.updated 8", "identity.updated 9"}
	if got := s.types(st)[len(before):]; !slices.Equal(got, want) {
		t.Errorf("outbox has %q more, want %q", got, want)
	}
	for n, i := range sessions {
		found, who, err := st.SessionByDigest(s.ctx(), i.Request.Digest)
		if err != nil || found.Revoked != (n > 0) || found.Epoch == who.Epoch {
			t.Errorf("session %d = %+v, %v, want it revoked unless it was over, and of a former epoch", n, found, err)
		}
	}
	if found, _, err := st.SessionByDigest(s.ctx(), others.Request.Digest); err != nil || found.Revoked {
		t.Errorf("the session of another = %+v, %v, want it live", found, err)
	}
}

// A session that is issued while its identity is stopped does not outlive that.
func testUpdateIdentityDuringIssue(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	requests := make([]session.Request, 20)
	for n := range requests {
		requests[n] = s.issueFor(r).Request
		requests[n].GrantID = uuid.Nil
	}
	for _, err := range atOnce(len(requests), func(n int) error {
		if n == len(requests)/2 {
			return s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.State, i.Epoch = identity.Inactive, i.Epoch+1 })
		}
		_, err := st.IssueSession(s.ctx(), s.issue(requests[n]))
		return err
	}) {
		if err != nil && !errors.Is(err, session.ErrIdentityInactive) {
			t.Errorf("IssueSession during an update: %v, want nil or %v", err, session.ErrIdentityInactive)
		}
	}
	if n := s.count(`sessions WHERE NOT revoked`); n != 0 {
		t.Errorf("%d sessions of an identity that is inactive are live", n)
	}
}

func testDeleteIdentity(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org")
	r.Identity.Credentials[0].Identifiers = []string{"ann@example.org", "ann"}
	s.must(st.Register(s.ctx(), r))
	id := r.Identity.ID
	_, err := st.IssueSession(s.ctx(), s.issueFor(r))
	s.must(err)
	s.code(id, r.Identity.Addresses[0].ID)
	deletion := s.deletion(id)
	s.must(st.DeleteIdentity(s.ctx(), id, deletion))
	want := []string{"identity.created 1", "session.issued 2", "session.revoked 3", "identity.deleted 4"}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	for _, table := range []string{"identities", "credentials", "addresses", "handles", "grants", "sessions", "codes", "messages"} {
		if n := s.count(table); n != 0 {
			t.Errorf("%d rows of %s are left, want none", n, table)
		}
	}
	if err := st.DeleteIdentity(s.ctx(), id, deletion); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("DeleteIdentity again = %v, want %v", err, identity.ErrNotFound)
	}
	if _, err := st.Identity(s.ctx(), id); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("Identity of one that is deleted = %v, want %v", err, identity.ErrNotFound)
	}
	again := s.record("ann@example.org")
	again.Identity.Credentials[0].Identifiers = []string{"ann@example.org", "ann"}
	s.must(st.Register(s.ctx(), again))
}

func (s *suite) deletion(id uuid.UUID) admin.Deletion {
	return admin.Deletion{Revoked: s.revoked(id), Deleted: func(sequence int64) events.Event {
		return s.made(id, sequence, events.IdentityDeleted{IdentityID: id.String()})
	}}
}
