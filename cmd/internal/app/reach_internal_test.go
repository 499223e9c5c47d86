package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// apis are processes that hear each other, and may reach the database or not.
type apis struct {
	all  []*reach
	away []atomic.Bool  // cut off: a look fails at once
	dumb []atomic.Bool  // silent: a look ends after two seconds, and fails
	slow []atomic.Int64 // how long a look takes that succeeds
	told atomic.Int64   // messages
}

// newAPIs starts them one after the other, so that they look at different times.
func newAPIs(ctx context.Context, n int) *apis {
	a := &apis{away: make([]atomic.Bool, n), dumb: make([]atomic.Bool, n), slow: make([]atomic.Int64, n)}
	for i := range n {
		look := func(ctx context.Context) error {
			wait := time.Duration(a.slow[i].Load())
			if a.dumb[i].Load() {
				wait = 2 * time.Second
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			if a.dumb[i].Load() || a.away[i].Load() {
				return errors.New("away")
			}
			return nil
		}
		a.all = append(a.all, newReach(fmt.Sprint(i), look, func(message []byte) error {
			a.told.Add(1)
			for _, r := range a.all {
				go func() {
					time.Sleep(time.Millisecond)
					r.hear(message)
				}()
			}
			return nil
		}))
	}
	for n, r := range a.all {
		go func() {
			time.Sleep(time.Duration(n) * 70 * time.Millisecond)
			_ = r.run(ctx)
		}()
	}
	return a
}

// alone are those that are, now.
func (a *apis) alone() (names string) {
	for _, r := range a.all {
		if r.alone(context.Background()) != nil {
			names += r.instance
		}
	}
	return names
}

// watched are all answers of alone during a while.
func (a *apis) watched(during time.Duration) (seen []string) {
	for range during / (10 * time.Millisecond) {
		time.Sleep(10 * time.Millisecond)
		seen = append(seen, a.alone())
	}
	return seen
}

func TestReach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPIs(t.Context(), 3)
		want := func(what, want string, after time.Duration) {
			t.Helper()
			time.Sleep(after)
			for _, got := range a.watched(2 * time.Second) {
				if got != want {
					t.Fatalf("%s: %q are alone, want %q", what, got, want)
				}
			}
		}
		want("all is well", "", time.Second)
		if told := a.told.Load(); told > 0 {
			t.Errorf("%d messages while all is well, want none", told)
		}
		a.away[0].Store(true)
		want("one is cut off", "0", 300*time.Millisecond)
		a.dumb[1].Store(true)
		want("another hears nothing", "01", 600*time.Millisecond)
		a.away[2].Store(true)
		want("all are", "", 1500*time.Millisecond)
		a.away[0].Store(false)
		want("the first is back", "12", 1500*time.Millisecond)
		a.dumb[1].Store(false)
		a.away[2].Store(false)
		want("all are back", "", 2500*time.Millisecond)
	})
}

// When the database goes for all, or is slow for all, somebody accepts at any time.
func TestReachLeavesSomebody(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(a *apis, n int){
		"gone":      func(a *apis, n int) { a.away[n].Store(true) },
		"silent":    func(a *apis, n int) { a.dumb[n].Store(true) },
		"very slow": func(a *apis, n int) { a.slow[n].Store(int64(time.Second)) },
		"slow":      func(a *apis, n int) { a.slow[n].Store(int64(350 * time.Millisecond)) },
		"gone, and for one before,": func(a *apis, n int) {
			if a.away[n].Store(true); n == 0 {
				time.Sleep(3 * time.Second)
			}
		},
	} {
		for _, count := range []int{2, 3, 5} {
			t.Run(fmt.Sprintf("%s for %d", name, count), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					a := newAPIs(t.Context(), count)
					time.Sleep(1100 * time.Millisecond)
					for n := range count {
						happens(a, n)
					}
					nobody, out := 0, 0
					for _, alone := range a.watched(10 * time.Second) {
						if len(alone) == count {
							nobody++
						}
						out += len(strings.TrimSpace(alone))
					}
					if nobody > 0 {
						t.Errorf("nobody accepts for %d ms of 10 s", 10*nobody)
					}
					if share := out * 100 / (1000 * count); share > 10 {
						t.Errorf("each is out for %d %% of the time", share)
					}
				})
			})
		}
	}
}

func TestReachHearsOnlyOthers(t *testing.T) {
	t.Parallel()
	said := 0
	r := newReach("a", nil, func([]byte) error { said++; return nil })
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
