package events

import (
	"sync/atomic"
	"time"
)

// counters are what discovery shows of a service ($SRV.STATS, data). micro's
// own would measure how long it takes to start a goroutine.
type counters struct {
	answered, late, failed, refused, stray atomic.Int64
	nanoseconds                            atomic.Int64
}

// count counts one answer by its outcome.
func (c *counters) count(outcome string, took time.Duration) {
	c.nanoseconds.Add(int64(took))
	switch outcome {
	case "ok":
		c.answered.Add(1)
	case CodeLate:
		c.late.Add(1)
	case CodeError:
		c.failed.Add(1)
	default:
		c.refused.Add(1)
	}
}

// counts is what a service's statistics say in their data.
type counts struct {
	Answered int64 `json:"answered"`
	Refused  int64 `json:"refused"`
	Late     int64 `json:"late"`
	Failed   int64 `json:"failed"`
	// Stray requests were of nobody who may ask, and were dropped.
	Stray int64 `json:"stray"`
	// Running are being handled now.
	Running int `json:"running"`
	// Nanoseconds is the time of all answers together.
	Nanoseconds int64 `json:"nanoseconds"`
}

func (c *counters) snapshot(running int) counts {
	return counts{
		Answered:    c.answered.Load(),
		Refused:     c.refused.Load(),
		Late:        c.late.Load(),
		Failed:      c.failed.Load(),
		Stray:       c.stray.Load(),
		Running:     running,
		Nanoseconds: c.nanoseconds.Load(),
	}
}
