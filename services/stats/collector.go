package stats

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxInstances is how many processes are known at a time.
	maxInstances = 256
	// forgotten is how long a process is silent before another may take its place.
	// It is longer than what a report repeats.
	forgotten = 2 * time.Minute
	// ahead is how many slots the clock of another machine may go before this one's.
	ahead = 6
	// settled is how long after the end of a slot its reports are waited for.
	settled = 2 * time.Second
)

// Instance is a process that was heard within the hour.
type Instance struct {
	Host      string    `json:"host"`
	Version   string    `json:"version"`
	Parts     []string  `json:"parts"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	// ClockOff says that its clock and the collector's are more than a minute
	// apart: what it tells is counted at the wrong time, or not at all.
	ClockOff bool `json:"clock_off"`

	id    string
	until int64 // the last slot that was counted
}

// Collector holds the last hour of all processes. It is safe for concurrent use, and
// what it holds does not grow with the number of reports or processes.
type Collector struct {
	now       func() time.Time
	mu        sync.Mutex
	since     int64 // the first slot that is counted
	ring      [Slots + 2*ahead]counted
	instances map[string]*Instance
}

// counted is what all processes counted within a slot.
type counted struct {
	n      int64
	counts map[string]int64
	times  map[string]Histogram
	gauges *Gauges
}

// NewCollector begins to collect now.
func NewCollector(now func() time.Time) *Collector {
	return &Collector{now: now, since: slotOf(now()), instances: map[string]*Instance{}}
}

// Add adds a report. Those that were added before change nothing. The error says why
// it is none, or why there is no room for it.
func (c *Collector) Add(message []byte) error {
	r, err := decodeReport(message)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if slotOf(now) < c.since { // the clock was set back
		c.since = slotOf(now) - 1
	}
	i, err := c.instance(r, now)
	if err != nil {
		return err
	}
	newest := r.Slots[len(r.Slots)-1].N
	i.ClockOff = max(newest-slotOf(now), slotOf(now)-newest) > ahead
	for _, s := range r.Slots {
		if s.N <= i.until || newest > slotOf(now)+ahead {
			continue
		}
		i.until = s.N
		if at := c.at(s.N, slotOf(now)); at != nil {
			at.add(s)
		}
	}
	return nil
}

// instance gives the process that tells r, and makes room for a new one.
func (c *Collector) instance(r report, now time.Time) (*Instance, error) {
	i := c.instances[r.Instance]
	if i == nil {
		for id, other := range c.instances {
			silent := now.Sub(other.SeenAt)
			if silent > time.Hour || silent < -time.Minute || len(c.instances) >= maxInstances && silent > forgotten {
				delete(c.instances, id)
			}
		}
		if len(c.instances) >= maxInstances {
			return nil, fmt.Errorf("%d processes are known; no room for another", len(c.instances))
		}
		i = &Instance{id: r.Instance}
		c.instances[r.Instance] = i
	}
	i.Host, i.Version, i.Parts, i.StartedAt, i.SeenAt = r.Host, r.Version, r.Parts, r.StartedAt, now
	return i, nil
}

// at gives the place of slot n, nil where there is none.
func (c *Collector) at(n, now int64) *counted {
	if n < c.since || n <= now-int64(len(c.ring))+ahead {
		return nil
	}
	at := &c.ring[n%int64(len(c.ring))]
	if at.n != n {
		*at = counted{n: n, counts: map[string]int64{}, times: map[string]Histogram{}}
	}
	return at
}

func (at *counted) add(s slot) {
	for name, n := range s.Counts {
		if _, known := at.counts[name]; counter(name) && (known || len(at.counts) < maxNames) {
			at.counts[name] += n
		}
	}
	for name, buckets := range s.Times {
		if name == Hop || name == Hook {
			at.times[name] = at.times[name].Plus(Histogram(buckets))
		}
	}
	switch {
	case s.Gauges == nil:
	case at.gauges == nil:
		g := *s.Gauges
		at.gauges = &g
	default:
		g := at.gauges.larger(*s.Gauges)
		at.gauges = &g
	}
}

// heard gives the processes, in the order of their names.
func (c *Collector) heard(now time.Time) []Instance {
	all := []Instance{}
	for _, i := range c.instances {
		if silent := now.Sub(i.SeenAt); silent <= time.Hour && silent >= -time.Minute {
			all = append(all, *i)
		}
	}
	slices.SortFunc(all, func(a, b Instance) int {
		if d := strings.Compare(a.Host, b.Host); d != 0 {
			return d
		}
		if d := strings.Compare(strings.Join(a.Parts, " "), strings.Join(b.Parts, " ")); d != 0 {
			return d
		}
		if d := b.StartedAt.Compare(a.StartedAt); d != 0 {
			return d
		}
		return strings.Compare(a.id, b.id)
	})
	return all
}
