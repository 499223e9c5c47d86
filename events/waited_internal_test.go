package events

import (
	"testing"
	"time"
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
