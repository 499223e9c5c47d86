package storetest

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/store"
)

// attempt is one that a digest tells from others.
func attempt(digest byte) flow.Attempt {
	return flow.Attempt{
		Digest: []byte{digest, 0, 255}, Provider: "corp",
		Traits: json.RawMessage(`{"b":"a\u0000b","a":1}`), Transient: json.RawMessage(`{"campaign":"spring"}`),
	}
}

// found is the flow as the store gives it.
func (s *suite) found(st *store.Store, id uuid.UUID) *flow.Flow {
	s.t.Helper()
	f, err := st.Flow(s.ctx(), id)
	s.must(err)
	return f
}

func testLinkAndExchangeOfAFlow(t *testing.T, s *suite) {
	st := s.store(nil)
	f := s.newFlow()
	f.Kind, f.Type, f.Exchange = flow.Login, flow.API, []byte{7, 0, 255}
	f.Link = &flow.Link{
		Account: account("corp", "Seven"), Duplicate: "ann@example.org", Methods: []string{"password", "oidc"}, Providers: []string{"other"},
	}
	s.must(st.CreateFlow(s.ctx(), f))
	changed := *f
	changed.Active, changed.Link, changed.Exchange = "password", nil, nil
	s.must(st.BeginAttempt(s.ctx(), f.ID, attempt(1)))
	s.must(st.SaveFlow(s.ctx(), &changed)) // leaves alone what it does not keep
	want, begun := *f, attempt(1)
	want.Active, want.Version, want.Attempt = "password", 1, &begun
	if diff := cmp.Diff(&want, s.found(st, f.ID), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Flow: want(-) got(+):\n%s", diff)
	}
	got, _, err := st.FlowAndGrant(s.ctx(), f.ID)
	if diff := cmp.Diff(&want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("FlowAndGrant: %v, want(-) got(+):\n%s", err, diff)
	}
}

func testAttempt(t *testing.T, s *suite) {
	one, two := s.store(nil), s.store(nil)
	f := s.newFlow()
	s.must(one.CreateFlow(s.ctx(), f))
	if f, _, err := two.TakeAttempt(s.ctx(), f.ID, nil); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("TakeAttempt of none = %+v, %v, want %v", f, err, flow.ErrNotFound)
	}
	s.must(two.BeginAttempt(s.ctx(), f.ID, attempt(1)))
	s.must(one.BeginAttempt(s.ctx(), f.ID, attempt(2)))
	for name, c := range map[string]struct {
		id     uuid.UUID
		digest byte
	}{"a former attempt": {f.ID, 1}, "an unknown one": {f.ID, 3}, "an unknown flow": {uuid.New(), 2}} {
		if f, _, err := two.TakeAttempt(s.ctx(), c.id, attempt(c.digest).Digest); !errors.Is(err, flow.ErrNotFound) {
			t.Errorf("TakeAttempt of %s = %+v, %v, want %v", name, f, err, flow.ErrNotFound)
		}
	}
	s.advance(2 * time.Hour) // that it is over is told by who asks
	got, _, err := two.TakeAttempt(s.ctx(), f.ID, attempt(2).Digest)
	want, begun := *f, attempt(2)
	want.Attempt = &begun
	if diff := cmp.Diff(&want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("TakeAttempt: %v, want(-) got(+):\n%s", err, diff)
	}
	if _, _, err := one.TakeAttempt(s.ctx(), f.ID, attempt(2).Digest); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("TakeAttempt again: %v, want %v", err, flow.ErrNotFound)
	}
	if diff := cmp.Diff(f, s.found(one, f.ID), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Flow without its attempt: want(-) got(+):\n%s", diff)
	}
	if err := one.BeginAttempt(s.ctx(), uuid.New(), attempt(4)); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("BeginAttempt in an unknown flow: %v, want %v", err, flow.ErrNotFound)
	}
}

// Whoever comes back to a flow that has made an identity is told so.
func testAttemptOfACompletedFlow(t *testing.T, s *suite) {
	one, two := s.store(nil), s.store(nil)
	for _, completed := range []bool{false, true} {
		f := s.newFlow()
		s.must(one.CreateFlow(s.ctx(), f))
		if completed {
			r := s.record("ann@example.org")
			r.Grant.FlowID = f.ID
			s.must(two.Register(s.ctx(), r))
		}
		s.must(one.BeginAttempt(s.ctx(), f.ID, attempt(1)))
		if _, granted, err := one.TakeAttempt(s.ctx(), f.ID, attempt(1).Digest); err != nil || granted != completed {
			t.Errorf("TakeAttempt says granted %t, %v, want %t", granted, err, completed)
		}
	}
}

// Who asks where the flow was made sees what was begun there.
func testAttemptOfAFreshFlow(t *testing.T, s *suite) {
	st := s.store(nil)
	f := s.newFlow()
	s.must(st.CreateFlow(s.ctx(), f))
	s.must(st.BeginAttempt(s.ctx(), f.ID, attempt(1)))
	if got, _, err := st.FlowAndGrant(s.ctx(), f.ID); err != nil || got.Attempt == nil || got.Attempt.Provider != "corp" {
		t.Errorf("FlowAndGrant = %+v, %v, want the attempt", got, err)
	}
}

func testTakeAttemptAtOnce(t *testing.T, s *suite) {
	stores := []*store.Store{s.store(nil), s.store(nil)}
	for range 5 {
		f := s.newFlow()
		s.must(stores[0].CreateFlow(s.ctx(), f))
		s.must(stores[0].BeginAttempt(s.ctx(), f.ID, attempt(1)))
		errs := atOnce(20, func(n int) error {
			_, _, err := stores[n%2].TakeAttempt(s.ctx(), f.ID, attempt(1).Digest)
			return err
		})
		s.oneOf(errs, flow.ErrNotFound)
	}
}

// oneOf holds that one call succeeded and the others gave an error.
func (s *suite) oneOf(errs []error, others error) {
	s.t.Helper()
	succeeded := 0
	for _, err := range errs {
		switch {
		case err == nil:
			succeeded++
		case !errors.Is(err, others):
			s.t.Errorf("%v, want %v", err, others)
		}
	}
	if succeeded != 1 {
		s.t.Errorf("%d of %d calls at once succeeded, want 1", succeeded, len(errs))
	}
}

// withExchange makes a flow whose app has the first half of a code.
func (s *suite) withExchange(st *store.Store, digest byte) *flow.Flow {
	s.t.Helper()
	f := s.newFlow()
	f.Type, f.CSRF, f.Exchange = flow.API, nil, []byte{digest, 0}
	s.must(st.CreateFlow(s.ctx(), f))
	return f
}

func testExchange(t *testing.T, s *suite) {
	st := s.store(nil)
	f, other, plain := s.withExchange(st, 1), s.withExchange(st, 2), s.newFlow()
	s.must(st.CreateFlow(s.ctx(), plain))
	back, wrong, sealed := []byte{9, 0}, []byte{8, 0}, []byte("\x00sealed\xff")
	for name, id := range map[string]uuid.UUID{"without a code": plain.ID, "that is gone": uuid.New()} {
		if err := st.SaveExchange(s.ctx(), id, back, sealed); !errors.Is(err, flow.ErrNotFound) {
			t.Errorf("SaveExchange in a flow %s: %v, want %v", name, err, flow.ErrNotFound)
		}
	}
	nothing := func(when string, first, second []byte) {
		t.Helper()
		if f, sealed, err := st.TakeExchange(s.ctx(), first, second); f != nil || sealed != nil || !errors.Is(err, flow.ErrNotFound) {
			t.Errorf("TakeExchange %s = %+v, %d bytes, %v, want %v", when, f, len(sealed), err, flow.ErrNotFound)
		}
	}
	nothing("before anything was saved", f.Exchange, nil)
	nothing("with nothing", nil, nil)

	for range 2 { // it failed: the form says why, as often as somebody asks
		s.must(st.SaveExchange(s.ctx(), f.ID, back, []byte{}))
		got, none, err := st.TakeExchange(s.ctx(), f.Exchange, back)
		if diff := cmp.Diff(f, got, cmpopts.EquateEmpty()); err != nil || diff != "" || none != nil {
			t.Errorf("TakeExchange of a failure: %v with %q, want(-) got(+):\n%s", err, none, diff)
		}
	}
	s.must(st.SaveExchange(s.ctx(), f.ID, back, sealed))
	s.must(st.SaveExchange(s.ctx(), other.ID, wrong, []byte("another's")))
	nothing("with another's half", f.Exchange, wrong)
	nothing("with the halves swapped", back, f.Exchange)
	nothing("with half a code", f.Exchange, nil)
	got, token, err := st.TakeExchange(s.ctx(), f.Exchange, back)
	if err != nil || got.ID != f.ID || !slices.Equal(token, sealed) {
		t.Errorf("TakeExchange = %+v, %q, %v, want %q of flow %s", got, token, err, sealed, f.ID)
	}
	nothing("again", f.Exchange, back)
	if _, token, err := st.TakeExchange(s.ctx(), other.Exchange, wrong); err != nil || string(token) != "another's" {
		t.Errorf("TakeExchange of another = %q, %v, want its own", token, err)
	}
}

func testTakeExchangeAtOnce(_ *testing.T, s *suite) {
	stores := []*store.Store{s.store(nil), s.store(nil)}
	for n := range byte(5) {
		f := s.withExchange(stores[0], n)
		s.must(stores[0].SaveExchange(s.ctx(), f.ID, []byte{9}, []byte("sealed")))
		errs := atOnce(20, func(n int) error {
			_, _, err := stores[n%2].TakeExchange(s.ctx(), f.Exchange, []byte{9})
			return err
		})
		s.oneOf(errs, flow.ErrNotFound)
	}
}
