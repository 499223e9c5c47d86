package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/timeline"
)

func testDeliveries(t *testing.T, s *suite) {
	st := s.store(nil)
	event := uuid.New()
	now := s.clock()
	acked := timeline.Delivery{Hook: "crm", StreamSeq: 7, Deliveries: 1, AckedAt: now, Took: 3 * time.Millisecond}
	retry := timeline.Delivery{Hook: "crm", StreamSeq: 9, EventID: event.String(), Attempt: 2, PublishedAt: now}
	s.must(st.SaveDeliveries(s.ctx(), []timeline.Delivery{acked, {Hook: "mail", StreamSeq: 7, Deliveries: 2, AckedAt: now}, {Hook: "crm", StreamSeq: 8, Deliveries: 1, AckedAt: now}}, 100))
	s.must(st.SaveDeliveries(s.ctx(), []timeline.Delivery{retry}, 100))
	want := []timeline.Delivery{acked, {Hook: "mail", StreamSeq: 7, Deliveries: 2, AckedAt: now}, retry}
	got, err := st.Deliveries(s.ctx(), []uint64{7, 12, 13}, []uuid.UUID{event, uuid.New(), uuid.New()})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Deliveries = %v: %s", err, diff)
	}

	// The ack of a retry, and a retry whose ack was faster than whoever published it.
	whole := retry
	whole.Deliveries, whole.AckedAt, whole.Took = 3, now.Add(time.Second), time.Microsecond
	s.must(st.SaveDeliveries(s.ctx(), []timeline.Delivery{{Hook: "crm", StreamSeq: 9, Deliveries: 3, AckedAt: now.Add(time.Second), Took: time.Microsecond}}, 100))
	early := timeline.Delivery{Hook: "crm", StreamSeq: 10, Deliveries: 1, AckedAt: now, Took: time.Millisecond}
	s.must(st.SaveDeliveries(s.ctx(), []timeline.Delivery{early}, 100))
	early.EventID, early.Attempt, early.PublishedAt = event.String(), 3, now.Add(-time.Millisecond)
	s.must(st.SaveDeliveries(s.ctx(), []timeline.Delivery{{Hook: "crm", StreamSeq: 10, EventID: event.String(), Attempt: 3, PublishedAt: early.PublishedAt}}, 100))
	got, err = st.Deliveries(s.ctx(), nil, []uuid.UUID{event})
	if diff := cmp.Diff([]timeline.Delivery{whole, early}, got); err != nil || diff != "" {
		t.Errorf("Deliveries of a retried event = %v: %s", err, diff)
	}
	if none, err := st.Deliveries(s.ctx(), nil, nil); err != nil || len(none) > 0 {
		t.Errorf("Deliveries of nothing = %v, %v", none, err)
	}
}

// testDeliveriesAreBounded: by number whatever comes, and by age.
func testDeliveriesAreBounded(t *testing.T, s *suite) {
	st := s.store(nil)
	var all []timeline.Delivery
	var seqs []uint64
	for n := range 300 {
		all = append(all, timeline.Delivery{Hook: "crm", StreamSeq: uint64(n + 1), Deliveries: 1, AckedAt: s.clock().Add(time.Duration(n) * time.Second)})
		seqs = append(seqs, uint64(n+1))
	}
	left := func() []timeline.Delivery {
		first, err := st.Deliveries(s.ctx(), seqs[:150], nil)
		s.must(err)
		second, err := st.Deliveries(s.ctx(), seqs[150:], nil)
		s.must(err)
		return append(first, second...)
	}
	s.must(st.SaveDeliveries(s.ctx(), all, 20))
	if got := left(); len(got) != 20 || got[0].StreamSeq != 281 {
		t.Errorf("kept are %d from %v, want the last 20", len(got), got)
	}
	before := s.clock().Add(285 * time.Second) // when sequence 286 was acked
	if n, err := st.DeleteDeliveries(s.ctx(), before, 3); n != 3 || err != nil {
		t.Errorf("DeleteDeliveries at most 3 = %d, %v", n, err)
	}
	if n, err := st.DeleteDeliveries(s.ctx(), before, 100); n != 2 || err != nil {
		t.Errorf("DeleteDeliveries = %d, %v, want the other 2", n, err)
	}
	if got := left(); len(got) != 15 {
		t.Errorf("left are %d, want 15", len(got))
	}
}

func testFailuresAt(t *testing.T, s *suite) {
	st := s.store(nil)
	one, other := uuid.New(), uuid.New()
	for _, f := range []struct {
		hook string
		at   uuid.UUID
	}{{"crm", one}, {"mail", one}, {"crm", other}} {
		_, err := st.SaveFailure(s.ctx(), nil, delivery.Failure{
			Hook: f.hook, EventID: f.at.String(), State: delivery.Dead, Attempts: 1, Reason: "no", FirstAt: s.clock(), LastAt: s.clock(),
		})
		s.must(err)
	}
	got, err := st.FailuresAt(s.ctx(), []uuid.UUID{one, uuid.New(), uuid.New()})
	if err != nil || len(got) != 2 || got[0].Hook != "crm" || got[1].Hook != "mail" || got[1].EventID != one.String() {
		t.Errorf("FailuresAt = %+v, %v", got, err)
	}
	if none, err := st.FailuresAt(s.ctx(), nil); err != nil || len(none) > 0 {
		t.Errorf("FailuresAt of nothing = %v, %v", none, err)
	}
}
