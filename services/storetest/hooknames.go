package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
)

// Who has a credential of a hook that was removed is not to get what a new one of
// the name gets: as long as one is good, of whatever kind either is.
func testHookNames(t *testing.T, s *suite) {
	st := s.store(nil)
	day := func(n int) time.Time { return s.clock().Add(time.Duration(n) * 24 * time.Hour) }
	first, second := day(90), day(100)
	create := func(h delivery.Hook) error { return st.CreateHook(s.ctx(), h, s.acted("hook.create", h.Name)) }
	remove := func(name string) { s.must(st.DeleteHook(s.ctx(), name, s.acted("hook.remove", name))) }
	crm := delivery.Hook{Name: "crm", Kind: delivery.Worker, Types: []string{"mail.sent"}, CredentialUntil: first}
	s.must(create(crm))
	crm.CredentialUntil = second
	if err := create(crm); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("CreateHook of a hook that is there: %v, want %v", err, delivery.ErrHookExists)
	}
	s.must(st.UpdateHook(s.ctx(), s.clock(), crm, s.acted("hook.rotate", crm.Name)))
	s.must(st.NameMinted(s.ctx(), "of-file", first, s.acted("hook.rotate", "of-file")))
	s.must(st.NameMinted(s.ctx(), "of-file", day(1), s.acted("hook.rotate", "of-file"))) // the former is good for longer
	s.wantRemovedNames(st, nil)
	remove("crm")
	s.wantRemovedNames(st, map[string]time.Time{"crm": second})

	before := len(s.pending(st))
	for _, kind := range []delivery.Kind{delivery.Worker, delivery.Answer, delivery.Webhook} {
		for name, until := range map[string]time.Time{"crm": second, "of-file": first} {
			var used *delivery.NameUsed
			err := create(delivery.Hook{Name: name, Kind: kind, CredentialUntil: day(300)})
			if !errors.As(err, &used) || used.Name != name || !used.Until.Equal(until) {
				t.Errorf("CreateHook of %s %s: %v, want that its name is used until %s", kind, name, err, until)
			}
		}
	}
	if n, got := s.count(`hooks`), len(s.pending(st)); n != 0 || got != before {
		t.Errorf("%d hooks and %d events of those that were refused, want none", n, got-before)
	}

	// A webhook of the file has a row once it is disabled; that is no declaration.
	s.must(create(delivery.Hook{Name: "of-file", Kind: delivery.Webhook, InFile: true}))
	crm.CredentialUntil, crm.ReuseName = day(95), true
	s.must(create(crm))
	s.wantRemovedNames(st, nil)
	remove("crm")
	s.wantRemovedNames(st, map[string]time.Time{"crm": second})

	s.advance(100*24*time.Hour - time.Second)
	crm.ReuseName, crm.CredentialUntil = false, day(90)
	var used *delivery.NameUsed
	if err := create(crm); !errors.As(err, &used) {
		t.Errorf("CreateHook a second before the last credential ends: %v, want that the name is used", err)
	}
	s.advance(time.Second)
	s.must(create(crm))
	remove("of-file")
	if n := s.count(`hook_names`); n != 1 {
		t.Errorf("%d names are kept, want only the one whose credential is good", n)
	}
}

func (s *suite) wantRemovedNames(st *store.Store, want map[string]time.Time) {
	s.t.Helper()
	got, err := st.RemovedNames(s.ctx())
	if want == nil {
		want = map[string]time.Time{}
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		s.t.Errorf("RemovedNames: %v, want(-) got(+):\n%s", err, diff)
	}
}
