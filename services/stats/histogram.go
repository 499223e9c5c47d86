package stats

import "math"

// Bounds are the upper bounds of the buckets of all durations, in seconds: from a
// tenth of a millisecond to the longest wait that a request has.
var Bounds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15}

// Histogram counts durations by bucket; the last one holds what is beyond all bounds.
type Histogram [len(Bounds) + 1]int64

// Count is how many durations h holds.
func (h Histogram) Count() (n int64) {
	for _, c := range h {
		n += c
	}
	return n
}

// Plus is what both hold together.
func (h Histogram) Plus(other Histogram) Histogram {
	for n := range h {
		h[n] += other[n]
	}
	return h
}

// minus is what h holds beyond former.
func (h Histogram) minus(former Histogram) Histogram {
	for n := range h {
		h[n] = max(0, h[n]-former[n])
	}
	return h
}

// Quantile is the duration in seconds that the part q of all do not exceed, as far as
// the buckets tell: within its bucket it is drawn as if durations were spread evenly.
// Beyond all bounds it is the last bound. An empty histogram has none, ok is false.
func (h Histogram) Quantile(q float64) (seconds float64, ok bool) {
	all := h.Count()
	if all == 0 {
		return 0, false
	}
	rank := min(max(q, 0), 1) * float64(all)
	below, lower := 0.0, 0.0
	for n, upper := range Bounds {
		in := float64(h[n])
		if in > 0 && below+in >= rank {
			return rounded(lower + (upper-lower)*(rank-below)/in), true
		}
		below, lower = below+in, upper
	}
	return lower, true
}

// rounded is to the microsecond.
func rounded(seconds float64) float64 { return math.Round(seconds*1e6) / 1e6 }
