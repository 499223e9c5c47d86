package storetest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/store"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func distinct(ids []uuid.UUID) int {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	return len(slices.Compact(ids))
}

func (s *suite) newFlow() *flow.Flow {
	now := s.clock()
	return &flow.Flow{
		ID: uuid.New(), Kind: flow.Registration, Type: flow.Browser, State: flow.ChooseMethod, SchemaID: "default",
		RequestURL: "https://id.example/self-service/registration/browser?return_to=x", ReturnTo: "x", AfterVerificationReturnTo: "y",
		Languages: "de-AT,de", CSRF: []byte{0, 1, 255}, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	}
}

func testFlows(t *testing.T, s *suite) {
	st := s.store(nil)
	api := s.newFlow()
	api.Kind, api.Type, api.CSRF = flow.Verification, flow.API, nil
	for _, f := range []*flow.Flow{s.newFlow(), api} {
		s.must(st.CreateFlow(s.ctx(), f))
		got, err := st.Flow(s.ctx(), f.ID)
		if diff := cmp.Diff(f, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("Flow: %v, want(-) got(+):\n%s", err, diff)
		}
	}
	form := flow.Form{
		Values:   map[string]any{"traits.email": "a\u0000b", "traits.age": json.Number("3").String()},
		Messages: map[string][]flow.Message{"": {{ID: 4000007, Text: "taken", Type: "error", Context: json.RawMessage(`{"b":1,"a":2}`)}}},
	}
	api.State, api.Active, api.Form, api.CSRF = flow.SentEmail, "password", form, []byte{7}
	s.must(st.SaveFlow(s.ctx(), api))
	got, err := st.Flow(s.ctx(), api.ID)
	s.must(err)
	if diff := cmp.Diff(api, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Flow after SaveFlow: want(-) got(+):\n%s", diff)
	}
	alone := s.newFlow() // each field of a form is kept, also by itself
	alone.Languages = ""
	s.must(st.CreateFlow(s.ctx(), alone))
	for n := range reflect.TypeFor[flow.Form]().NumField() {
		value := reflect.ValueOf(form).Field(n)
		alone.Form = flow.Form{}
		reflect.ValueOf(&alone.Form).Elem().Field(n).Set(value)
		s.must(st.SaveFlow(s.ctx(), alone))
		if got, err := st.Flow(s.ctx(), alone.ID); err != nil || value.IsZero() || !cmp.Equal(alone, got, cmpopts.EquateEmpty()) {
			t.Errorf("Flow of %+v = %+v, %v, want what was saved, and something in every field", alone.Form, got, err)
		}
	}
	if got, _, err = st.FlowAndGrant(s.ctx(), api.ID); err != nil || !cmp.Equal(api, got, cmpopts.EquateEmpty()) {
		t.Errorf("FlowAndGrant after SaveFlow = %+v, %v, want what was saved", got, err)
	}
	api.Form = flow.Form{}
	s.must(st.SaveFlow(s.ctx(), api))
	if got, err = st.Flow(s.ctx(), api.ID); err != nil || !got.Form.Empty() {
		t.Errorf("Flow after an empty SaveFlow = %+v, %v, want no form", got, err)
	}
	if _, err := st.Flow(s.ctx(), uuid.New()); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("Flow of an unknown id: %v, want %v", err, flow.ErrNotFound)
	}
}

// Two processes read a flow and save it: the one that comes late changes
// nothing and is told so.
func testFlowsThatTwoSave(t *testing.T, s *suite) {
	one, two := s.store(nil), s.store(nil)
	f := s.newFlow()
	f.Kind = flow.Verification
	s.must(one.CreateFlow(s.ctx(), f))
	late, _, err := two.FlowAndGrant(s.ctx(), f.ID)
	s.must(err)

	f.State, f.Form = flow.SentEmail, flow.Form{Values: map[string]any{"email": "ann@example.org"}}
	s.must(one.SaveFlow(s.ctx(), f))
	late.Form = flow.Form{Messages: map[string][]flow.Message{"": {flow.WrongCode(flow.Verification)}}}
	if err := two.SaveFlow(s.ctx(), late); !errors.Is(err, flow.ErrChanged) {
		t.Errorf("SaveFlow of a flow that was saved meanwhile = %v, want %v", err, flow.ErrChanged)
	}
	got, err := two.Flow(s.ctx(), f.ID)
	if diff := cmp.Diff(f, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("Flow: %v, want(-) got(+):\n%s", err, diff)
	}
	s.must(two.SaveFlow(s.ctx(), got)) // which is what was saved last

	f.State = flow.PassedChallenge
	s.must(one.SaveFlow(s.ctx(), f)) // whatever came between
	for _, state := range []string{flow.SentEmail, flow.ChooseMethod} {
		back := *got
		if back.State = state; !errors.Is(two.SaveFlow(s.ctx(), &back), flow.ErrChanged) {
			t.Errorf("SaveFlow puts a flow that has passed to %s", state)
		}
	}
	if got, err = two.Flow(s.ctx(), f.ID); err != nil || got.State != flow.PassedChallenge || got.Version != f.Version {
		t.Errorf("Flow = %+v, %v, want it passed in version %d", got, err, f.Version)
	}
	gone := s.newFlow()
	gone.Kind = flow.Verification
	if err := one.SaveFlow(s.ctx(), gone); !errors.Is(err, flow.ErrChanged) {
		t.Errorf("SaveFlow of a flow that is gone = %v, want %v", err, flow.ErrChanged)
	}
}

// Of many that change a flow at once none undoes what another did.
func testFlowsThatManyChange(t *testing.T, s *suite) {
	stores := []*store.Store{s.store(nil), s.store(nil)}
	f := s.newFlow()
	f.Kind = flow.Verification
	s.must(stores[0].CreateFlow(s.ctx(), f))
	const changes = 8
	for _, err := range atOnce(changes, func(n int) error {
		mine := *f
		return flow.Change(s.ctx(), stores[n%2], &mine, func(f *flow.Flow) error {
			f.Active += "x"
			return nil
		})
	}) {
		s.must(err)
	}
	if got, err := stores[0].Flow(s.ctx(), f.ID); err != nil || len(got.Active) != changes || got.Version != changes {
		t.Errorf("Flow = %+v, %v, want all of %d changes", got, err, changes)
	}
}

func testFlowAndGrant(t *testing.T, s *suite) {
	st := s.store(nil)
	begun, again, completed := s.newFlow(), s.newFlow(), s.newFlow()
	s.must(st.CreateFlow(s.ctx(), begun))
	s.must(st.CreateFlow(s.ctx(), again))
	if _, _, err := st.FlowAndGrant(s.ctx(), again.ID); err != nil {
		t.Errorf("FlowAndGrant: %v", err)
	}
	s.must(st.CreateFlow(s.ctx(), completed))
	r := s.record("ann@example.org")
	r.Grant.FlowID = completed.ID
	s.must(st.Register(s.ctx(), r))
	gone := s.registered(st, "bob@example.org").Grant.FlowID

	for name, c := range map[string]struct {
		id            uuid.UUID
		flow, granted bool
		err           error
	}{
		"begun":     {begun.ID, true, false, nil},
		"again":     {again.ID, true, false, nil},
		"completed": {completed.ID, true, true, nil},
		"gone":      {gone, false, true, nil},
		"unknown":   {uuid.New(), false, false, flow.ErrNotFound},
	} {
		f, granted, err := st.FlowAndGrant(s.ctx(), c.id)
		if !errors.Is(err, c.err) || (f != nil) != c.flow || granted != c.granted {
			t.Errorf("%s: FlowAndGrant = %v, %t, %v, want a flow %t, %t, %v", name, f, granted, err, c.flow, c.granted, c.err)
		}
		if f != nil && f.ID != c.id {
			t.Errorf("%s: FlowAndGrant gave flow %s, want %s", name, f.ID, c.id)
		}
	}
}

func testFlowsExpire(t *testing.T, s *suite) {
	st := s.store(nil)
	for range 5 {
		s.must(st.CreateFlow(s.ctx(), s.newFlow()))
	}
	s.advance(time.Minute)
	young := s.newFlow()
	s.must(st.CreateFlow(s.ctx(), young))
	if n, err := st.DeleteExpiredFlows(s.ctx(), 10); n != 0 || err != nil {
		t.Errorf("DeleteExpiredFlows before the time = %d, %v, want 0", n, err)
	}
	s.advance(time.Hour - time.Minute)
	for _, want := range []int{3, 2, 0} {
		if n, err := st.DeleteExpiredFlows(s.ctx(), 3); n != want || err != nil {
			t.Errorf("DeleteExpiredFlows(3) = %d, %v, want %d", n, err, want)
		}
	}
	_, err := st.Flow(s.ctx(), young.ID)
	s.must(err)
}

func testFlowsAreCapped(t *testing.T, s *suite) {
	const limit = 200
	st := s.store(func(o *store.Options) { o.MaxFlows = limit })
	var all []uuid.UUID
	for range 2*limit + limit/2 {
		f := s.newFlow()
		s.must(st.CreateFlow(s.ctx(), f))
		all = append(all, f.ID)
	}
	var left []uuid.UUID
	for _, id := range all {
		if _, err := st.Flow(s.ctx(), id); err == nil {
			left = append(left, id)
		}
	}
	if len(left) < limit || len(left) > limit+limit/100 {
		t.Errorf("%d flows are left, want %d and at most one in a hundred more", len(left), limit)
	}
	if !slices.Equal(left, all[len(all)-len(left):]) {
		t.Error("other flows than the oldest are gone")
	}
}

// Who has a code in the mail can use it, whoever begins flows meanwhile, and however
// many; only as many who wait as may be kept are too many.
func testFlowsThatWaitOutliveOthers(t *testing.T, s *suite) {
	const limit = 200
	capped := func(o *store.Options) { o.MaxFlows = limit }
	stores := []*store.Store{s.store(capped), s.store(capped)}
	add := func(count int, state string) (ids []uuid.UUID) {
		for n := range count {
			f := s.newFlow()
			f.Kind, f.State = flow.Verification, state
			s.must(stores[n%2].CreateFlow(s.ctx(), f))
			ids = append(ids, f.ID)
		}
		return ids
	}
	left := func(ids []uuid.UUID) (n int) {
		for _, id := range ids {
			if _, err := stores[0].Flow(s.ctx(), id); err == nil {
				n++
			}
		}
		return n
	}
	dropped := func() (d store.DroppedFlows) {
		for _, st := range stores {
			d.Begun += st.DroppedFlows().Begun
			d.Waiting += st.DroppedFlows().Waiting
		}
		return d
	}
	const slack = 2 * limit / 100 // of two processes

	first := add(1, flow.SentEmail)
	begun := add(3*limit, flow.ChooseMethod)
	if left(first) != 1 {
		t.Error("a verification that waits for its code is gone, after a flood of flows that were begun")
	}
	n := left(begun)
	if n < limit || n > limit+slack {
		t.Errorf("%d flows that were begun are left, want %d and at most %d more", n, limit, slack)
	}
	if got, want := dropped(), (store.DroppedFlows{Begun: int64(3*limit - n)}); got != want {
		t.Errorf("dropped = %+v, want %+v", got, want)
	}

	waiting := add(3*limit, flow.SentEmail)
	n = left(waiting)
	if left(first) != 0 || left(begun) != 0 || n < 2*limit || n > 2*limit+slack {
		t.Errorf("%d that wait for a code are left, and %d and %d older flows; want %d and at most %d more", n, left(first), left(begun), 2*limit, slack)
	}
	want := store.DroppedFlows{Begun: 3 * limit, Waiting: int64(3*limit - n + 1)}
	if got := dropped(); got != want {
		t.Errorf("dropped = %+v, want %+v", got, want)
	}

	s.advance(time.Hour) // what is over by itself was not dropped
	add(limit, flow.SentEmail)
	if n := left(waiting); n > limit+slack || dropped() != want {
		t.Errorf("%d flows that are over are left, and dropped = %+v; want about %d, and %+v as before", n, dropped(), limit, want)
	}
}

func testErrors(t *testing.T, s *suite) {
	st := s.store(nil)
	id, body := uuid.New(), json.RawMessage(`{"code":500,  "a":"b"}`)
	s.must(st.SaveError(s.ctx(), id, body))
	got, created, err := st.SavedError(s.ctx(), id)
	if err != nil || string(got) != string(body) || !created.Equal(s.clock()) {
		t.Errorf("SavedError = %s, %v, %v, want %s, %v", got, created, err, body, s.clock())
	}
	if _, _, err := st.SavedError(s.ctx(), uuid.New()); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("SavedError of an unknown id: %v, want %v", err, flow.ErrNotFound)
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{s.clock(), 0}, {s.clock().Add(time.Second), 1}, {s.clock().Add(time.Second), 0}} {
		if n, err := st.DeleteErrors(s.ctx(), c.before, 10); n != c.want || err != nil {
			t.Errorf("DeleteErrors(%v) = %d, %v, want %d", c.before, n, err, c.want)
		}
	}
}

func testAdminTokens(t *testing.T, s *suite) {
	st := s.store(nil)
	one, two := [32]byte{1}, [32]byte{2}
	s.must(st.AddAdminToken(s.ctx(), "ops", "admin", one, s.acted("token.create", "ops")))
	s.must(st.AddAdminToken(s.ctx(), "grafana", "metrics", two))
	if err := st.AddAdminToken(s.ctx(), "ops", "metrics", [32]byte{3}, s.acted("token.create", "ops")); !errors.Is(err, operator.ErrTokenExists) {
		t.Errorf("AddAdminToken with a taken name: %v, want %v", err, operator.ErrTokenExists)
	}
	if name, scope, ok, err := st.AdminToken(s.ctx(), two); name != "grafana" || scope != "metrics" || !ok || err != nil {
		t.Errorf("AdminToken = %s, %s, %t, %v, want grafana, metrics", name, scope, ok, err)
	}
	want := []store.AdminToken{{Name: "grafana", Scope: "metrics", CreatedAt: s.clock()}, {Name: "ops", Scope: "admin", CreatedAt: s.clock()}}
	if got, err := st.AdminTokens(s.ctx()); err != nil || !slices.Equal(got, want) {
		t.Errorf("AdminTokens = %+v, %v, want %+v", got, err, want)
	}
	for _, want := range []bool{true, false} {
		if got, err := st.RemoveAdminToken(s.ctx(), "ops", s.acted("token.remove", "ops")); got != want || err != nil {
			t.Errorf("RemoveAdminToken = %t, %v, want %t", got, err, want)
		}
	}
	if _, _, ok, err := st.AdminToken(s.ctx(), one); ok || err != nil {
		t.Errorf("AdminToken after RemoveAdminToken = %t, %v, want false", ok, err)
	}
	if got, want := s.types(st), []string{"admin.acted ", "admin.acted "}; !slices.Equal(got, want) {
		t.Errorf("events = %q, want one of what was made and one of what was removed", got)
	}
}
