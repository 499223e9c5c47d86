package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/webhook"
)

// acted is an event that says what was done to a hook.
func (s *suite) acted(action, hook string) events.Event {
	return events.New(events.AdminActed{Action: action, Target: hook}, s.clock(), events.About{Source: "/usher/test", Actor: "admin:ann"})
}

func testHooks(t *testing.T, s *suite) {
	st := s.store(nil)
	crm := delivery.Hook{
		Name: "crm-sync", Kind: delivery.Worker, Types: []string{"identity.created", "identity.deleted"}, Traits: []string{"email"},
		CreatedAt: s.clock(), UpdatedAt: s.clock(),
	}
	sink := delivery.Hook{
		Name: "crm2", Kind: delivery.Webhook, Types: []string{"login.failed"}, URL: "https://hooks.example/in",
		Secrets:   []webhook.Secret{webhook.NewSecret("whsec_canary2"), webhook.NewSecret("whsec_canary1")},
		CreatedAt: s.clock(), UpdatedAt: s.clock(),
	}
	ask := delivery.Hook{Name: "b-answer", Kind: delivery.Answer, CreatedAt: s.clock(), UpdatedAt: s.clock()}
	for _, h := range []delivery.Hook{sink, crm, ask} {
		s.must(st.CreateHook(s.ctx(), h, s.acted("hook.create", h.Name)))
	}
	s.wantHooks(st, ask, crm, sink)
	s.noneHolds(`SELECT secrets FROM hooks WHERE secrets IS NOT NULL`, 1, "canary")

	if err := st.CreateHook(s.ctx(), crm, s.acted("hook.create", crm.Name)); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("CreateHook of a name that is taken: %v, want %v", err, delivery.ErrHookExists)
	}
	s.advance(time.Minute)
	sink.Kind, sink.Types, sink.Traits, sink.URL = delivery.Worker, []string{"mail.sent"}, []string{"name"}, ""
	sink.Secrets, sink.Disabled, sink.UpdatedAt = sink.Secrets[:1], "410 Gone", s.clock()
	changed, former := sink, crm.UpdatedAt
	changed.CreatedAt = s.clock()
	s.must(st.UpdateHook(s.ctx(), former, changed, s.acted("hook.update", sink.Name)))
	s.wantHooks(st, ask, crm, sink)
	again := changed
	again.Secrets = nil
	if err := st.UpdateHook(s.ctx(), former, again, s.acted("hook.update", sink.Name)); !errors.Is(err, delivery.ErrHookChanged) {
		t.Errorf("UpdateHook of one that was changed meanwhile: %v, want %v", err, delivery.ErrHookChanged)
	}
	s.wantHooks(st, ask, crm, sink)

	s.must(st.DeleteHook(s.ctx(), crm.Name, s.acted("hook.remove", crm.Name)))
	if err := st.UpdateHook(s.ctx(), crm.UpdatedAt, crm, s.acted("hook.update", crm.Name)); !errors.Is(err, delivery.ErrHookChanged) {
		t.Errorf("UpdateHook of a hook that is gone: %v, want %v", err, delivery.ErrHookChanged)
	}
	if err := st.DeleteHook(s.ctx(), crm.Name, s.acted("hook.remove", crm.Name)); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("DeleteHook of a hook that is gone: %v, want %v", err, delivery.ErrNoHook)
	}
	s.wantHooks(st, ask, sink)
	if got := len(s.pending(st)); got != 5 {
		t.Errorf("%d events, want one of each of the 5 changes that were made", got)
	}
	s.exec(`UPDATE hooks SET name = 'other' WHERE name = 'crm2'`)
	if _, err := st.Hooks(s.ctx()); err == nil {
		t.Error("Hooks opened secrets that were sealed for another hook")
	}
}

// A row that only says that a webhook of the file is disabled keeps its name from
// nobody but those who say the same.
func testHooksThatOnlyMark(t *testing.T, s *suite) {
	st := s.store(nil)
	mark := delivery.Hook{
		Name: "crm", Kind: delivery.Webhook, Types: []string{"login.failed"}, URL: "https://hooks.example/in", Disabled: "gone",
		CreatedAt: s.clock(), UpdatedAt: s.clock(),
	}
	create := func(h delivery.Hook) error { return st.CreateHook(s.ctx(), h, s.acted("hook.create", h.Name)) }
	s.must(create(mark))
	if err := create(mark); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("CreateHook of the same mark: %v, want %v", err, delivery.ErrHookExists)
	}
	s.advance(time.Minute)
	moved := mark
	moved.URL, moved.CreatedAt, moved.UpdatedAt = "https://moved.example", s.clock(), s.clock()
	s.must(create(moved))
	s.wantHooks(st, moved)
	real := moved
	real.Secrets, real.Disabled = []webhook.Secret{webhook.NewSecret("whsec_canary")}, ""
	s.must(create(real))
	for _, h := range []delivery.Hook{mark, moved, real, {Name: "crm", Kind: delivery.Worker}} {
		if err := create(h); !errors.Is(err, delivery.ErrHookExists) {
			t.Errorf("CreateHook over a webhook: %v, want %v", err, delivery.ErrHookExists)
		}
	}
	s.wantHooks(st, real)
	if got := len(s.pending(st)); got != 3 {
		t.Errorf("%d events, want one of each of the 3 changes that were made", got)
	}
}

func (s *suite) wantHooks(st *store.Store, want ...delivery.Hook) {
	s.t.Helper()
	got, err := st.Hooks(s.ctx())
	if diff := cmp.Diff(want, got, cmp.Transformer("Reveal", webhook.Secret.Reveal)); err != nil || diff != "" {
		s.t.Errorf("Hooks: %v, want(-) got(+):\n%s", err, diff)
	}
}

// A change and its event are stored both or not at all.
func testHooksWithTheirEvents(t *testing.T, s *suite) {
	st := s.store(nil)
	h := delivery.Hook{Name: "crm", Kind: delivery.Worker, Types: []string{"mail.sent"}}
	s.must(st.CreateHook(s.ctx(), h, s.acted("hook.create", h.Name)))
	f := s.failure(h.Name)
	s.save(st, nil, f)
	bad := s.acted("hook.update", h.Name)
	bad.ID = "none"
	changed := h
	changed.Disabled = "changed"
	dead := f
	dead.State = delivery.Dead
	_, saved := st.SaveFailure(s.ctx(), &f, dead, bad)
	for what, err := range map[string]error{
		"CreateHook":  st.CreateHook(s.ctx(), delivery.Hook{Name: "new", Kind: delivery.Worker}, bad),
		"UpdateHook":  st.UpdateHook(s.ctx(), s.clock(), changed, bad),
		"DeleteHook":  st.DeleteHook(s.ctx(), h.Name, bad),
		"SaveFailure": saved,
	} {
		if err == nil {
			t.Errorf("%s stored an event without a proper id", what)
		}
	}
	all, err := st.Hooks(s.ctx())
	if err != nil || len(all) != 1 || all[0].Disabled != "" || !all[0].CreatedAt.Equal(s.clock()) || !all[0].UpdatedAt.Equal(s.clock()) {
		t.Errorf("Hooks = %+v, %v, want what was there, made now", all, err)
	}
	s.wantFailure(st, f)
}
