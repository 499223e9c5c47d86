package timeline

import (
	"cmp"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// runs are what the hooks did with an event: those that are declared for its type,
// and those that were.
func (m *material) runs(l logged) []Run {
	all := []Run{}
	seen := map[string]bool{}
	for _, h := range m.hooks {
		delivered, retries, failure := m.trace(l, h.Name)
		known := delivered != nil || len(retries) > 0 || failure != nil
		gets := slices.Contains(h.Types, l.Type) && !h.Since.After(l.Time)
		if known || gets {
			all = append(all, m.run(l, h))
		}
		seen[h.Name] = true
	}
	for _, name := range m.traced(l) {
		if !seen[name] {
			all = append(all, m.run(l, Hook{Name: name}))
			seen[name] = true
		}
	}
	slices.SortStableFunc(all, func(a, b Run) int { return cmp.Compare(a.Hook, b.Hook) })
	return all
}

// traced names the hooks that something is known of.
func (m *material) traced(l logged) (names []string) {
	for _, d := range m.deliveries {
		if d.of(l) {
			names = append(names, d.Hook)
		}
	}
	for _, f := range m.failures {
		if f.EventID == l.ID {
			names = append(names, f.Hook)
		}
	}
	return names
}

// skew is how far apart the clocks of a hook, the bus and the API may be.
const skew = time.Minute

// of tells whether a delivery is of an event or of its retry. Where the stream was
// made anew, its sequences come again: an event is not acked before it happened.
func (d Delivery) of(l logged) bool {
	if d.EventID != "" {
		return d.EventID == l.ID
	}
	return l.streamSeq > 0 && d.StreamSeq == l.streamSeq && !d.AckedAt.Add(skew).Before(l.Time)
}

// trace is what is known of a hook at an event: the event's own delivery, those of
// its retries in their order, and the failure.
func (m *material) trace(l logged, hook string) (own *Delivery, retries []Delivery, failure *delivery.Failure) {
	for n, d := range m.deliveries {
		switch {
		case d.Hook != hook || !d.of(l):
		case d.EventID == "":
			own = &m.deliveries[n]
		default:
			retries = append(retries, d)
		}
	}
	slices.SortStableFunc(retries, func(a, b Delivery) int { return a.PublishedAt.Compare(b.PublishedAt) })
	for n, f := range m.failures {
		if f.Hook == hook && f.EventID == l.ID {
			failure = &m.failures[n]
		}
	}
	return own, retries, failure
}

func (m *material) run(l logged, h Hook) Run {
	own, retries, failure := m.trace(l, h.Name)
	r := Run{Hook: h.Name, Kind: h.Kind, Attempts: attempts(own, retries, failure)}
	if failure == nil {
		r.State = m.withoutFailure(l, h, r.Attempts)
	} else {
		r.State, r.NextAt, r.Reason = State(failure.State), failure.NextAt, failure.Reason
		if last := len(r.Attempts) - 1; r.State == Waiting && last >= 0 && r.NextAt.IsZero() {
			r.State = r.Attempts[last].State // the retry is published
		}
	}
	if open := r.State == Pending || r.State == Waiting; open && h.PausedUntil.After(m.now) {
		r.State = Paused
		if h.PausedUntil.After(r.NextAt) {
			r.NextAt = h.PausedUntil
		}
	}
	if r.State == Pending && h.Disabled {
		r.State = Disabled
	}
	return r
}

// withoutFailure is the state of an event that the hook has not failed at.
func (m *material) withoutFailure(l logged, h Hook, seen []Attempt) State {
	switch {
	case len(seen) > 0:
		return seen[len(seen)-1].State
	case l.streamSeq > 0 && h.Known && l.streamSeq <= h.AckFloor:
		return Done // nobody has seen it, and the bus knows
	case h.Known, l.streamSeq == 0:
		return Pending
	}
	return Unknown
}

// attempts are all deliveries that are known of. An ack says that the hook has
// answered; whether it was done with the event, only the failure says.
func attempts(own *Delivery, retries []Delivery, failure *delivery.Failure) []Attempt {
	all := []Attempt{}
	switch {
	case own != nil:
		a := own.attempt()
		if failure != nil && !own.AckedAt.Add(skew).Before(failure.FirstAt) {
			a.State = Failed // it reported, and acked then; long before, a replay has failed
		}
		all = append(all, a)
	case failure != nil:
		all = append(all, Attempt{State: Failed, EndedAt: failure.FirstAt})
	}
	for n, d := range retries {
		a := d.attempt()
		reported := failure != nil && (n < len(retries)-1 || !succeeded(d, failure))
		if a.State == Done && reported {
			a.State = Failed
		}
		all = append(all, a)
	}
	return all
}

// succeeded tells whether the last retry was the end of a failure.
func succeeded(d Delivery, f *delivery.Failure) bool {
	reported := !f.LastAt.Before(d.PublishedAt) // since it was published
	return f.State == delivery.Done || f.State == delivery.Waiting && f.NextAt.IsZero() && !reported
}

// attempt is a delivery as it is by itself.
func (d Delivery) attempt() Attempt {
	if d.AckedAt.IsZero() {
		return Attempt{State: Pending, DeliveredAt: d.PublishedAt}
	}
	return Attempt{State: Done, DeliveredAt: d.AckedAt.Add(-d.Took), EndedAt: d.AckedAt, Deliveries: d.Deliveries}
}
