package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// revocation makes session.revoked of a person's session.
func (s *suite) revocation(r registration.Record) session.Revocation {
	return func(id uuid.UUID, n int64) events.Event {
		e := events.New(events.SessionRevoked{SessionID: id.String(), IdentityID: r.Identity.ID.String(), Reason: "user"},
			s.clock(), about("session", r.Identity.ID))
		e.Sequence = sequence(int(n))
		return e
	}
}

// logins signs a person in n times, a second after another.
func (s *suite) logins(st *store.Store, r registration.Record, n int) []session.Session {
	s.t.Helper()
	all := make([]session.Session, n)
	for i := range all {
		all[i] = s.login(st, r).Session
		s.advance(time.Second)
	}
	return all
}

// live gives the ids of a person's live sessions, newest first.
func (s *suite) live(st *store.Store, r registration.Record) []uuid.UUID {
	s.t.Helper()
	active := true
	found, total, err := st.SessionsOf(s.ctx(), r.Identity.ID, &active, 0, 1000)
	s.must(err)
	if total != len(found) {
		s.t.Errorf("SessionsOf = %d sessions of %d, want all", len(found), total)
	}
	return idsOf(found)
}

func idsOf(all []session.Session) []uuid.UUID {
	ids := make([]uuid.UUID, len(all))
	for n, one := range all {
		ids[n] = one.ID
	}
	return ids
}

func testRevokeSessions(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.registered(st, "ann@example.org"), s.registered(st, "bob@example.org")
	all, other := s.logins(st, ann, 5), s.logins(st, bob, 1)
	s.must(st.Move(s.ctx(), s.publish(st, 100)))
	a, b := ann.Identity.ID, bob.Identity.ID
	for _, c := range []struct {
		name string
		w    session.Which
		want []int // those of all that are revoked
	}{
		{"one", session.Which{IdentityID: a, ID: all[1].ID}, []int{1}},
		{"one again", session.Which{IdentityID: a, ID: all[1].ID}, nil},
		{"another's", session.Which{IdentityID: a, ID: other[0].ID}, nil},
		{"nobody's", session.Which{IdentityID: uuid.New()}, nil},
		{"all but one", session.Which{IdentityID: a, But: all[2].ID}, []int{0, 3, 4}},
		{"all", session.Which{IdentityID: a}, []int{2}},
	} {
		before, first := s.live(st, ann), s.events(ann)
		n, err := st.RevokeSessions(s.ctx(), c.w, s.revocation(ann))
		if err != nil || n != len(c.want) {
			t.Errorf("%s: RevokeSessions = %d, %v, want %d", c.name, n, err, len(c.want))
		}
		var want, revoked []uuid.UUID
		for n := range c.want {
			want = append(want, all[c.want[n]].ID)
		}
		for n, e := range s.pending(st) {
			if wanted := fmt.Sprintf("session.revoked %d", first+n+1); e.Type+" "+e.Sequence != wanted {
				t.Errorf("%s: event %s %s, want %s", c.name, e.Type, e.Sequence, wanted)
			}
			for _, id := range want {
				if contains(string(e.Data), id.String()) {
					revoked = append(revoked, id)
				}
			}
		}
		if got := s.events(ann); got != first+len(want) {
			t.Errorf("%s: the person's last sequence is %d, want %d", c.name, got, first+len(want))
		}
		if len(revoked) != len(want) || distinct(revoked) != len(want) {
			t.Errorf("%s: events about %s, want one about each of %s", c.name, revoked, want)
		}
		s.must(st.Move(s.ctx(), s.publish(st, 100)))
		left := slices.DeleteFunc(before, func(id uuid.UUID) bool { return slices.Contains(want, id) })
		if got := s.live(st, ann); !slices.Equal(got, left) {
			t.Errorf("%s: live sessions %s, want %s", c.name, got, left)
		}
	}
	if got := s.live(st, bob); len(got) != 1 {
		t.Errorf("%d sessions of another live, want 1", len(got))
	}
	_, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: b}, s.revocation(bob))
	s.must(err)
}

// events gives how many were made about a person.
func (s *suite) events(r registration.Record) (n int) {
	s.t.Helper()
	row := s.raw().QueryRowContext(s.ctx(), `SELECT sequence FROM identities WHERE id = '`+r.Identity.ID.String()+`'`)
	s.must(row.Scan(&n))
	return n
}

// Sessions that are revoked and issued at the same time wait for each other in no circle.
func testRevokeWhileIssuing(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	for n, err := range atOnce(60, func(n int) error {
		switch n % 3 {
		case 0:
			_, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: r.Identity.ID}, s.revocation(r))
			return err
		case 1:
			_, err := st.IssueSession(s.ctx(), s.issueFor(r)) // each replaces the former, if that lives
			if errors.Is(err, session.ErrGrantUsed) {
				return nil
			}
			return err
		}
		_, err := st.IssueSession(s.ctx(), s.loginFor(r))
		return err
	}) {
		if err != nil {
			t.Errorf("call %d: %v", n, err)
		}
	}
	for n, e := range s.pending(st) {
		if want := sequence(n + 1); e.Sequence != want {
			t.Fatalf("event %d of the outbox has sequence %s, want %s", n+1, e.Sequence, want)
		}
	}
}

func testSessionsOf(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org")
	s.logins(st, s.registered(st, "bob@example.org"), 1)
	all := s.logins(st, ann, 7)
	_, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: ann.Identity.ID, ID: all[5].ID}, s.revocation(ann))
	s.must(err)
	s.exec(`UPDATE sessions SET epoch = 9 WHERE id = '` + all[4].ID.String() + `'`)
	s.advance(all[0].ExpiresAt.Sub(s.clock())) // the first is over
	yes, no := true, false
	for name, c := range map[string]struct {
		active        *bool
		offset, limit int
		want          []int
		total         int
	}{
		"all":              {nil, 0, 10, []int{6, 5, 4, 3, 2, 1, 0}, 7},
		"a page":           {nil, 2, 3, []int{4, 3, 2}, 7},
		"behind the last":  {nil, 7, 3, nil, 7},
		"active":           {&yes, 0, 10, []int{6, 3, 2, 1}, 4},
		"a page of active": {&yes, 1, 2, []int{3, 2}, 4},
		"others":           {&no, 0, 10, []int{5, 4, 0}, 3},
	} {
		found, total, err := st.SessionsOf(s.ctx(), ann.Identity.ID, c.active, c.offset, c.limit)
		want := make([]uuid.UUID, len(c.want))
		for n := range want {
			want[n] = all[c.want[n]].ID
		}
		if got := idsOf(found); err != nil || total != c.total || !slices.Equal(got, want) {
			t.Errorf("%s: SessionsOf = %s of %d, %v, want %s of %d", name, got, total, err, want, c.total)
		}
	}
	one, err := st.Session(s.ctx(), all[3].ID)
	if diff := cmp.Diff(&all[3], one); err != nil || diff != "" {
		t.Errorf("Session: %v, want(-) got(+):\n%s", err, diff)
	}
	if _, err := st.Session(s.ctx(), uuid.New()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Session of an unknown id: %v, want %v", err, session.ErrNotFound)
	}
}

func testSessionsByID(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org")
	all := s.logins(st, ann, 9)
	_, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: ann.Identity.ID, ID: all[0].ID}, s.revocation(ann))
	s.must(err)
	yes, no := true, false
	for name, c := range map[string]struct {
		active *bool
		want   []uuid.UUID
	}{"all": {nil, idsOf(all)}, "active": {&yes, idsOf(all[1:])}, "others": {&no, idsOf(all[:1])}} {
		slices.SortFunc(c.want, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		var got []uuid.UUID
		for after := uuid.Nil; ; after = got[len(got)-1] {
			page, err := st.Sessions(s.ctx(), after, 4, c.active)
			s.must(err)
			if len(page) == 0 {
				break
			}
			got = append(got, idsOf(page)...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: Sessions by pages = %s, want %s", name, got, c.want)
		}
	}
}

func testExtendSession(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org")
	all := s.logins(st, ann, 3)
	for _, until := range []time.Time{all[0].ExpiresAt.Add(time.Hour), all[0].ExpiresAt.Add(time.Minute)} {
		want := all[0]
		want.ExpiresAt = all[0].ExpiresAt.Add(time.Hour)
		got, err := st.ExtendSession(s.ctx(), want.ID, until)
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Errorf("ExtendSession: %v, want(-) got(+):\n%s", err, diff)
		}
		stored, err := st.Session(s.ctx(), want.ID)
		if diff := cmp.Diff(&want, stored); err != nil || diff != "" {
			t.Errorf("Session: %v, want(-) got(+):\n%s", err, diff)
		}
	}
	_, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: ann.Identity.ID, ID: all[1].ID}, s.revocation(ann))
	s.must(err)
	s.advance(all[2].ExpiresAt.Sub(s.clock()))
	for name, id := range map[string]uuid.UUID{"revoked": all[1].ID, "over": all[2].ID, "no such": uuid.New()} {
		if _, err := st.ExtendSession(s.ctx(), id, s.clock().Add(time.Hour)); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("ExtendSession of one that is %s: %v, want %v", name, err, session.ErrNotFound)
		}
	}
	s.exec(`UPDATE identities SET epoch = epoch + 1`)
	if _, err := st.ExtendSession(s.ctx(), all[0].ID, s.clock().Add(time.Hour)); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("ExtendSession of another epoch: %v, want %v", err, session.ErrNotFound)
	}
}

func testDeleteSessions(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.registered(st, "ann@example.org"), s.registered(st, "bob@example.org")
	all := s.logins(st, ann, 3)
	s.logins(st, bob, 1)
	_, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: ann.Identity.ID, ID: all[1].ID}, s.revocation(ann))
	s.must(err)
	first := s.events(ann)
	s.must(st.Move(s.ctx(), s.publish(st, 100)))
	for _, want := range []int{3, 0} {
		if n, err := st.DeleteSessions(s.ctx(), ann.Identity.ID, s.revocation(ann)); n != want || err != nil {
			t.Errorf("DeleteSessions = %d, %v, want %d", n, err, want)
		}
		want := []string{fmt.Sprintf("session.revoked %d", first+1), fmt.Sprintf("session.revoked %d", first+2)}
		if got := s.types(st); !slices.Equal(got, want) {
			t.Errorf("outbox = %q, want %q", got, want)
		}
	}
	if _, total, err := st.SessionsOf(s.ctx(), ann.Identity.ID, nil, 0, 10); total != 0 || err != nil {
		t.Errorf("%d sessions after DeleteSessions, %v, want none", total, err)
	}
	dead := s.logins(st, ann, 1)
	s.advance(dead[0].ExpiresAt.Sub(s.clock()))
	if n, err := st.DeleteSessions(s.ctx(), ann.Identity.ID, s.revocation(ann)); n != 1 || err != nil {
		t.Errorf("DeleteSessions of one that is over = %d, %v, want 1", n, err)
	}
	if got, want := s.events(ann), first+4; got != want {
		t.Errorf("%d events about the person, want %d", got, want)
	}
}

func testDeleteExpiredSessions(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org")
	all := s.logins(st, ann, 5)
	end := all[3].ExpiresAt
	for _, c := range []struct {
		before time.Time
		want   int
	}{{all[0].ExpiresAt, 0}, {end, 2}, {end, 1}, {end, 0}} {
		if n, err := st.DeleteExpiredSessions(s.ctx(), c.before, 2); n != c.want || err != nil {
			t.Errorf("DeleteExpiredSessions(%v, 2) = %d, %v, want %d", c.before, n, err, c.want)
		}
	}
	if got, want := s.live(st, ann), []uuid.UUID{all[4].ID, all[3].ID}; !slices.Equal(got, want) {
		t.Errorf("left are %s, want %s", got, want)
	}
}
