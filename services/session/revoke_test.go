package session_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/session"
)

// ledger is a [session.Ledger] over the sessions of one identity; what it does
// not need here panics.
type ledger struct {
	session.Ledger
	all   []session.Session
	which []session.Which
	made  []events.Event
	err   error
}

func (l *ledger) SessionsOf(_ context.Context, id uuid.UUID, active *bool, offset, limit int) ([]session.Session, int, error) {
	var found []session.Session
	for _, s := range l.all {
		if s.IdentityID == id && (active == nil || s.Active(now) == *active) {
			found = append(found, s)
		}
	}
	total := len(found)
	found = found[min(offset, total):]
	return slices.Clone(found[:min(limit, len(found))]), total, l.err
}

func (l *ledger) RevokeSessions(_ context.Context, w session.Which, event session.Revocation) (int, error) {
	l.which = append(l.which, w)
	n := 0
	for _, s := range l.all {
		if s.IdentityID == w.IdentityID && (w.ID == uuid.Nil || s.ID == w.ID) && s.ID != w.But && s.Active(now) {
			n++
			l.made = append(l.made, event(s.ID, int64(n)))
		}
	}
	return n, l.err
}

func keeping(l *ledger) *session.Service {
	return &session.Service{Ledger: l, Now: func() time.Time { return now }}
}

// lived makes sessions of one identity, newest first.
func lived(identityID uuid.UUID, ages ...int) []session.Session {
	var all []session.Session
	for _, age := range ages {
		all = append(all, session.Session{
			ID: uuid.New(), IdentityID: identityID, IssuedAt: stored.Add(-time.Duration(age) * time.Minute), ExpiresAt: now.Add(time.Hour),
		})
	}
	slices.SortStableFunc(all, func(a, b session.Session) int { return cmp.Compare(b.IssuedAt.UnixNano(), a.IssuedAt.UnixNano()) })
	return all
}

// The pages hold each other session once, in order, whichever is the current
// one and however many were issued at once.
func TestOthersPageByPage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		person := uuid.New()
		all := lived(person, rapid.SliceOfN(rapid.IntRange(0, 10), 1, 12).Draw(rt, "ages")...)
		dead := lived(person, rapid.SliceOfN(rapid.IntRange(0, 10), 0, 3).Draw(rt, "dead")...)
		for n := range dead {
			dead[n].Revoked = true
		}
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		current := rapid.IntRange(0, len(all)-1).Draw(rt, "current")
		// That more sessions than a page holds were issued in the current one's
		// microsecond is not catered for.
		same := 0
		for _, s := range all {
			if s.IssuedAt.Equal(all[current].IssuedAt) {
				same++
			}
		}
		if same > limit+1 {
			rt.Skip("too many at once")
		}
		var want []uuid.UUID
		for n, s := range all {
			if n != current {
				want = append(want, s.ID)
			}
		}
		s := keeping(&ledger{all: append(append(slices.Clone(dead), all...), lived(uuid.New(), 1, 2)...)})
		var got []uuid.UUID
		for offset := 0; ; offset += limit {
			page, total, err := s.Others(rt.Context(), &all[current], offset, limit)
			if err != nil || total != len(want) || len(page) > limit {
				rt.Fatalf("Others = %d of %d, %v, want no more than %d of %d", len(page), total, err, limit, len(want))
			}
			if len(page) < limit && offset+len(page) < total {
				rt.Fatalf("Others from %d gives %d of %d, want a full page", offset, len(page), total)
			}
			if len(page) == 0 {
				break
			}
			for _, one := range page {
				got = append(got, one.ID)
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("pages of %d hold %v, want %v", limit, got, want)
		}
	})
}

// The current session may have ended since it was looked up.
func TestOthersOfAnEndedSession(t *testing.T) {
	t.Parallel()
	person := uuid.New()
	all := lived(person, 1, 2, 3)
	all[0].Revoked = true
	page, total, err := keeping(&ledger{all: all}).Others(t.Context(), &all[0], 0, 10)
	if err != nil || len(page) != 2 || total > 2 {
		t.Errorf("Others = %v of %d, %v, want both that live", page, total, err)
	}
	all[1].Revoked, all[2].Revoked = true, true
	if _, total, err := keeping(&ledger{all: all}).Others(t.Context(), &all[0], 0, 10); err != nil || total != 0 {
		t.Errorf("Others = %d, %v, want none", total, err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	person := uuid.New()
	by := session.By{Actor: "person:" + person.String(), RequestID: "http-1", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Source: "/usher/api"}
	l := &ledger{all: append(lived(person, 1, 2, 3), lived(uuid.New(), 1)...)}
	s := keeping(l)
	if err := s.Revoke(t.Context(), by, person, l.all[1].ID, "logout"); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	n, err := s.RevokeOthers(t.Context(), by, &l.all[0])
	if err != nil || n != 2 {
		t.Fatalf("RevokeOthers = %d, %v, want 2", n, err)
	}
	want := []session.Which{{IdentityID: person, ID: l.all[1].ID}, {IdentityID: person, But: l.all[0].ID}}
	if !slices.Equal(l.which, want) {
		t.Errorf("the ledger was asked to revoke %+v, want %+v", l.which, want)
	}
	base := events.Event{
		SpecVersion: "1.0", Source: "/usher/api", Type: "session.revoked", Subject: person.String(), Time: stored, DataContentType: "application/json",
		DataSchema: "urn:usher:event:session.revoked:1", RequestID: "http-1", Actor: by.Actor, TraceParent: by.TraceParent,
	}
	for n, c := range []struct {
		of               uuid.UUID
		sequence, reason string
	}{{l.all[1].ID, "1", "logout"}, {l.all[1].ID, "1", "user"}, {l.all[2].ID, "2", "user"}} {
		e := base
		e.Sequence = c.sequence
		e.Data = fmt.Appendf(nil, `{"session_id":%q,"identity_id":%q,"reason":%q}`, c.of, person, c.reason)
		if diff := gocmp.Diff(e, l.made[n], cmpopts.IgnoreFields(events.Event{}, "ID")); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", n, diff)
		}
		payload, err := l.made[n].Encode()
		if err != nil {
			t.Fatal(err)
		}
		eventstest.Validate(t, payload)
	}
}

// Whoever asked must not take it for ended: caches would be told of any id.
func TestRevokeOfNothingSaysSo(t *testing.T) {
	t.Parallel()
	person := uuid.New()
	l := &ledger{all: lived(person, 1)}
	s := keeping(l)
	for name, c := range map[string]struct{ identity, id uuid.UUID }{
		"unknown":      {person, uuid.New()},
		"somebody's":   {uuid.New(), l.all[0].ID},
		"no id at all": {person, uuid.Nil},
	} {
		if err := s.Revoke(t.Context(), session.By{}, c.identity, c.id, "user"); !errors.Is(err, session.ErrNotFound) || len(l.made) > 0 {
			t.Errorf("%s: Revoke = %v with %d revoked, want ErrNotFound and none", name, err, len(l.made))
		}
	}
}

func TestBrokenLedger(t *testing.T) {
	t.Parallel()
	down := errors.New("the database is down")
	s := keeping(&ledger{err: down})
	current := &session.Session{ID: uuid.New(), IdentityID: uuid.New()}
	_, _, listed := s.Others(t.Context(), current, 0, 10)
	_, others := s.RevokeOthers(t.Context(), session.By{}, current)
	for call, err := range map[string]error{
		"Others": listed, "RevokeOthers": others, "Revoke": s.Revoke(t.Context(), session.By{}, current.IdentityID, current.ID, "user"),
	} {
		if !errors.Is(err, down) || !strings.Contains(err.Error(), "session") {
			t.Errorf("%s = %v, want why and at what", call, err)
		}
	}
}
