package stats

import "time"

// Hour is what was counted within the last hour, in slots that are over. All series
// have one value for each slot, the oldest first.
type Hour struct {
	// Step is the length of a slot in seconds.
	Step int `json:"step_seconds"`
	// From is when the first slot begins and Until when the last one ends: less than
	// an hour apart where there was less time to collect.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Complete says that the other processes can be heard.
	Complete  bool       `json:"complete"`
	Instances []Instance `json:"instances"`
	// Counts are by counter; those that were zero all the time are left out.
	Counts map[string][]int64 `json:"counts"`
	Times  map[string]Series  `json:"times"`
	Outbox Outbox             `json:"outbox"`
	Total  Total              `json:"total"`
	// Now is how much waited last, nil if nobody has told it within a minute.
	Now *Gauges `json:"now"`
}

// Series are durations in seconds by slot: nil where there was none.
type Series struct {
	Count []int64    `json:"count"`
	P50   []*float64 `json:"p50"`
	P99   []*float64 `json:"p99"`
}

// Outbox is how much waited for the relay by slot: nil where nobody has told it.
type Outbox struct {
	Depth  []*int64   `json:"depth"`
	Oldest []*float64 `json:"oldest_seconds"`
}

// Total is that of all slots together.
type Total struct {
	Counts map[string]int64   `json:"counts"`
	Times  map[string]Summary `json:"times"`
}

// Summary is many durations, in seconds: nil if there was none.
type Summary struct {
	Count int64    `json:"count"`
	P50   *float64 `json:"p50"`
	P99   *float64 `json:"p99"`
}

// Hour gives the last hour. Complete is for the caller to say.
func (c *Collector) Hour() Hour {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	end := slotOf(now.Add(-settled)) // the first that is not over
	from := min(max(c.since, end-int64(Slots)), end)
	h := Hour{
		Step: int(Step / time.Second), From: beginning(from), Until: beginning(end), Instances: c.heard(now),
		Counts: map[string][]int64{}, Times: map[string]Series{},
		Outbox: Outbox{make([]*int64, end-from), make([]*float64, end-from)},
		Total:  Total{map[string]int64{}, map[string]Summary{}},
	}
	times := map[string]Histogram{}
	for _, name := range []string{Hop, Hook} {
		times[name] = Histogram{}
		h.Times[name] = Series{make([]int64, end-from), make([]*float64, end-from), make([]*float64, end-from)}
	}
	for n := from; n < end; n++ {
		at := &c.ring[n%int64(len(c.ring))]
		if at.n != n {
			continue // nothing was told
		}
		h.put(int(n-from), at)
		for name, t := range at.times {
			times[name] = times[name].Plus(t)
		}
		if at.gauges != nil && n >= end-reportSlots {
			g := *at.gauges
			h.Now = &g
		}
	}
	for name, t := range times {
		h.Total.Times[name] = summary(t)
	}
	return h
}

// put writes what was counted within a slot to its place.
func (h *Hour) put(place int, at *counted) {
	for name, n := range at.counts {
		if h.Counts[name] == nil {
			h.Counts[name] = make([]int64, len(h.Outbox.Depth))
		}
		h.Counts[name][place] = n
		h.Total.Counts[name] += n
	}
	for name, t := range at.times {
		s := summary(t)
		series := h.Times[name]
		series.Count[place], series.P50[place], series.P99[place] = s.Count, s.P50, s.P99
	}
	if g := at.gauges; g != nil {
		h.Outbox.Depth[place], h.Outbox.Oldest[place] = &g.OutboxDepth, &g.OutboxOldest
	}
}

func summary(t Histogram) Summary {
	s := Summary{Count: t.Count()}
	if p, ok := t.Quantile(0.5); ok {
		s.P50 = &p
	}
	if p, ok := t.Quantile(0.99); ok {
		s.P99 = &p
	}
	return s
}
