package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// testIssueSession with grants that bypass verification and that do not: what
// the request says of it only makes it fast.
func testIssueSession(t *testing.T, s *suite) {
	st := s.store(nil)
	testIssueFirst(t, s, st, "ann@example.org", false, false)
	testIssueFirst(t, s, st, "bob@example.org", true, true)
	testIssueFirst(t, s, st, "cid@example.org", true, false)
	testIssueFirst(t, s, st, "dan@example.org", false, true)
	if _, _, err := st.SessionByDigest(s.ctx(), session.Digest{}); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("SessionByDigest of nobody's: %v, want %v", err, session.ErrNotFound)
	}
}

func testIssueFirst(t *testing.T, s *suite, st *store.Store, address string, bypass, said bool) {
	r := s.record(address)
	r.Grant.Bypass = bypass
	s.must(st.Register(s.ctx(), r))
	s.advance(time.Second)
	q := s.issueFor(r).Request
	q.Bypass = said
	i := s.issue(q)
	got, err := st.IssueSession(s.ctx(), i)
	s.must(err)
	if diff := cmp.Diff(&i.Session, got); diff != "" {
		t.Errorf("IssueSession: want(-) got(+):\n%s", diff)
	}
	found, who, err := st.SessionByDigest(s.ctx(), i.Request.Digest)
	s.must(err)
	if diff := cmp.Diff(&i.Session, found); diff != "" {
		t.Errorf("SessionByDigest: want(-) got(+):\n%s", diff)
	}
	want := *r.Identity
	want.Credentials = nil
	if diff := cmp.Diff(&want, who, anySequence); diff != "" {
		t.Errorf("SessionByDigest, the identity: want(-) got(+):\n%s", diff)
	}
	grant, _, err := st.Grant(s.ctx(), r.Grant.FlowID)
	s.must(err)
	if grant.SessionID != i.Session.ID || !grant.Steps.IssuedAt.Equal(i.Session.IssuedAt) || !grant.Steps.RequestedAt.Equal(i.Request.RequestedAt) {
		t.Errorf("grant = %+v, want session %s with the times of its steps", grant, i.Session.ID)
	}
	types, pending := s.types(st), s.pending(st)
	if got, want := types[len(types)-2:], []string{"identity.created 1", "session.issued 2"}; !slices.Equal(got, want) {
		t.Errorf("outbox ends with %q, want %q", got, want)
	}
	if data, want := string(pending[len(pending)-1].Data), fmt.Sprintf(`"verification_bypassed":%t`, bypass); !contains(data, want) {
		t.Errorf("session.issued = %s, want the grant's bypass: %s", data, want)
	}
}

func testIssueSessionTwice(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	first := s.issueFor(r)
	ids := make([]uuid.UUID, 8)
	for _, err := range atOnce(len(ids), func(n int) error {
		i := s.issue(first.Request) // another session for the same request
		got, err := st.IssueSession(s.ctx(), i)
		if err == nil {
			ids[n] = got.ID
		}
		return err
	}) {
		if err != nil {
			t.Errorf("IssueSession with one request: %v", err)
		}
	}
	if different := distinct(ids); different != 1 {
		t.Errorf("one request gave %d sessions, want 1", different)
	}
	if got, want := s.types(st), []string{"identity.created 1", "session.issued 2"}; !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
}

func testIssueSessionReplaces(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	former := s.issueFor(r)
	_, err := st.IssueSession(s.ctx(), former)
	s.must(err)

	s.advance(session.RepeatWindow - time.Second)
	next := s.issueFor(r)
	_, err = st.IssueSession(s.ctx(), next)
	s.must(err)

	if found, _, err := st.SessionByDigest(s.ctx(), former.Request.Digest); err != nil || !found.Revoked {
		t.Errorf("the replaced session = %+v, %v, want it revoked", found, err)
	}
	if found, _, err := st.SessionByDigest(s.ctx(), next.Request.Digest); err != nil || found.Revoked {
		t.Errorf("the new session = %+v, %v, want it live", found, err)
	}
	if grant, _, err := st.Grant(s.ctx(), r.Grant.FlowID); err != nil || grant.SessionID != next.Session.ID {
		t.Errorf("grant's session = %s, %v, want %s", grant.SessionID, err, next.Session.ID)
	}
	want := []string{"identity.created 1", "session.issued 2", "session.revoked 3", "session.issued 4"}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
}

// A person is let in unverified once: the session in the place of the first
// does not say again that it was.
func testIssueSessionBypassesOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org")
	r.Grant.Bypass = true
	s.must(st.Register(s.ctx(), r))
	var bypassed []bool
	for range 3 {
		s.advance(time.Second)
		q := s.issueFor(r).Request
		q.Bypass = true
		_, err := st.IssueSession(s.ctx(), s.issue(q))
		s.must(err)
	}
	q := s.loginFor(r).Request
	q.Bypass = true // a login has no grant that could
	_, err := st.IssueSession(s.ctx(), s.issue(q))
	s.must(err)
	for _, e := range s.pending(st) {
		if e.Type == "session.issued" {
			bypassed = append(bypassed, contains(string(e.Data), `"verification_bypassed":true`))
		}
	}
	if want := []bool{true, false, false, false}; !slices.Equal(bypassed, want) {
		t.Errorf("session.issued says verification_bypassed %t, want %t", bypassed, want)
	}
}

// Who has signed out, or was put out, is not let in by the registration's grant
// again: the way back is a login, with its gate.
func testIssueSessionNotAfterItsEnd(t *testing.T, s *suite) {
	st := s.store(nil)
	for name, end := range map[string]func(registration.Record, session.Issue){
		"logout": func(r registration.Record, i session.Issue) {
			n, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: r.Identity.ID, ID: i.Session.ID}, s.revocation(r))
			if s.must(err); n != 1 {
				t.Fatalf("%d sessions revoked, want 1", n)
			}
		},
		"deletion": func(r registration.Record, _ session.Issue) {
			n, err := st.DeleteSessions(s.ctx(), r.Identity.ID, s.revocation(r))
			if s.must(err); n != 1 {
				t.Fatalf("%d sessions deleted, want 1", n)
			}
		},
	} {
		r := s.registered(st, name+"@example.org")
		first := s.issueFor(r)
		_, err := st.IssueSession(s.ctx(), first)
		s.must(err)
		end(r, first)
		s.advance(time.Second)
		before := s.types(st)
		if got, err := st.IssueSession(s.ctx(), s.issueFor(r)); !errors.Is(err, session.ErrGrantUsed) {
			t.Errorf("after %s: %+v, %v, want ErrGrantUsed", name, got, err)
		}
		if after := s.types(st); !slices.Equal(before, after) {
			t.Errorf("after %s: outbox = %q, want nothing new beside %q", name, after, before)
		}
	}
}

func testIssueSessionRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	used := s.registered(st, "used@example.org")
	s.advance(time.Minute)
	first := s.issueFor(used)
	_, err := st.IssueSession(s.ctx(), first)
	s.must(err)
	fresh := s.registered(st, "fresh@example.org")
	unused := s.registered(st, "unused@example.org")
	inactive := s.registered(st, "inactive@example.org")
	s.exec(`UPDATE identities SET state = 'inactive' WHERE id = '` + inactive.Identity.ID.String() + `'`)
	before := s.types(st)

	for name, c := range map[string]struct {
		of     registration.Record
		change func(*session.Request)
		want   error
	}{
		"same token, another request": {used, func(r *session.Request) { r.Digest = first.Request.Digest }, session.ErrGrantUsed},
		"same request, another token": {used, func(r *session.Request) { r.ID = first.Request.ID }, session.ErrGrantUsed},
		"an older request":            {used, func(r *session.Request) { r.RequestedAt = first.Request.RequestedAt.Add(-time.Millisecond) }, session.ErrGrantUsed},
		"a token in use":              {fresh, func(r *session.Request) { r.Digest = first.Request.Digest }, session.ErrGrantUsed},
		"another epoch":               {fresh, func(r *session.Request) { r.Epoch++ }, session.ErrIdentityInactive},
		"inactive":                    {inactive, nil, session.ErrIdentityInactive},
		"nobody":                      {fresh, func(r *session.Request) { r.IdentityID = uuid.New() }, session.ErrIdentityGone},
		"no such grant":               {fresh, func(r *session.Request) { r.GrantID = uuid.New() }, session.ErrInvalid},
		"another's grant":             {fresh, func(r *session.Request) { r.GrantID = used.Grant.ID }, session.ErrInvalid},
		"another's unused grant":      {fresh, func(r *session.Request) { r.GrantID = unused.Grant.ID }, session.ErrInvalid},
		"late":                        {fresh, func(r *session.Request) { r.Deadline = s.clock().Add(-1) }, session.ErrLate},
		"late, and not the first":     {fresh, func(r *session.Request) { r.Deadline, r.Again = s.clock().Add(-1), true }, session.ErrLate},
	} {
		q := s.issueFor(c.of).Request
		if c.change != nil {
			c.change(&q)
		}
		if got, err := st.IssueSession(s.ctx(), s.issue(q)); !errors.Is(err, c.want) {
			t.Errorf("%s: IssueSession = %+v, %v, want %v", name, got, err, c.want)
		}
	}
	s.advance(session.RepeatWindow)
	if _, err := st.IssueSession(s.ctx(), s.issueFor(used)); !errors.Is(err, session.ErrGrantUsed) {
		t.Errorf("after the window: IssueSession: %v, want %v", err, session.ErrGrantUsed)
	}

	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	if found, _, err := st.SessionByDigest(s.ctx(), first.Request.Digest); err != nil || found.Revoked {
		t.Errorf("the session = %+v, %v, want it live", found, err)
	}
	_, err = st.IssueSession(s.ctx(), s.issueFor(fresh)) // what was refused took nothing
	s.must(err)
	if got, want := s.types(st), append(before, "session.issued 2"); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
}

func testIssueSessionWithoutGrant(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	for range 2 {
		q := s.issueFor(r).Request
		q.GrantID = uuid.Nil
		_, err := st.IssueSession(s.ctx(), s.issue(q))
		s.must(err)
	}
	if grant, _, err := st.Grant(s.ctx(), r.Grant.FlowID); err != nil || grant.SessionID != uuid.Nil {
		t.Errorf("grant's session = %s, %v, want none", grant.SessionID, err)
	}
	want := []string{"identity.created 1", "session.issued 2", "session.issued 3"}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
}

// Events of one identity stand in the outbox in the order of their sequence,
// without a gap, whoever makes them.
func testSequenceHasNoGaps(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	for _, err := range atOnce(40, func(n int) error {
		if n%2 == 0 {
			return st.Append(s.ctx(), newRefused(s.clock(), r))
		}
		q := s.issueFor(r).Request
		q.GrantID = uuid.Nil
		_, err := st.IssueSession(s.ctx(), s.issue(q))
		return err
	}) {
		s.must(err)
	}
	for n, e := range s.pending(st) {
		if want := sequence(n + 1); e.Sequence != want {
			t.Errorf("event %d of the outbox has sequence %s, want %s", n+1, e.Sequence, want)
		}
	}
}
