package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
)

var _ delivery.Log = (*store.Store)(nil)

// logged registers n people and puts their events into the log.
func (s *suite) logged(st *store.Store, n int) {
	s.t.Helper()
	s.people(st, n)
	s.must(st.Move(s.ctx(), s.publish(st, n)))
}

// checkpoint is one of the record with that seq, which must be in the log.
func (s *suite) checkpoint(st *store.Store, seq int64) audit.Checkpoint {
	s.t.Helper()
	records, err := st.Events(s.ctx(), audit.Query{After: seq - 1, Limit: 1})
	s.must(err)
	if len(records) != 1 || records[0].Seq != seq {
		s.t.Fatalf("record %d is not in the log", seq)
	}
	key, err := audit.NewKey(make([]byte, 32))
	s.must(err)
	return key.Sign(seq, records[0].Hash, s.clock())
}

func testCheckpoints(t *testing.T, s *suite) {
	st := s.store(nil)
	if last, err := st.LastCheckpoint(s.ctx()); err != nil || last.Seq != 0 {
		t.Errorf("LastCheckpoint of none = %+v, %v, want the zero one", last, err)
	}
	s.logged(st, 9)
	var all []audit.Checkpoint
	for _, seq := range []int64{3, 9, 6} {
		c := s.checkpoint(st, seq)
		s.must(st.SaveCheckpoint(s.ctx(), c))
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b audit.Checkpoint) int { return int(a.Seq - b.Seq) })
	again := all[1]
	again.KeyID = "another"
	s.must(st.SaveCheckpoint(s.ctx(), again))
	for _, c := range []struct {
		after int64
		limit int
		want  []audit.Checkpoint
	}{{0, 10, all}, {0, 2, all[:2]}, {3, 10, all[1:]}, {9, 10, nil}} {
		got, err := st.Checkpoints(s.ctx(), c.after, c.limit)
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("Checkpoints(%d, %d): %v, want(-) got(+):\n%s", c.after, c.limit, err, diff)
		}
	}
	for _, c := range []struct {
		before int64
		limit  int
		want   []audit.Checkpoint
	}{{0, 10, []audit.Checkpoint{all[2], all[1], all[0]}}, {0, 2, []audit.Checkpoint{all[2], all[1]}}, {6, 10, all[:1]}, {3, 10, nil}} {
		got, err := st.NewestCheckpoints(s.ctx(), c.before, c.limit)
		if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("NewestCheckpoints(%d, %d): %v, want(-) got(+):\n%s", c.before, c.limit, err, diff)
		}
	}
	if got, err := st.LastCheckpoint(s.ctx()); err != nil || !cmp.Equal(all[2], got) {
		t.Errorf("LastCheckpoint = %+v, %v, want %+v", got, err, all[2])
	}

	// A power cut undid what was signed: no checkpoint may vouch for it.
	wrong, undone := s.checkpoint(st, 8), s.checkpoint(st, 9)
	wrong.Head[0]++
	undone.Seq = 10
	for what, c := range map[string]audit.Checkpoint{"another record": wrong, "no record": undone} {
		if err := st.SaveCheckpoint(s.ctx(), c); !errors.Is(err, audit.ErrNoRecord) {
			t.Errorf("SaveCheckpoint of %s: %v, want %v", what, err, audit.ErrNoRecord)
		}
	}
}

func testCheckpointsTaken(t *testing.T, s *suite) {
	st := s.store(nil)
	want := func(sink string, seq int64, known bool) {
		t.Helper()
		if got, saved, err := st.CheckpointsTaken(s.ctx(), sink); err != nil || got != seq || saved != known {
			t.Errorf("CheckpointsTaken(%s) = %d, %t, %v, want %d, %t", sink, got, saved, err, seq, known)
		}
	}
	want("one", 0, false)
	s.must(st.SaveCheckpointsTaken(s.ctx(), "one", 0))
	want("one", 0, true)
	s.must(st.SaveCheckpointsTaken(s.ctx(), "one", 7))
	s.must(st.SaveCheckpointsTaken(s.ctx(), "two", 3))
	want("one", 7, true)
	want("two", 3, true)
}

// Whatever was pruned, the log begins behind a checkpoint and goes on where it ended.
func testPruneEvents(t *testing.T, s *suite) {
	st := s.store(nil)
	prune := func(upTo int64, limit, want int, first, last int64) {
		t.Helper()
		n, err := st.PruneEvents(s.ctx(), upTo, limit)
		s.must(err)
		gotFirst, gotLast, err := st.EventSpan(s.ctx())
		s.must(err)
		if n != want || gotFirst != first || gotLast != last {
			t.Errorf("PruneEvents(%d, %d) = %d, then records %d to %d; want %d, %d to %d", upTo, limit, n, gotFirst, gotLast, want, first, last)
		}
	}
	prune(10, 10, 0, 0, 0)
	s.logged(st, 20)
	prune(20, 100, 0, 1, 20) // no checkpoint
	var signed []audit.Checkpoint
	for _, seq := range []int64{2, 4, 10, 15} {
		c := s.checkpoint(st, seq)
		s.must(st.SaveCheckpoint(s.ctx(), c))
		signed = append(signed, c)
	}
	prune(1, 100, 0, 1, 20) // in front of the first
	prune(14, 4, 4, 5, 20)  // as many as the limit
	prune(14, 3, 6, 11, 20) // the next is further than the limit
	prune(14, 100, 0, 11, 20)
	s.wantWhole(st, signed, 10)
	prune(100, 100, 5, 16, 20)
	s.wantWhole(st, signed, 5)

	last := s.checkpoint(st, 20)
	s.must(st.SaveCheckpoint(s.ctx(), last))
	prune(100, 100, 5, 0, 0)
	if seq, hash, err := st.EventHead(s.ctx()); err != nil || seq != 20 || hash != last.Head {
		t.Errorf("EventHead of a log that was pruned wholly = %d, %x, %v, want 20, %x", seq, hash, err, last.Head)
	}
	s.logged(st, 3) // this process remembers the end
	s.wantWhole(st, append(signed, last), 3)
	s.must(st.SaveCheckpoint(s.ctx(), s.checkpoint(st, 23)))
	prune(100, 100, 3, 0, 0)
	s.logged(s.store(nil), 2) // this one does not
	prune(0, 100, 0, 24, 25)
	s.wantWhole(st, []audit.Checkpoint{s.lastCheckpoint(st)}, 2)
}

func (s *suite) lastCheckpoint(st *store.Store) audit.Checkpoint {
	s.t.Helper()
	c, err := st.LastCheckpoint(s.ctx())
	s.must(err)
	return c
}

// wantWhole verifies what the log holds.
func (s *suite) wantWhole(st *store.Store, signed []audit.Checkpoint, want int64) {
	s.t.Helper()
	key, err := audit.NewKey(make([]byte, 32))
	s.must(err)
	v := audit.Verifier{Keys: []audit.PublicKey{key.Public()}}
	for _, c := range signed {
		s.must(v.Checkpoint(c))
	}
	records, err := st.Events(s.ctx(), audit.Query{})
	s.must(err)
	for _, r := range records {
		s.must(v.Record(r))
	}
	report, err := v.End()
	if err != nil || report.Records != want {
		s.t.Errorf("verify: %+v, %v, want %d records", report, err, want)
	}
}

func testEventPayload(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	id := r.Grant.EventID
	none := func(when string) {
		t.Helper()
		if _, _, err := st.EventPayload(s.ctx(), id); !errors.Is(err, delivery.ErrNoEvent) {
			t.Errorf("EventPayload %s: %v, want %v", when, err, delivery.ErrNoEvent)
		}
	}
	rows := s.publish(st, 1)
	payload, eventType, err := st.EventPayload(s.ctx(), id)
	if err != nil || eventType != "identity.created" || string(payload) != string(rows[0].Payload) {
		t.Errorf("EventPayload of an event in the outbox = %s, %s, %v, want %s, identity.created", payload, eventType, err, rows[0].Payload)
	}
	s.must(st.Move(s.ctx(), rows))
	payload, eventType, err = st.EventPayload(s.ctx(), id)
	if err != nil || eventType != "identity.created" || string(payload) != string(rows[0].Payload) {
		t.Errorf("EventPayload = %s, %s, %v, want %s, identity.created", payload, eventType, err, rows[0].Payload)
	}
	if got, err := st.EventRecord(s.ctx(), id); err != nil || got.Seq != 1 || got.EventID != id.String() || audit.Next(got.Former, got.Payload) != got.Hash {
		t.Errorf("EventRecord = %+v, %v, want the first record", got, err)
	}
	s.must(st.SaveCheckpoint(s.ctx(), s.checkpoint(st, 1)))
	_, err = st.PruneEvents(s.ctx(), 1, 10)
	s.must(err)
	none("of an event that was pruned")
	if _, err := st.EventRecord(s.ctx(), id); !errors.Is(err, delivery.ErrNoEvent) {
		t.Errorf("EventRecord of an event that was pruned: %v, want %v", err, delivery.ErrNoEvent)
	}
	if _, _, err := st.EventPayload(s.ctx(), uuid.New()); !errors.Is(err, delivery.ErrNoEvent) {
		t.Errorf("EventPayload of none: %v, want %v", err, delivery.ErrNoEvent)
	}
}

// wantSeqs checks which records a query selects.
func (s *suite) wantSeqs(st *store.Store, name string, q audit.Query, want ...int64) {
	s.t.Helper()
	got, err := st.Events(s.ctx(), q)
	var seqs []int64
	for _, r := range got {
		seqs = append(seqs, r.Seq)
	}
	if err != nil || !slices.Equal(seqs, want) {
		s.t.Errorf("%s: Events(%+v) = records %d, %v, want %d", name, q, seqs, err, want)
	}
}

func testEventsByType(_ *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org") // 1
	bob := s.registered(st, "bob@example.org")
	for n := range 3 { // 3 to 11, of three types in turn
		s.must(st.Append(s.ctx(), newRefused(s.clock(), ann)))
		s.must(st.Append(s.ctx(), newRefused(s.clock(), bob)))
		s.must(st.Append(s.ctx(), s.acted("x", fmt.Sprint(n))))
	}
	s.must(st.Move(s.ctx(), s.publish(st, 100)))
	created, refused, acted := "identity.created", "session.refused", "admin.acted"
	s.wantSeqs(st, "two types", audit.Query{Types: []string{acted, created}}, 1, 2, 5, 8, 11)
	s.wantSeqs(st, "a page of two", audit.Query{Types: []string{acted, created}, After: 1, Limit: 2}, 2, 5)
	s.wantSeqs(st, "the same twice", audit.Query{Types: []string{acted, acted}, Limit: 2}, 5, 8)
	s.wantSeqs(st, "all three", audit.Query{Types: []string{acted, refused, created}}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	s.wantSeqs(st, "none", audit.Query{Types: []string{"no.such"}})
	s.wantSeqs(st, "of a person", audit.Query{Types: []string{refused, acted}, Subject: bob.Identity.ID.String(), After: 4}, 7, 10)
	s.wantSeqs(st, "before", audit.Query{Types: []string{refused}, After: 3, Before: 9}, 4, 6, 7)
}

func testEventsNewest(_ *testing.T, s *suite) {
	st := s.store(nil)
	begin := s.clock()
	s.wantSeqs(st, "of nothing", audit.Query{Newest: true, Until: begin})
	ann := s.registered(st, "ann@example.org") // 1
	for n := range 4 {                         // 2 and 3 in the first minute, up to 9
		s.must(st.Append(s.ctx(), newRefused(s.clock(), ann)))
		s.must(st.Append(s.ctx(), s.acted("x", fmt.Sprint(n))))
		s.must(st.Move(s.ctx(), s.publish(st, 100)))
		s.advance(time.Minute)
	}
	at := func(minute float64) time.Time { return begin.Add(time.Duration(minute * float64(time.Minute))) }
	refused, acted, annID := "session.refused", "admin.acted", ann.Identity.ID.String()
	for name, c := range map[string]struct {
		query audit.Query
		want  []int64
	}{
		"all":               {audit.Query{}, []int64{9, 8, 7, 6, 5, 4, 3, 2, 1}},
		"a page":            {audit.Query{Limit: 2}, []int64{9, 8}},
		"the next":          {audit.Query{Limit: 2, Before: 8}, []int64{7, 6}},
		"the last":          {audit.Query{Before: 2}, []int64{1}},
		"behind it":         {audit.Query{Before: 1}, nil},
		"down to a seq":     {audit.Query{Before: 6, After: 3}, []int64{5, 4}},
		"a type":            {audit.Query{Types: []string{refused}, Limit: 3}, []int64{8, 6, 4}},
		"a type, the next":  {audit.Query{Types: []string{refused}, Before: 4}, []int64{2}},
		"a type, bounded":   {audit.Query{Types: []string{acted}, Before: 9, After: 3}, []int64{7, 5}},
		"two types":         {audit.Query{Types: []string{refused, acted}, Before: 9, Limit: 3}, []int64{8, 7, 6}},
		"no such type":      {audit.Query{Types: []string{"no.such"}}, nil},
		"a person":          {audit.Query{Subject: annID, Before: 8}, []int64{6, 4, 2, 1}},
		"a type of a":       {audit.Query{Subject: annID, Types: []string{"identity.created"}}, []int64{1}},
		"until":             {audit.Query{Until: at(2)}, []int64{5, 4, 3, 2, 1}},
		"until, and before": {audit.Query{Until: at(2), Before: 4}, []int64{3, 2, 1}},
		"between":           {audit.Query{Since: at(1), Until: at(2.5)}, []int64{7, 6, 5, 4}},
		"of a time":         {audit.Query{Types: []string{acted}, Since: at(1), Until: at(2.5)}, []int64{7, 5}},
		"until long ago":    {audit.Query{Until: at(-1)}, nil},
		"since to come":     {audit.Query{Since: at(9)}, nil},
	} {
		c.query.Newest = true
		s.wantSeqs(st, name, c.query, c.want...)
		slices.Reverse(c.want)
		if c.query.Newest = false; c.query.Limit == 0 {
			s.wantSeqs(st, name+", the oldest first", c.query, c.want...)
		}
	}

	s.must(st.SaveCheckpoint(s.ctx(), s.checkpoint(st, 5)))
	_, err := st.PruneEvents(s.ctx(), 5, 100)
	s.must(err)
	s.wantSeqs(st, "of a pruned log", audit.Query{Newest: true}, 9, 8, 7, 6)
	s.wantSeqs(st, "until what was pruned", audit.Query{Newest: true, Until: at(1)})
}

func testEventsSince(t *testing.T, s *suite) {
	st := s.store(nil)
	begin := s.clock()
	s.wantSeqs(st, "of nothing", audit.Query{Since: begin})
	for range 7 { // two in each minute
		s.logged(st, 2)
		s.advance(time.Minute)
	}
	at := func(minute float64) time.Time { return begin.Add(time.Duration(minute * float64(time.Minute))) }
	for n, c := range map[float64][]int64{-1: {1, 2}, 0: {1, 2}, 0.5: {3, 4}, 3: {7, 8}, 5.9: {13, 14}, 6: {13, 14}, 6.1: nil, 100: nil} {
		s.wantSeqs(st, fmt.Sprintf("since minute %v", n), audit.Query{Since: at(n), Limit: 2}, c...)
	}
	s.wantSeqs(st, "after as well", audit.Query{Since: at(3), After: 11}, 12, 13, 14)
	s.wantSeqs(st, "of another type", audit.Query{Since: at(3), Types: []string{"session.refused"}})
	s.wantSeqs(st, "of a type", audit.Query{Since: at(5), Types: []string{"identity.created"}}, 11, 12, 13, 14)

	s.must(st.SaveCheckpoint(s.ctx(), s.checkpoint(st, 5)))
	_, err := st.PruneEvents(s.ctx(), 5, 100)
	s.must(err)
	s.wantSeqs(st, "of a pruned log", audit.Query{Since: at(0), Limit: 2}, 6, 7)
	s.wantSeqs(st, "of a pruned log, later", audit.Query{Since: at(4)}, 9, 10, 11, 12, 13, 14)

	// The clock goes back by an hour: the times in the log do not.
	s.advance(-time.Hour)
	s.logged(st, 1)
	s.logged(s.store(nil), 1)
	late, err := st.Events(s.ctx(), audit.Query{After: 14})
	s.must(err)
	for _, r := range late {
		if !r.LoggedAt.Equal(at(6)) {
			t.Errorf("record %d is logged at %v, want %v as the one before the clock went back", r.Seq, r.LoggedAt, at(6))
		}
	}
	s.wantSeqs(st, "since the clock went back", audit.Query{Since: at(6)}, 13, 14, 15, 16)
	s.advance(2 * time.Hour)
	s.logged(st, 1)
	s.wantSeqs(st, "since it caught up", audit.Query{Since: at(6).Add(time.Minute)}, 17)
}
