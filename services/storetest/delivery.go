package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
)

var (
	_ delivery.Hooks    = (*store.Store)(nil)
	_ delivery.Failures = (*store.Store)(nil)
	_ delivery.Reports  = (*store.Store)(nil)
)

// failure is one that waits for a minute.
func (s *suite) failure(hook string) delivery.Failure {
	return delivery.Failure{
		Hook: hook, EventID: uuid.Must(uuid.NewV7()).String(), State: delivery.Waiting, Attempts: 1, Round: 0, Reason: "timeout: no answer",
		StreamSeq: 7, FirstAt: s.clock(), LastAt: s.clock(), NextAt: s.clock().Add(time.Minute),
	}
}

// save stores a failure, which must be possible.
func (s *suite) save(st *store.Store, former *delivery.Failure, f delivery.Failure) {
	s.t.Helper()
	saved, err := st.SaveFailure(s.ctx(), former, f)
	s.must(err)
	if !saved {
		s.t.Fatalf("SaveFailure(%+v, %+v) = false", former, f)
	}
}

var anyN = cmpopts.IgnoreFields(delivery.Failure{}, "N")

func (s *suite) wantFailure(st *store.Store, want delivery.Failure) {
	s.t.Helper()
	got, err := st.Failure(s.ctx(), want.Hook, uuid.MustParse(want.EventID))
	if diff := cmp.Diff(want, got, anyN); err != nil || diff != "" {
		s.t.Errorf("Failure: %v, want(-) got(+):\n%s", err, diff)
	}
}

func testSaveFailure(t *testing.T, s *suite) {
	st := s.store(nil)
	f := s.failure("crm")
	if _, err := st.Failure(s.ctx(), f.Hook, uuid.MustParse(f.EventID)); !errors.Is(err, delivery.ErrNoFailure) {
		t.Errorf("Failure before there is one: %v, want %v", err, delivery.ErrNoFailure)
	}
	s.save(st, nil, f)
	s.wantFailure(st, f)
	elsewhere := f
	elsewhere.Hook = "erp"
	s.save(st, nil, elsewhere)

	s.advance(time.Minute)
	dead := f
	dead.State, dead.Attempts, dead.Round, dead.Reason, dead.StreamSeq, dead.LastAt, dead.NextAt = delivery.Dead, 2, 1, "attempts", 9, s.clock(), time.Time{}
	for what, change := range map[string]func(*delivery.Failure){
		"state":    func(f *delivery.Failure) { f.State = delivery.Done },
		"attempts": func(f *delivery.Failure) { f.Attempts++ },
		"round":    func(f *delivery.Failure) { f.Round++ },
		"hook":     func(f *delivery.Failure) { f.Hook = "nobody" },
	} {
		former, next := f, dead
		change(&former)
		next.Hook = former.Hook
		if saved, err := st.SaveFailure(s.ctx(), &former, next, s.acted("hook.xx", "crm")); saved || err != nil {
			t.Errorf("SaveFailure over one of another %s = %v, %v, want false", what, saved, err)
		}
	}
	if saved, err := st.SaveFailure(s.ctx(), nil, dead, s.acted("hook.xx", "crm")); saved || err != nil {
		t.Errorf("SaveFailure over one where there was to be none = %v, %v, want false", saved, err)
	}
	s.wantFailure(st, f)
	if got := len(s.pending(st)); got != 0 {
		t.Errorf("%d events of failures that were not saved", got)
	}
	saved, err := st.SaveFailure(s.ctx(), &f, dead, s.acted("hook.xx", "crm"), s.acted("hook.yy", "crm"))
	if !saved || err != nil {
		t.Errorf("SaveFailure = %v, %v, want true", saved, err)
	}
	s.wantFailure(st, dead)
	s.wantFailure(st, elsewhere)
	if got := len(s.pending(st)); got != 2 {
		t.Errorf("%d events, want the 2 of the failure that was saved", got)
	}
}

// Of reports that come at the same time one is stored, with its event.
func testSaveFailureAtOnce(t *testing.T, s *suite) {
	one, two := s.store(nil), s.store(nil)
	var former *delivery.Failure
	next := s.failure("crm")
	for round := range 10 {
		var won atomic.Int64
		for _, err := range atOnce(8, func(n int) error {
			st := []*store.Store{one, two}[n%2]
			saved, err := st.SaveFailure(s.ctx(), former, next, s.acted("hook.xx", "crm"))
			if saved {
				won.Add(1)
			}
			return err
		}) {
			s.must(err)
		}
		if got := len(s.pending(one)); won.Load() != 1 || got != round+1 {
			t.Fatalf("round %d: %d of 8 were saved, with %d events in all, want 1 and %d", round, won.Load(), got, round+1)
		}
		last := next
		former = &last
		next.Attempts++
	}
}

func testDueFailures(t *testing.T, s *suite) {
	st := s.store(nil)
	if next, err := st.NextDue(s.ctx()); err != nil || !next.IsZero() {
		t.Errorf("NextDue of none = %v, %v, want zero", next, err)
	}
	var all []delivery.Failure
	for n := range 7 {
		f := s.failure("crm")
		f.NextAt = s.clock().Add(time.Duration(7-n) * time.Minute) // the last is due first
		s.save(st, nil, f)
		all = append(all, f)
	}
	ended := s.failure("crm")
	ended.State, ended.NextAt = delivery.Dead, time.Time{}
	s.save(st, nil, ended)
	slices.Reverse(all)
	if next, err := st.NextDue(s.ctx()); err != nil || !next.Equal(all[0].NextAt) {
		t.Errorf("NextDue = %v, %v, want %v", next, err, all[0].NextAt)
	}
	due := func(at time.Time, limit int, want ...delivery.Failure) {
		t.Helper()
		got, err := st.DueFailures(s.ctx(), at, time.Hour, limit)
		if diff := cmp.Diff(want, got, anyN, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("DueFailures: %v, want(-) got(+):\n%s", err, diff)
		}
	}
	at := s.clock().Add(6 * time.Minute)
	due(s.clock(), 10)
	due(at, 3, all[:3]...)
	due(at, 10, all[3:6]...)
	due(at, 10)
	if next, err := st.NextDue(s.ctx()); err != nil || !next.Equal(all[6].NextAt) {
		t.Errorf("NextDue = %v, %v, want %v, which nobody has", next, err, all[6].NextAt)
	}
	for n := range all[:6] {
		all[n].NextAt = at.Add(time.Hour) // the lease is over
	}
	due(at.Add(time.Hour-time.Microsecond), 10, all[6])
	due(at.Add(time.Hour), 10, byAge(all[:6])...)
}

// byAge gives failures that were stored in the opposite order.
func byAge(all []delivery.Failure) []delivery.Failure {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// Two processes never get the same failure, and together all of them.
func testDueFailuresAtOnce(t *testing.T, s *suite) {
	one, two := s.store(nil), s.store(nil)
	const all = 120
	for n := range all {
		f := s.failure(fmt.Sprintf("hook-%d", n%3))
		f.NextAt = s.clock()
		s.save(one, nil, f)
	}
	taken := make([][]delivery.Failure, 8)
	for _, err := range atOnce(len(taken), func(n int) error {
		st := []*store.Store{one, two}[n%2]
		for {
			due, err := st.DueFailures(s.ctx(), s.clock(), time.Minute, 7)
			if err != nil || len(due) == 0 {
				return err
			}
			taken[n] = append(taken[n], due...)
		}
	}) {
		s.must(err)
	}
	seen := map[int64]bool{}
	for _, f := range slices.Concat(taken...) {
		if seen[f.N] {
			t.Errorf("failure %d was given twice", f.N)
		}
		seen[f.N] = true
	}
	// One that was locked may have been passed over: whoever comes next gets it.
	due, err := one.DueFailures(s.ctx(), s.clock(), time.Minute, all)
	if err != nil || len(seen)+len(due) != all {
		t.Errorf("%d failures were given, then %d, %v, want %d", len(seen), len(due), err, all)
	}
}

func testRetryPublished(t *testing.T, s *suite) {
	st := s.store(nil)
	now := s.clock()
	for name, meanwhile := range map[string]func(delivery.Failure) delivery.Failure{
		"nothing":     nil,
		"a report":    func(f delivery.Failure) delivery.Failure { f.Attempts++; f.NextAt = now.Add(time.Hour); return f },
		"a last one":  func(f delivery.Failure) delivery.Failure { f.State, f.NextAt = delivery.Dead, time.Time{}; return f },
		"a new round": func(f delivery.Failure) delivery.Failure { f.Round++; f.NextAt = now.Add(time.Hour); return f },
	} {
		f := s.failure("crm")
		f.NextAt = now
		s.save(st, nil, f)
		due, err := st.DueFailures(s.ctx(), now, time.Minute, 10)
		s.must(err)
		if len(due) != 1 {
			t.Fatalf("%s: %d failures are due, want 1", name, len(due))
		}
		want := f
		want.NextAt, want.StreamSeq = time.Time{}, 99
		if meanwhile != nil {
			want = meanwhile(f)
			s.save(st, &due[0], want)
		}
		s.must(st.RetryPublished(s.ctx(), due[0], 99))
		s.wantFailure(st, want)
	}
}

func testRetriesDone(t *testing.T, s *suite) {
	st := s.store(nil)
	retried := func(hook string, seq uint64) delivery.Failure {
		f := s.failure(hook)
		s.save(st, nil, f)
		s.must(st.RetryPublished(s.ctx(), f, seq))
		f.StreamSeq, f.NextAt = seq, time.Time{}
		return f
	}
	early, last, late, others := retried("crm", 10), retried("crm", 20), retried("crm", 21), retried("erp", 10)
	again := retried("crm", 11)
	reported := again
	reported.Attempts, reported.NextAt = 2, s.clock().Add(time.Hour)
	s.save(st, &again, reported)
	dead := s.failure("crm")
	dead.State, dead.StreamSeq, dead.NextAt = delivery.Dead, 12, time.Time{}
	s.save(st, nil, dead)
	s.wantFailedAt(st, "crm", map[uint64]bool{0: false, 7: false, 10: false, 11: true, 12: true, 20: false})

	s.advance(time.Minute)
	if done, err := st.RetriesDone(s.ctx(), "crm", 20); err != nil || done != 2 {
		t.Errorf("RetriesDone = %d, %v, want 2", done, err)
	}
	for _, f := range []*delivery.Failure{&early, &last} {
		f.State, f.LastAt = delivery.Done, s.clock()
	}
	for _, f := range []delivery.Failure{early, last, late, others, reported, dead} {
		s.wantFailure(st, f)
	}
	if done, err := st.RetriesDone(s.ctx(), "crm", 20); err != nil || done != 0 {
		t.Errorf("RetriesDone again = %d, %v, want 0", done, err)
	}
	s.wantFailedAt(st, "crm", map[uint64]bool{10: false, 11: true, 12: true, 20: false})
	s.wantFailedAt(st, "erp", map[uint64]bool{11: false, 12: false})
}

func testRetriesLost(t *testing.T, s *suite) {
	st := s.store(nil)
	retried := func(hook string) delivery.Failure {
		f := s.failure(hook)
		f.LastAt = s.clock()
		s.save(st, nil, f)
		s.must(st.RetryPublished(s.ctx(), f, 10))
		f.StreamSeq, f.NextAt = 10, time.Time{}
		return f
	}
	lost, others := retried("crm"), retried("erp")
	waits := s.failure("crm")
	waits.LastAt, waits.NextAt = s.clock(), s.clock().Add(time.Hour)
	s.save(st, nil, waits)
	s.advance(time.Minute)
	made := s.clock()
	kept := retried("crm")
	s.advance(time.Minute)
	if n, err := st.RetriesLost(s.ctx(), "crm", made); err != nil || n != 1 {
		t.Errorf("RetriesLost = %d, %v, want 1", n, err)
	}
	lost.LastAt, lost.NextAt = s.clock(), s.clock()
	for _, f := range []delivery.Failure{lost, others, waits, kept} {
		s.wantFailure(st, f)
	}
}

func (s *suite) wantFailedAt(st *store.Store, hook string, want map[uint64]bool) {
	s.t.Helper()
	for seq, want := range want {
		if got, err := st.FailedAt(s.ctx(), hook, seq); err != nil || got != want {
			s.t.Errorf("FailedAt(%s, %d) = %v, %v, want %v", hook, seq, got, err, want)
		}
	}
}

// A message whose stream sequence the worker did not know was not message 0.
func testFailedAtUnknown(_ *testing.T, s *suite) {
	st := s.store(nil)
	f := s.failure("crm")
	f.StreamSeq = 0
	s.save(st, nil, f)
	s.wantFailedAt(st, "crm", map[uint64]bool{0: false})
	g := s.failure("crm") // StreamSeq 7
	s.save(st, nil, g)
	s.wantFailedAt(st, "crm", map[uint64]bool{7: true, 8: false})
	s.wantFailedAt(st, "erp", map[uint64]bool{7: false})
}

func testFailures(t *testing.T, s *suite) {
	st := s.store(nil)
	states := []delivery.State{delivery.Waiting, delivery.Dead, delivery.Discarded}
	var all []delivery.Failure
	for n := range 9 {
		f := s.failure([]string{"crm", "erp"}[n%2])
		f.State = states[n%3]
		if n == 8 {
			f.Reason = "it has had 50% of a_B! and more"
		}
		s.save(st, nil, f)
		all = append(all, f)
	}
	first, err := st.Failure(s.ctx(), all[0].Hook, uuid.MustParse(all[0].EventID))
	s.must(err)
	for name, c := range map[string]struct {
		query delivery.FailureQuery
		want  []int
	}{
		"all":        {delivery.FailureQuery{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"limit":      {delivery.FailureQuery{Limit: 2}, []int{0, 1}},
		"after":      {delivery.FailureQuery{After: first.N, Limit: 2}, []int{1, 2}},
		"hook":       {delivery.FailureQuery{Hook: "erp"}, []int{1, 3, 5, 7}},
		"state":      {delivery.FailureQuery{State: delivery.Dead}, []int{1, 4, 7}},
		"both":       {delivery.FailureQuery{Hook: "crm", State: delivery.Waiting, After: first.N}, []int{6}},
		"event":      {delivery.FailureQuery{EventID: all[4].EventID}, []int{4}},
		"reason":     {delivery.FailureQuery{Reason: "50% of A_b!", Hook: "crm"}, []int{8}},
		"no pattern": {delivery.FailureQuery{Reason: "50% of %"}, nil},
		"not logged": {delivery.FailureQuery{EventType: "identity.created"}, nil},
		"no event":   {delivery.FailureQuery{EventID: "none"}, nil},
		"not theirs": {delivery.FailureQuery{EventID: all[4].EventID, Hook: "erp"}, nil},
	} {
		got, err := st.Failures(s.ctx(), c.query)
		var want []delivery.Failure
		for _, n := range c.want {
			want = append(want, all[n])
		}
		if diff := cmp.Diff(want, got, anyN, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: Failures: %v, want(-) got(+):\n%s", name, err, diff)
		}
	}
	s.wantPages(st, len(all))
	counts, err := st.FailureCounts(s.ctx())
	want := map[string]map[delivery.State]int64{
		"crm": {delivery.Waiting: 2, delivery.Dead: 1, delivery.Discarded: 2},
		"erp": {delivery.Waiting: 1, delivery.Dead: 2, delivery.Discarded: 1},
	}
	if diff := cmp.Diff(want, counts); err != nil || diff != "" {
		t.Errorf("FailureCounts: %v, want(-) got(+):\n%s", err, diff)
	}
}

// testFailuresByType: as soon as the log has the event, it tells the type.
func testFailuresByType(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	f := s.failure("crm")
	f.EventID = r.Grant.EventID.String()
	s.save(st, nil, f)
	s.save(st, nil, s.failure("crm"))
	s.must(st.Move(s.ctx(), s.publish(st, 1)))
	for eventType, want := range map[string]int{"": 2, "identity.created": 1, "identity.deleted": 0} {
		got, err := st.Failures(s.ctx(), delivery.FailureQuery{EventType: eventType})
		if err != nil || len(got) != want {
			t.Errorf("Failures of type %q: %d, %v, want %d", eventType, len(got), err, want)
			continue
		}
		for _, f := range got {
			if logged := f.EventID == r.Grant.EventID.String(); logged != (f.EventType == "identity.created") {
				t.Errorf("Failures of type %q: %+v, want the type of the event that is logged alone", eventType, f)
			}
		}
	}
}

// wantPages reads all in pages: each failure comes once, by N.
func (s *suite) wantPages(st *store.Store, want int) {
	s.t.Helper()
	q, seen := delivery.FailureQuery{Limit: 4}, 0
	for {
		page, err := st.Failures(s.ctx(), q)
		s.must(err)
		for _, f := range page {
			if f.N <= q.After {
				s.t.Fatalf("failure %d comes behind %d", f.N, q.After)
			}
			q.After = f.N
			seen++
		}
		if len(page) < q.Limit {
			break
		}
	}
	if seen != want {
		s.t.Errorf("pages hold %d failures, want %d", seen, want)
	}
}

func testDeleteFailures(t *testing.T, s *suite) {
	st := s.store(nil)
	keep := map[string]delivery.State{}
	var old []string
	for n, state := range []delivery.State{delivery.Waiting, delivery.Dead, delivery.Discarded, delivery.Done, delivery.Done, delivery.Done} {
		f := s.failure("crm")
		f.State, f.LastAt = state, s.clock().Add(time.Duration(n)*time.Minute)
		s.save(st, nil, f)
		if keep[f.EventID] = state; n >= 2 && n < 5 {
			delete(keep, f.EventID)
			old = append(old, f.EventID)
		}
	}
	before := s.clock().Add(5 * time.Minute)
	if n, err := st.DeleteFailures(s.ctx(), before, 1); err != nil || n != 1 {
		t.Errorf("DeleteFailures with limit 1 = %d, %v, want 1", n, err)
	}
	if _, err := st.Failure(s.ctx(), "crm", uuid.MustParse(old[0])); !errors.Is(err, delivery.ErrNoFailure) {
		t.Errorf("the oldest: %v, want %v", err, delivery.ErrNoFailure)
	}
	if n, err := st.DeleteFailures(s.ctx(), before, 10); err != nil || n != 2 {
		t.Errorf("DeleteFailures = %d, %v, want 2", n, err)
	}
	left, err := st.Failures(s.ctx(), delivery.FailureQuery{})
	s.must(err)
	got := map[string]delivery.State{}
	for _, f := range left {
		got[f.EventID] = f.State
	}
	if diff := cmp.Diff(keep, got); diff != "" {
		t.Errorf("left: want(-) got(+):\n%s", diff)
	}

	one := s.failure("crm")
	s.save(st, nil, one)
	for range 2 { // one that is gone is no error
		s.must(st.DeleteFailure(s.ctx(), "crm", uuid.MustParse(one.EventID)))
	}
	if after, err := st.Failures(s.ctx(), delivery.FailureQuery{}); err != nil || len(after) != len(left) {
		t.Errorf("behind the deletion of one there are %d, %v, want %d", len(after), err, len(left))
	}

	// A hook goes with its failures.
	h := delivery.Hook{Name: "crm", Kind: delivery.Worker}
	s.must(st.CreateHook(s.ctx(), h, s.acted("hook.create", h.Name)))
	s.save(st, nil, s.failure("erp"))
	done := s.failure("erp") // is not counted
	done.State, done.NextAt = delivery.Done, time.Time{}
	s.save(st, nil, done)
	s.must(st.DeleteHook(s.ctx(), h.Name, s.acted("hook.remove", h.Name)))
	counts, err := st.FailureCounts(s.ctx())
	want := map[string]map[delivery.State]int64{"erp": {delivery.Waiting: 1}}
	if diff := cmp.Diff(want, counts); err != nil || diff != "" {
		t.Errorf("FailureCounts behind a hook that was deleted: %v, want(-) got(+):\n%s", err, diff)
	}
}
