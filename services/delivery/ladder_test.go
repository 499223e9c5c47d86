package delivery_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/services/delivery"
)

func TestLaddersAreThePublishedOnes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  delivery.Kind
		waits int
		span  time.Duration
	}{
		{delivery.Worker, 8, 20*time.Hour + 42*time.Minute + 35*time.Second},
		{delivery.Webhook, 9, 75*time.Hour + 35*time.Minute + 5*time.Second},
	} {
		l := delivery.LadderOf(c.kind)
		if len(l) != c.waits || l.Span() != c.span {
			t.Errorf("LadderOf(%s) has %d waits over %v, want %d over %v", c.kind, len(l), l.Span(), c.waits, c.span)
		}
	}
}

func TestWaitStaysWithinAFifthOfTheLadder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := delivery.LadderOf(rapid.SampledFrom([]delivery.Kind{delivery.Worker, delivery.Webhook}).Draw(t, "kind"))
		attempts := rapid.IntRange(-1, 12).Draw(t, "attempts")
		wait, again := l.Wait(attempts)
		if attempts < 1 || attempts > len(l) {
			if again {
				t.Fatalf("Wait(%d) = %v, want none: the ladder has %d steps", attempts, wait, len(l))
			}
			return
		}
		step := l[attempts-1]
		if !again || wait < step*4/5 || wait > step*6/5+time.Nanosecond {
			t.Fatalf("Wait(%d) = %v, %v, want %v within a fifth", attempts, wait, again, step)
		}
	})
}

func TestWaitsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 20 {
		wait, _ := delivery.WorkerLadder().Wait(1)
		seen[wait] = true
	}
	if len(seen) < 2 {
		t.Errorf("20 waits are all the same: what failed together comes again together")
	}
}
