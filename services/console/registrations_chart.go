package console

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/usher-auth/usher/services/timeline"
)

// journey is a timeline as it is drawn: the answer on a scale of its own, and what
// comes after it on one that reaches from milliseconds to days.
type journey struct {
	timeline.Timeline
	now time.Time
	// behind is where the scale of the background begins: with the first event.
	behind     time.Time
	answer     []line
	ticks      []tick
	background []line
	backTicks  []tick
}

// line is one row of the chart, and of the table that says the same.
type line struct {
	label  string
	sub    bool // a hook, below its event
	hook   string
	event  string // id
	tone   string
	word   string // what became of it
	detail string
	bars   []bar
	// from and to are the first and last known time.
	from, to time.Time
	next     time.Time
}

// bar is a piece of a line. Positions are in per cent.
type bar struct {
	at, width string
	class     string // of a piece, or of a mark where width is empty
}

// tick is a place on a scale.
type tick struct{ at, text string }

// scale gives the place of a time after the beginning, from 0 to 1.
type scale func(time.Duration) float64

func newJourney(t timeline.Timeline, now time.Time) journey {
	c := journey{Timeline: t, now: now, behind: t.ReceivedAt}
	if len(t.Events) > 0 {
		c.behind = t.Events[0].At
	}
	c.drawAnswer()
	c.drawBackground()
	return c
}

// refresh is how soon the page looks again; empty when all is said.
func (c journey) refresh() string {
	switch wait := c.NextAt.Sub(c.now); {
	case !c.Open:
		return ""
	case c.NextAt.IsZero(), wait < 30*time.Second:
		return "2s"
	}
	return "20s"
}

var stepNames = map[string]string{
	timeline.StepChecks: "Checks", timeline.StepHash: "Password hash", timeline.StepCommit: "Commit and waiting hooks",
	timeline.StepSession: "Session worker", timeline.StepAnswer: "Answer",
}

func (c *journey) drawAnswer() {
	last := time.Duration(0)
	for _, s := range c.Answer {
		for _, at := range []time.Time{s.StartedAt, s.EndedAt} {
			last = max(last, c.since(at))
		}
	}
	last = max(last, time.Millisecond)
	where := func(d time.Duration) float64 { return clamp(float64(d) / float64(last) / 1.08) }
	for n, s := range c.Answer {
		l := line{label: stepNames[s.Name], from: s.StartedAt, to: s.EndedAt, detail: why[s.Detail]}
		l.tone, l.word = stateWord(s.State)
		if l.detail == "" {
			l.detail = s.Detail
		}
		switch {
		case s.Name == timeline.StepAnswer && s.State == timeline.Done:
			l.word, l.detail = "sent", "When its last byte left is not kept."
			l.bars = []bar{dot(where, c.since(s.StartedAt), "ok")}
			if s.StartedAt.IsZero() {
				l.bars = nil
			}
		case !s.StartedAt.IsZero() && !s.EndedAt.IsZero():
			l.bars = []bar{piece(where, c.since(s.StartedAt), c.since(s.EndedAt), l.tone)}
		case !s.StartedAt.IsZero():
			l.bars = []bar{piece(where, c.since(s.StartedAt), c.known(n+1, last), "open")}
			if s.State == timeline.Done {
				l.detail = "When it ended is not kept."
			}
		case !s.EndedAt.IsZero():
			l.bars = []bar{dot(where, c.since(s.EndedAt), l.tone)}
		}
		c.answer = append(c.answer, l)
	}
	step := nice(last / 4)
	for d := time.Duration(0); d <= last; d += step {
		c.ticks = append(c.ticks, tick{percent(where(d)), span0(d)})
	}
}

// known is the first time that is known from a step on.
func (c *journey) known(from int, otherwise time.Duration) time.Duration {
	for _, s := range c.Answer[min(from, len(c.Answer)):] {
		for _, at := range []time.Time{s.StartedAt, s.EndedAt} {
			if !at.IsZero() {
				return c.since(at)
			}
		}
	}
	return otherwise
}

// since is a time after the request; 0 for none, and for what a clock that is
// behind says.
func (c *journey) since(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(0, at.Sub(c.ReceivedAt))
}

// after is a time on the scale of the background.
func (c *journey) after(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(0, at.Sub(c.behind))
}

// stretch is how far the background reaches.
func (c *journey) stretch() time.Duration {
	last := time.Second
	reach := func(times ...time.Time) {
		for _, at := range times {
			last = max(last, c.after(at))
		}
	}
	for _, e := range c.Events {
		reach(e.At, e.LoggedAt)
		for _, r := range e.Hooks {
			for _, a := range r.Attempts {
				reach(a.DeliveredAt, a.EndedAt)
			}
			if c.after(r.NextAt) < 366*24*time.Hour { // else it is paused until somebody resumes it
				reach(r.NextAt)
			}
			if r.State == timeline.Pending {
				reach(c.now)
			}
		}
	}
	return last
}

func (c *journey) drawBackground() {
	last := c.stretch()
	where := logarithmic(last)
	for _, e := range c.Events {
		l := line{label: e.Type, event: e.ID, from: e.At, to: e.LoggedAt, tone: "ok", word: "logged"}
		if e.LoggedAt.IsZero() {
			l.tone, l.word, l.detail = "warn", "in the outbox", "The bus has not taken it yet. It is published as soon as it does."
			l.bars = []bar{piece(where, c.after(e.At), last, "open")}
		} else {
			l.bars = []bar{piece(where, c.after(e.At), c.after(e.LoggedAt), "event")}
		}
		c.background = append(c.background, l)
		for _, r := range e.Hooks {
			c.background = append(c.background, c.drawRun(e, r, where, last))
		}
	}
	c.backTicks = decades(where, last)
}

func (c *journey) drawRun(e timeline.Event, r timeline.Run, where scale, last time.Duration) line {
	l := line{label: r.Hook, hook: r.Hook, event: e.ID, sub: true, next: r.NextAt, detail: r.Reason}
	l.tone, l.word = stateWord(r.State)
	if n := len(r.Attempts); n > 1 {
		l.word += fmt.Sprintf(", %d attempts", n)
	}
	end := c.after(e.LoggedAt)
	for _, a := range r.Attempts {
		tone, _ := stateWord(a.State)
		from, to := c.after(a.DeliveredAt), c.after(a.EndedAt)
		if l.from.IsZero() {
			l.from = a.DeliveredAt
		}
		switch {
		case a.EndedAt.IsZero():
			l.bars = append(l.bars, piece(where, from, max(last, from), "open"))
			continue
		case a.DeliveredAt.IsZero():
			l.bars = append(l.bars, dot(where, to, tone))
		default:
			if from > end {
				l.bars = append(l.bars, piece(where, end, from, "wait"))
			}
			l.bars = append(l.bars, piece(where, from, to, tone))
		}
		l.to, end = a.EndedAt, to
	}
	switch {
	case r.State == timeline.Pending && len(r.Attempts) == 0:
		l.bars = append(l.bars, piece(where, end, last, "open"))
	case r.State == timeline.Waiting || r.State == timeline.Paused:
		to := min(c.after(r.NextAt), last)
		l.bars = append(l.bars, piece(where, end, to, "open"), dot(where, to, "next"))
	}
	return l
}

// why are the reasons of a step that failed, as people say them.
var why = map[string]string{
	"unavailable": "No session worker answered.",
	"late":        "The session worker answered too late.",
	"repeated":    "A repeated submit has got the session.",
	"interrupted": "The process ended before it asked for the session. Repeating the submit within ten minutes gives it.",
}

// stateWord is a state's tone and name.
func stateWord(s timeline.State) (tone, word string) {
	switch s {
	case timeline.Done:
		return "ok", "done"
	case timeline.Failed:
		return "bad", "failed"
	case timeline.Pending:
		return "warn", "not yet"
	case timeline.Waiting:
		return "warn", "waits for its next try"
	case timeline.Paused:
		return "warn", "paused"
	case timeline.Dead:
		return "bad", "dead letter"
	case timeline.Discarded:
		return "quiet", "discarded"
	case timeline.Disabled:
		return "quiet", "hook is disabled"
	case timeline.Unknown:
	}
	return "quiet", "not known any more"
}

// logarithmic is a scale that shows a millisecond and a day.
func logarithmic(last time.Duration) scale {
	end := math.Log10(1 + float64(last)/float64(time.Millisecond))
	return func(d time.Duration) float64 {
		return clamp(math.Log10(1+float64(d)/float64(time.Millisecond)) / end / 1.04)
	}
}

// decades are the ticks of a logarithmic scale, as many as have room.
func decades(where scale, last time.Duration) (ticks []tick) {
	before := -1.0
	for _, d := range []time.Duration{
		0, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
		time.Minute, 10 * time.Minute, time.Hour, 10 * time.Hour, 2 * 24 * time.Hour, 20 * 24 * time.Hour,
	} {
		if at := where(d); d <= last && at-before >= 0.13 {
			ticks = append(ticks, tick{percent(at), span0(d)})
			before = at
		}
	}
	return ticks
}

// nice is the next larger of 1, 2 or 5 times a power of ten.
func nice(d time.Duration) time.Duration {
	unit := time.Microsecond
	for {
		for _, n := range []time.Duration{1, 2, 5} {
			if n*unit >= d {
				return n * unit
			}
		}
		unit *= 10
	}
}

func piece(where scale, from, to time.Duration, class string) bar {
	at := where(from)
	return bar{at: percent(at), width: percent(max(0, where(to)-at)), class: class}
}

func dot(where scale, at time.Duration, class string) bar {
	return bar{at: percent(where(at)), class: class}
}

func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 2, 64) + "%" }

func clamp(f float64) float64 { return min(1, max(0, f)) }

// span0 is a duration on a scale.
func span0(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d >= time.Millisecond && d < time.Second:
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64) + " ms"
	case d >= time.Second && d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
	}
	return span(d)
}

// offset is a time as it is told after the request.
func (c journey) offset(at time.Time) string {
	if at.Sub(c.ReceivedAt) < 0 {
		return "−" + span(c.ReceivedAt.Sub(at)) // another clock
	}
	return "+" + span(at.Sub(c.ReceivedAt))
}

// lacks tells whether a part could not be had.
func (c journey) lacks(what ...string) bool {
	return slices.ContainsFunc(what, func(one string) bool { return slices.Contains(c.Lacks, one) })
}

// took is how long a line lasted, negative where that is not known.
func (l line) took() time.Duration {
	if l.from.IsZero() || l.to.IsZero() {
		return -1
	}
	return max(0, l.to.Sub(l.from))
}
