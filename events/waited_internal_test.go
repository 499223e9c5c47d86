package events

import (
	"testing"
	"time"
	"unsafe"
)

// Whatever the clocks of both sides say, what has waited is known, and what has not.
func TestWaitsByAnyClock(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	type request struct {
		at, sent time.Duration // by this process's clock and by the asker's, from the start
		want     time.Duration
	}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, requests := range map[string][]request{
		"one clock":         {{ms(1), 0, 0}, {ms(12), ms(10), ms(1)}, {ms(700), ms(100), ms(599)}},
		"the asker ahead":   {{ms(1), time.Hour, 0}, {ms(300), time.Hour + ms(100), ms(199)}},
		"the asker behind":  {{ms(1), -time.Hour, 0}, {ms(800), -time.Hour + ms(100), ms(699)}},
		"frozen, then not":  {{ms(1), 0, 0}, {ms(9001), ms(100), ms(8891)}, {ms(9002), ms(4000), ms(4992)}, {ms(9003), ms(9002), 0}},
		"the asker sets it": {{ms(1), 0, 0}, {ms(100), ms(-59901), ms(60000)}, {ms(1500), ms(-58501), ms(59999)}, {ms(2200), ms(-57801), 0}, {ms(2300), ms(-57701), 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			w := newWaits(began)
			for _, r := range requests {
				got := w.since("asker", began.Add(r.sent).Round(0), limit, began.Add(r.at))
				if diff := (got - r.want).Abs(); diff > ms(2) {
					t.Errorf("a request sent at %v and handled at %v has waited %v, want %v", r.sent, r.at, got, r.want)
				}
			}
		})
	}
}

// setClock gives a time that this process's clock says when somebody has set it:
// what it tells by is another, and what it measures by the same.
func setClock(t *testing.T, now time.Time, by time.Duration) time.Time {
	t.Helper()
	set := now
	wall := (*uint64)(unsafe.Pointer(&set)) // seconds above 30 bits of nanoseconds, where there is a monotonic reading
	*wall += uint64(by/time.Second) << 30
	if set.Sub(now) != 0 || set.Round(0).Sub(now.Round(0)) != by {
		t.Fatal("a time is made of something else than it was")
	}
	return set
}

// TestThisProcessSetsItsClock: what waited is known all the same, and nothing is
// late that is not.
func TestThisProcessSetsItsClock(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	began := time.Now()
	w := newWaits(began)
	w.since("asker", began.Round(0), limit, began)
	for _, waited := range []time.Duration{0, 2 * time.Second} {
		sent := began.Add(time.Second)
		if got := w.since("asker", sent.Round(0), limit, setClock(t, sent.Add(waited), time.Hour)); (got - waited).Abs() > 2*time.Millisecond {
			t.Errorf("a request that has waited %v while the clock was set an hour ahead has waited %v", waited, got)
		}
	}
}

// One asker's clock says nothing of another's, and what is remembered is bounded.
func TestAskersAreApart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWaits(now)
	for n := range 3 * maxAskers {
		asker := askerOf("_INBOX_api." + time.Duration(n).String() + ".1")
		if got := w.since(asker, now.Add(time.Duration(n)*time.Second), time.Second, now); got != 0 {
			t.Fatalf("the first request of asker %d has waited %v, want no time", n, got)
		}
	}
	if len(w.known) > maxAskers {
		t.Errorf("%d askers are remembered, want at most %d", len(w.known), maxAskers)
	}
	if got := askerOf("_R_.abc.def"); got != "" {
		t.Errorf("askerOf an inbox in another account = %q, want none", got)
	}
}
