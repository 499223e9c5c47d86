package admin_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/session"
)

func TestRevokeSession(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.session = &session.Session{ID: uuid.New(), IdentityID: uuid.New(), ExpiresAt: start.Add(time.Hour)}
	if err := f.service().RevokeSession(t.Context(), f.session.ID, by); err != nil {
		t.Fatal(err)
	}
	if got := f.said(); !slices.Equal(got, []string{"session.revoked 1"}) || f.events[0].Actor != by.Actor || f.events[0].Subject != f.session.IdentityID.String() {
		t.Errorf("events = %+v, want session.revoked by %s", f.events, by.Actor)
	}
	if err := f.service().RevokeSession(t.Context(), uuid.New(), by); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("RevokeSession of nothing = %v, want %v", err, session.ErrNotFound)
	}
}

func TestDeleteSessions(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	if err := f.service().DeleteSessions(t.Context(), uuid.New(), by); err != nil || len(f.events) != 2 {
		t.Errorf("DeleteSessions = %v, %d events, want one for each", err, len(f.events))
	}
	f.live = nil
	if err := f.service().DeleteSessions(t.Context(), uuid.New(), by); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("DeleteSessions of none = %v, want %v", err, session.ErrNotFound)
	}
}

func TestExtendSession(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		issued, expires, earliest time.Duration // the first two from now
		revoked                   bool
		until                     time.Duration // from now; 0: it stays as it is
		want                      error
	}{
		"any time":               {issued: -time.Minute, expires: time.Minute, until: time.Hour},
		"early enough":           {issued: -time.Minute, expires: time.Minute, earliest: time.Minute, until: time.Hour},
		"too early":              {issued: -time.Minute, expires: time.Minute + time.Second, earliest: time.Minute},
		"never past the longest": {issued: -session.MaxLifespan + time.Minute, expires: time.Second, until: time.Minute},
		"expired":                {issued: -time.Hour, expires: 0, want: session.ErrNotFound},
		"revoked":                {issued: -time.Hour, expires: time.Hour, revoked: true, want: session.ErrNotFound},
	} {
		f := newFakes(t)
		f.session = &session.Session{ID: uuid.New(), IssuedAt: start.Add(c.issued), ExpiresAt: start.Add(c.expires), Revoked: c.revoked}
		s := f.service()
		s.EarliestExtend = c.earliest
		got, err := s.ExtendSession(t.Context(), f.session.ID)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: ExtendSession = %v, want %v", name, err, c.want)
		}
		want := f.session.ExpiresAt
		if c.until != 0 {
			want = start.Add(c.until)
		}
		if c.want == nil && !got.ExpiresAt.Equal(want) {
			t.Errorf("%s: lasts until %v, want %v", name, got.ExpiresAt, want)
		}
		if asked := !f.until.IsZero(); asked != (c.until != 0) {
			t.Errorf("%s: the ledger was asked: %t", name, asked)
		}
	}
	f := newFakes(t)
	if _, err := f.service().ExtendSession(t.Context(), uuid.New()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("ExtendSession of nothing = %v, want %v", err, session.ErrNotFound)
	}
	f.session = &session.Session{ID: uuid.New(), IssuedAt: start, ExpiresAt: start.Add(time.Minute)}
	f.extend = func() error { return session.ErrNotFound } // it ended meanwhile
	if _, err := f.service().ExtendSession(t.Context(), f.session.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("ExtendSession of one that has just ended = %v, want %v", err, session.ErrNotFound)
	}
}
