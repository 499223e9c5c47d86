package console

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
)

// eventLog is a log that people are registered in at a pace.
type eventLog struct {
	mu     sync.Mutex
	began  time.Time
	pace   int // registrations a second
	given  int
	reads  int
	broken error
}

func (l *eventLog) read(ctx context.Context, q url.Values) (eventsPage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if ctx.Err() != nil || l.broken != nil {
		return eventsPage{}, errors.Join(ctx.Err(), l.broken)
	}
	if q.Get("order") == "newest" {
		return eventsPage{Latest: "c"}, nil
	}
	page := eventsPage{Next: "c"}
	for due := int(time.Since(l.began).Seconds() * float64(l.pace)); l.given < due && len(page.Events) < feedPage; l.given++ {
		id := uuid.NewString()
		page.Events = append(page.Events, events.New(events.IdentityCreated{IdentityID: id, SessionPlanned: true}, time.Now(), events.About{Subject: id}))
	}
	return page, nil
}

func (l *eventLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// TestFeed: one reader for all tabs, which ends with the last; ten minutes at 300
// registrations a second draws no more than an eye follows, says the true pace,
// and grows nothing. A goroutine that stayed would fail this test.
func TestFeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{began: time.Now(), pace: 300}
		f := &feed{read: l.read, now: time.Now}
		first, second := f.join(), f.join()
		var newest string
		drawn := 0
		time.Sleep(2250 * time.Millisecond) // between two looks
		for range 600 {
			time.Sleep(time.Second)
			s := f.see()
			if len(s.rows) > maxRows || s.drawn || s.perSecond < 280 || s.perSecond > 340 {
				t.Fatalf("%d rows, all drawn %t, %.0f a second, want at most %d, not all, and 300", len(s.rows), s.drawn, s.perSecond, maxRows)
			}
			for _, r := range s.rows {
				if r.IdentityID == newest {
					break
				}
				drawn++
			}
			newest = s.rows[0].IdentityID
		}
		if drawn > 605*drawnPerSecond+drawnAtOnce || drawn < 600 {
			t.Errorf("%d rows were drawn in ten minutes, want up to %d a second", drawn, drawnPerSecond)
		}
		if reads := l.count(); reads > 2*605 {
			t.Errorf("two tabs read the log %d times in ten minutes, want twice a second", reads)
		}
		first()
		first() // leaving twice is leaving once
		time.Sleep(time.Second)
		if s := f.see(); s.rows[0].IdentityID == newest {
			t.Error("nothing is read although somebody watches")
		}
		second()
		reads := l.count()
		time.Sleep(time.Minute)
		if again := l.count(); again != reads {
			t.Errorf("the log is read %d times although nobody watches", again-reads)
		}
	})
}

// TestFeedTellsTrouble: and that it is over, with nothing lost.
func TestFeedTellsTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &eventLog{began: time.Now(), pace: 1, broken: errors.New("away")}
		f := &feed{read: l.read, now: time.Now}
		defer f.join()()
		time.Sleep(5 * time.Second)
		if s := f.see(); s.err == nil || !s.ready {
			t.Fatalf("it shows %+v, want why not", s)
		}
		l.mu.Lock()
		l.broken = nil
		l.mu.Unlock()
		time.Sleep(2 * time.Second)
		s := f.see()
		if s.err != nil || len(s.rows) == 0 {
			t.Fatalf("it shows %+v, want what came meanwhile", s)
		}
		select {
		case <-s.changed:
			t.Error("what is shown is told to be old")
		default:
		}
		l.mu.Lock()
		l.pace = 0
		l.mu.Unlock()
		time.Sleep(2 * rateOver)
		if s := f.see(); s.perSecond != 0 {
			t.Errorf("%.1f a second although nobody registers", s.perSecond)
		}
	})
}

// TestRowsThatWereGivenOutStay: tabs draw them while the reader goes on.
func TestRowsThatWereGivenOutStay(t *testing.T) {
	t.Parallel()
	r := reading{rows: []registered{{IdentityCreated: events.IdentityCreated{IdentityID: "a"}, Session: "planned"}}, now: time.Now}
	given := r.shown()
	if !r.take([]events.Event{{Type: "session.refused", Subject: "a"}}) || r.rows[0].Session != "refused" {
		t.Errorf("rows = %+v, want the session refused", r.rows)
	}
	if given.rows[0].Session != "planned" {
		t.Error("a row that was given out has changed")
	}
}

// BenchmarkFeed is what a registration costs who watches.
func BenchmarkFeed(b *testing.B) {
	var page []events.Event
	for range 150 { // half a second of 300/s
		id := uuid.NewString()
		page = append(page, events.New(events.IdentityCreated{IdentityID: id, SessionPlanned: true}, time.Now(), events.About{Subject: id}))
		page = append(page, events.New(events.SessionIssued{IdentityID: id}, time.Now(), events.About{Subject: id}))
	}
	f := &feed{read: func(context.Context, url.Values) (eventsPage, error) { return eventsPage{Events: page, Next: "c"}, nil }, now: time.Now}
	r := reading{cursor: "c", draw: newPace(), now: time.Now}
	for b.Loop() {
		if _, err := f.step(b.Context(), &r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/150, "ns/registration")
}
