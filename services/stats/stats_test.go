package stats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/services/stats"
)

// process counts, and tells collectors.
type process struct {
	*stats.Sampler
	totals stats.Totals
	gauges *stats.Gauges
	clock  time.Duration // how far its clock is off
	away   bool          // the bus is
	lost   bool          // what is sent now is lost on the way
	sent   [][]byte
}

func newProcess(to ...*stats.Collector) *process {
	p := &process{totals: stats.Totals{Counts: map[string]int64{}, Times: map[string]stats.Histogram{}}}
	p.Sampler = &stats.Sampler{
		Host: "one", Version: "1.0", Parts: []string{"api"},
		Read: func() stats.Totals {
			copied := stats.Totals{Counts: map[string]int64{}, Times: map[string]stats.Histogram{}}
			for name, n := range p.totals.Counts {
				copied.Counts[name] = n
			}
			for name, h := range p.totals.Times {
				copied.Times[name] = h
			}
			return copied
		},
		Gauges: func() *stats.Gauges { return p.gauges },
		Now:    func() time.Time { return time.Now().Add(p.clock) },
		Send: func(report []byte) error {
			if p.away {
				return errors.New("away")
			}
			p.sent = append(p.sent, report)
			if p.lost {
				return nil
			}
			for _, c := range to {
				if err := c.Add(report); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return p
}

// register counts registrations; the hop of each takes a number of seconds.
func (p *process) register(n int64, hop float64) {
	p.totals.Counts[stats.Registrations+"ok"] += n
	h := p.totals.Times[stats.Hop]
	at := slices.IndexFunc(stats.Bounds[:], func(b float64) bool { return hop <= b })
	if at < 0 {
		at = len(stats.Bounds)
	}
	h[at] += n
	p.totals.Times[stats.Hop] = h
}

// run runs processes through some time.
func run(t *testing.T, length time.Duration, each func(step int), processes ...*process) {
	t.Helper()
	for step := range int(length / stats.Step) {
		each(step)
		time.Sleep(stats.Step)
		for _, p := range processes {
			p.TellEnded()
		}
	}
	time.Sleep(3 * time.Second) // until slots are over for sure
}

func registered(h stats.Hour) int64 { return h.Total.Counts[stats.Registrations+"ok"] }

func TestTheHourOfAllProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stats.NewCollector(time.Now)
		a, b := newProcess(c), newProcess(c)
		b.Host, b.Parts = "two", []string{"session"}
		a.gauges = &stats.Gauges{OutboxDepth: 3, OutboxOldest: 1.5, DeadLetters: 2}
		run(t, 2*time.Minute, func(int) {
			a.register(10, .003)
			b.totals.Counts[stats.SessionErrors]++
		}, a, b)
		h := c.Hour()
		if len(h.Instances) != 2 || h.Instances[0].Host != "one" || h.Instances[1].Parts[0] != "session" {
			t.Errorf("instances = %+v, want one and two", h.Instances)
		}
		if got := h.Until.Sub(h.From); got != 2*time.Minute {
			t.Errorf("the hour is %v long, want the two minutes that were collected", got)
		}
		if got := h.Counts[stats.Registrations+"ok"]; len(got) != 12 || slices.Min(got) != 10 || registered(h) != 120 {
			t.Errorf("registrations = %v (%d), want 12 times 10", got, registered(h))
		}
		if h.Total.Counts[stats.SessionErrors] != 12 {
			t.Errorf("session errors = %v, want 12", h.Total.Counts)
		}
		if s := h.Total.Times[stats.Hop]; s.Count != 120 || *s.P50 < .0025 || *s.P99 > .005 {
			t.Errorf("hops = %+v, want 120 within the bucket of 3 ms", s)
		}
		if s := h.Total.Times[stats.Hook]; s.Count != 0 || s.P50 != nil || h.Times[stats.Hook].P99[0] != nil {
			t.Errorf("hooks = %+v, want none and no quantile", s)
		}
		if h.Now == nil || *h.Now != *a.gauges || *h.Outbox.Depth[0] != 3 {
			t.Errorf("now = %+v, want what was told", h.Now)
		}
		time.Sleep(5 * time.Minute)
		if h := c.Hour(); h.Now != nil || registered(h) != 120 {
			t.Errorf("after five minutes of silence: now = %+v, registrations = %d; want nothing and 120", h.Now, registered(h))
		}
		time.Sleep(time.Hour)
		if h := c.Hour(); len(h.Instances) != 0 || len(h.Counts) != 0 || h.Until.Sub(h.From) != time.Hour {
			t.Errorf("after an hour of silence: %+v, want nothing", h)
		}
	})
}

// TestCollectorsAgree whatever order reports come in, and however often.
func TestCollectorsAgree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := stats.NewCollector(time.Now), stats.NewCollector(time.Now)
		a, b := newProcess(), newProcess()
		a.gauges, b.gauges = &stats.Gauges{OutboxDepth: 7}, &stats.Gauges{OutboxDepth: 4, OutboxOldest: 2}
		run(t, 90*time.Minute, func(step int) {
			a.register(int64(step), .02)
			b.register(2, 3)
			for n := range a.sent {
				add(t, first, a.sent[n], b.sent[n])
				add(t, second, b.sent[n], a.sent[n], b.sent[n])
			}
			a.sent, b.sent = nil, nil
		}, a, b)
		for n := range a.sent {
			add(t, first, a.sent[n], b.sent[n])
			add(t, second, b.sent[n], a.sent[n])
		}
		if one, two := first.Hour(), second.Hour(); !reflect.DeepEqual(series(one), series(two)) || registered(one) == 0 {
			t.Errorf("two collectors do not agree:\n%v\n%v", one.Total, two.Total)
		}
		if h := first.Hour(); len(h.Counts[stats.Registrations+"ok"]) != stats.Slots || registered(h) != sum(180, 540)+2*360 {
			t.Errorf("registrations of the last hour = %d in %d slots, want %d", registered(h), len(h.Counts[stats.Registrations+"ok"]), sum(180, 540)+2*360)
		}
	})
}

func add(t *testing.T, c *stats.Collector, reports ...[]byte) {
	t.Helper()
	for _, r := range reports {
		if err := c.Add(r); err != nil {
			t.Error(err)
		}
	}
}

// series is an hour without when each process was heard.
func series(h stats.Hour) string {
	h.Instances = nil
	text, _ := json.Marshal(h)
	return string(text)
}

// sum is that of the numbers from a up to b.
func sum(a, b int) (n int64) {
	for i := a; i < b; i++ {
		n += int64(i)
	}
	return n
}

// TestLostBroadcastsAreMadeUpFor as long as they are fewer than a report repeats, and
// what could not be sent at all is sent later.
func TestLostBroadcastsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stats.NewCollector(time.Now)
		p := newProcess(c)
		run(t, 5*time.Minute, func(step int) {
			p.register(1, .001)
			p.lost = step%6 != 5
		}, p)
		if got := registered(c.Hour()); got != 30 {
			t.Errorf("five of six reports lost: %d registrations, want 30", got)
		}
		p.lost, p.away = false, true
		run(t, 30*time.Minute, func(int) { p.register(1, .001) }, p)
		if got := registered(c.Hour()); got != 30 {
			t.Errorf("the bus is away: %d registrations, want 30", got)
		}
		p.away = false
		run(t, stats.Step, func(int) { p.register(1, .001) }, p)
		h := c.Hour()
		if got := h.Counts[stats.Registrations+"ok"]; registered(h) != 211 || slices.Max(got) != 1 {
			t.Errorf("the bus was back: %d registrations, at most %d in a slot; want 211, each at its time", registered(h), slices.Max(got))
		}
		if h.Instances[0].ClockOff {
			t.Error("its clock is said to be off")
		}
	})
}

// TestARestartLosesNothingThatWasTold, and counts nothing twice.
func TestARestartLosesNothingThatWasTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stats.NewCollector(time.Now)
		p := newProcess(c)
		run(t, time.Minute, func(int) { p.register(5, .001) }, p)
		p.register(2, .001)
		p.Tell() // what a process does at its end
		again := newProcess(c)
		run(t, time.Minute, func(int) { again.register(1, .001) }, again)
		if got := registered(c.Hour()); got != 38 {
			t.Errorf("registrations = %d, want 30 + 2 + 6", got)
		}
	})
}

func TestRunTellsAtTheEndOfEachSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stats.NewCollector(time.Now)
		p := newProcess(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if len(p.sent) != 6 {
			t.Errorf("%d reports within a minute, want 6", len(p.sent))
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// TestClocksJump: whoever's clock goes is counted again, at the time that it says.
func TestClocksJump(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name              string
		process, together time.Duration // what the clock of the process, and of both, does
		want              int64
		off               bool
	}{
		{name: "back within a slot", together: -3 * time.Second, want: 12},
		{name: "back by half a minute", together: -30 * time.Second, want: 12},
		{name: "back by half an hour", together: -30 * time.Minute, want: 6},
		{name: "on by half an hour", together: 30 * time.Minute, want: 12},
		{name: "on by a day", together: 24 * time.Hour, want: 6},
		{name: "the process's on by a day", process: 24 * time.Hour, want: 6, off: true},
		{name: "the process's back by a day", process: -24 * time.Hour, want: 6, off: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				jump := time.Duration(0)
				c := stats.NewCollector(func() time.Time { return time.Now().Add(jump) })
				p := newProcess(c)
				run(t, time.Minute, func(int) { p.register(1, .001) }, p)
				jump, p.clock = test.together, test.together+test.process
				run(t, time.Minute, func(int) { p.register(1, .001) }, p)
				h := c.Hour()
				if got := registered(h); got != test.want {
					t.Errorf("registrations = %d, want %d", got, test.want)
				}
				last := h.Instances[len(h.Instances)-1]
				if off := last.ClockOff || h.Instances[0].ClockOff; off != test.off {
					t.Errorf("clock off = %v, want %v", off, test.off)
				}
			})
		})
	}
}

func TestWhatIsNoReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stats.NewCollector(time.Now)
		now := time.Now().Unix() / 10
		good := fmt.Sprintf(`{"instance":"a","started_at":"2000-01-01T00:00:00Z","slots":[{"n":%d,"counts":{"registrations.ok":1}}]}`, now)
		buckets := strings.Repeat("1,", len(stats.Bounds))
		for name, text := range map[string]string{
			"nothing":             "",
			"no JSON":             "\x00\xff{",
			"of another kind":     `[1]`,
			"no instance":         strings.Replace(good, `"a"`, `""`, 1),
			"a name of a page":    strings.Replace(good, `"a"`, `"`+strings.Repeat("a", 65)+`"`, 1),
			"a name with a line":  strings.Replace(good, `"instance"`, `"host":"a\nb","instance"`, 1),
			"huge":                strings.Replace(good, `"slots"`, `"x":"`+strings.Repeat("x", 32<<10)+`","slots"`, 1),
			"no slot":             `{"instance":"a","started_at":"2000-01-01T00:00:00Z","slots":[]}`,
			"seven slots":         `{"instance":"a","started_at":"2000-01-01T00:00:00Z","slots":[` + strings.Repeat(`{"n":1},`, 6) + `{"n":1}]}`,
			"slots in no order":   `{"instance":"a","started_at":"2000-01-01T00:00:00Z","slots":[{"n":2},{"n":2}]}`,
			"before all time":     `{"instance":"a","started_at":"2000-01-01T00:00:00Z","slots":[{"n":-5}]}`,
			"less than nothing":   strings.Replace(good, ":1}", ":-1}", 1),
			"more than there is":  strings.Replace(good, ":1}", ":9000000000000000000}", 1),
			"half a registration": strings.Replace(good, ":1}", ":0.5}", 1),
			"a short histogram":   strings.Replace(good, `"counts"`, `"times":{"hop":[1]},"counts"`, 1),
			"a long histogram":    strings.Replace(good, `"counts"`, `"times":{"hop":[`+buckets+`1,1]},"counts"`, 1),
			"of no time":          strings.Replace(good, "2000-", "0001-", 1),
			"a negative age":      strings.Replace(good, `"counts"`, `"gauges":{"outbox_oldest_seconds":-1},"counts"`, 1),
		} {
			if err := c.Add([]byte(text)); err == nil {
				t.Errorf("Add(%s) = nil, want an error", name)
			}
		}
		// What a later version tells besides does no harm.
		add(t, c, []byte(strings.Replace(good, `"counts":{`, `"new":[1],"times":{"new":[`+buckets+`1]},"counts":{"new":1,"registrations.<b>":1,`, 1)))
		time.Sleep(13 * time.Second)
		if h := c.Hour(); registered(h) != 1 || len(h.Counts) != 1 || len(h.Times) != 2 || len(h.Instances) != 1 {
			t.Errorf("hour = %+v, want one registration and nothing else", h)
		}
	})
}

// TestTheNumberOfProcessesIsBounded, and one that is gone makes room.
func TestTheNumberOfProcessesIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := stats.NewCollector(time.Now)
		tell := func(name int) error {
			return c.Add(fmt.Appendf(nil, `{"instance":"%d","started_at":"2000-01-01T00:00:00Z","slots":[{"n":%d}]}`, name, time.Now().Unix()/10))
		}
		for n := range 256 {
			if err := tell(n); err != nil {
				t.Fatal(err)
			}
		}
		if tell(256) == nil || tell(255) != nil {
			t.Error("one too many is taken, or one that is known is not")
		}
		time.Sleep(3 * time.Minute)
		if err := tell(256); err != nil || len(c.Hour().Instances) != 256 {
			t.Errorf("Add = %v, %d instances; want the place of one that is silent", err, len(c.Hour().Instances))
		}
	})
}

// TestQuantilesAreWithinTheBucketOfTheExactOne, also merged from many processes.
func TestQuantilesAreWithinTheBucketOfTheExactOne(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var merged stats.Histogram
		var all []float64
		for range 1 + random.IntN(5) {
			var h stats.Histogram
			for range random.IntN(400) {
				d := math.Exp(random.NormFloat64()*2 - 5)
				at := slices.IndexFunc(stats.Bounds[:], func(b float64) bool { return d <= b })
				if at < 0 {
					at = len(stats.Bounds)
				}
				h[at]++
				all = append(all, d)
			}
			merged = merged.Plus(h)
		}
		slices.Sort(all)
		if merged.Count() != int64(len(all)) {
			t.Fatalf("Count() = %d, want %d", merged.Count(), len(all))
		}
		for _, q := range []float64{0, .5, .9, .99, 1} {
			got, ok := merged.Quantile(q)
			if ok != (len(all) > 0) {
				t.Fatalf("Quantile of %d durations: ok = %v", len(all), ok)
			}
			if !ok {
				continue
			}
			exact := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
			lower, upper := bucket(exact)
			if got < lower || got > upper {
				t.Errorf("Quantile(%v) = %v, want it from %v to %v: the exact one is %v", q, got, lower, upper, exact)
			}
		}
	}
}

// bucket is where a duration is counted; what is beyond all bounds is the last one.
func bucket(d float64) (lower, upper float64) {
	for _, b := range stats.Bounds {
		if d <= b {
			return lower, b
		}
		lower = b
	}
	return lower, lower
}

func BenchmarkHour(b *testing.B) {
	now := time.Now()
	c := stats.NewCollector(func() time.Time { return now })
	p := newProcess(c)
	p.Now = func() time.Time { return now }
	for range stats.Slots {
		p.register(100, .003)
		now = now.Add(stats.Step)
		p.TellEnded()
	}
	for b.Loop() {
		text, err := json.Marshal(c.Hour())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(text)), "bytes")
	}
}
