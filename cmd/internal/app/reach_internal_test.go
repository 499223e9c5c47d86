package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// apis are processes that hear each other, and may reach the database or not.
type apis struct {
	all  []*reach
	away []atomic.Bool // cut off: a look fails at once
	dumb []atomic.Bool // silent: a look does not end
	told atomic.Int64  // messages
}

func newAPIs(ctx context.Context, n int) *apis {
	a := &apis{away: make([]atomic.Bool, n), dumb: make([]atomic.Bool, n)}
	for i := range n {
		a.all = append(a.all, &reach{
			instance: string(rune('a' + i)),
			look: func(ctx context.Context) error {
				if a.dumb[i].Load() {
					select {
					case <-time.After(2 * time.Second):
					case <-ctx.Done():
					}
				}
				if a.dumb[i].Load() || a.away[i].Load() {
					return errors.New("away")
				}
				return nil
			},
			send: func(message []byte) error {
				a.told.Add(1)
				for _, r := range a.all {
					r.hear(message)
				}
				return nil
			},
		})
	}
	for _, r := range a.all {
		go func() { _ = r.run(ctx) }()
	}
	return a
}

// alone are those that are, after a while.
func (a *apis) alone(after time.Duration) (names string) {
	time.Sleep(after)
	synctest.Wait()
	for _, r := range a.all {
		if r.alone(context.Background()) != nil {
			names += r.instance
		}
	}
	return names
}

func TestReach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPIs(t.Context(), 3)
		want := func(what, want string, after time.Duration) {
			t.Helper()
			if got := a.alone(after); got != want {
				t.Errorf("%s: %q are alone, want %q", what, got, want)
			}
		}
		want("all is well", "", 2*time.Second)
		if told := a.told.Load(); told > 0 {
			t.Errorf("%d messages while all is well, want none", told)
		}
		a.away[0].Store(true)
		want("one is cut off", "a", 300*time.Millisecond)
		want("still", "a", 5*time.Second)
		a.dumb[1].Store(true)
		want("another hears nothing", "ab", 600*time.Millisecond)
		a.away[2].Store(true)
		want("all are", "", 1500*time.Millisecond)
		a.away[0].Store(false)
		want("the first is back", "bc", 1500*time.Millisecond)
		a.dumb[1].Store(false)
		a.away[2].Store(false)
		want("all are back", "", 2500*time.Millisecond)
	})
}

func TestReachHearsOnlyOthers(t *testing.T) {
	t.Parallel()
	said := 0
	r := &reach{instance: "a", send: func([]byte) error { said++; return nil }}
	for _, message := range []string{`{"instance":"a","reaches":true}`, `{"instance":"","reaches":true}`, `reaches`, ``, `{"instance":"b","reaches":false}`} {
		if r.hear([]byte(message)); r.alone(t.Context()) != nil || said > 0 {
			t.Errorf("%s: alone %v, said %d", message, r.alone(t.Context()), said)
		}
	}
	r.hear([]byte(`{"instance":"b","reaches":true}`))
	if r.alone(t.Context()) == nil {
		t.Error("another reaches the database, and this one is not alone")
	}
}
