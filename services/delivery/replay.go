package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

const (
	// replayPage is how many records are read at a time.
	replayPage = 200
	// replayRate is how many events a second are replayed where nobody says.
	replayRate = 100
)

// ReplayOptions say what is delivered again. Hook is needed.
type ReplayOptions struct {
	Hook string
	// Since is when the first of the events was logged. Those that are logged
	// after Until, or if that is zero after the replay has begun, are not its.
	Since, Until time.Time
	// Types are some of the hook's; none means all of them.
	Types []string
	// PerSecond bounds the pace; 0 means 100.
	PerSecond int
	// ID, After and Until resume a replay: they are those of its [Replayed].
	ID    string
	After int64
	// By is who asks for it. The first call of a replay says so in an event.
	By Author
}

// Replayed is how far a replay has come.
type Replayed struct {
	ID    string
	After int64 // Seq of the last event
	Until time.Time
	Count int // of this call
}

// Replay delivers events from the event log to one hook again, in the order of
// the log. It gives how far it came, also with an error, and is resumed with
// that; what is replayed twice within ten minutes is one message. A hook that
// fails at a replayed event reports it like any other. progress, if any, is
// told after each event. Errors that callers tell apart are [ErrNoHook], [*Invalid]
// and those of ctx.
func (s *Service) Replay(ctx context.Context, o ReplayOptions, progress func(Replayed)) (Replayed, error) {
	r := Replayed{ID: cmp.Or(o.ID, uuid.NewString()), After: o.After}
	h, err := s.Declared.Hook(ctx, o.Hook)
	if err != nil {
		return r, fmt.Errorf("hook %q: %w", o.Hook, err)
	}
	types, err := someOf(h, o.Types)
	if err != nil {
		return r, err
	}
	pace := rate.NewLimiter(rate.Limit(cmp.Or(o.PerSecond, replayRate)), 1)
	if r.Until = o.Until; r.Until.IsZero() {
		r.Until = s.Now()
	}
	if o.ID == "" {
		if err := s.Ledger.Append(ctx, o.By.Acted("hook.replay", h.Name, s.Now())); err != nil {
			return r, fmt.Errorf("replay: %w", err)
		}
	}
	for {
		records, err := s.History.EventsOf(ctx, types, o.Since, r.After, replayPage)
		if err != nil {
			return r, fmt.Errorf("replay: %w", err)
		}
		for _, e := range records {
			if e.LoggedAt.After(r.Until) {
				return r, nil
			}
			if err := wait(ctx, pace); err != nil {
				return r, fmt.Errorf("replay: %w", err)
			}
			_, err := s.Publisher.PublishRetry(ctx, Retry{
				Hook: h.Name, EventID: e.EventID, Attempt: 1, Payload: e.Payload,
				MessageID: h.Name + "/" + e.EventID + "/replay." + r.ID,
			})
			if err != nil {
				return r, fmt.Errorf("replay of %s to %s: %w", e.EventID, h.Name, err)
			}
			r.After = e.Seq
			r.Count++
			if progress != nil {
				progress(r)
			}
		}
		if len(records) < replayPage {
			return r, nil
		}
	}
}

// wait keeps the pace. The limiter gives up before a deadline that it would miss.
func wait(ctx context.Context, pace *rate.Limiter) error {
	err := pace.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		return context.DeadlineExceeded
	}
	return err
}

// someOf are the event types of a replay.
func someOf(h Hook, asked []string) ([]string, error) {
	if h.Kind == Answer {
		return nil, &Invalid{Text: fmt.Sprintf("hook %q answers and gets no events", h.Name)}
	}
	if len(asked) == 0 {
		return h.Types, nil
	}
	for _, t := range asked {
		if !slices.Contains(h.Types, t) {
			return nil, &Invalid{Text: fmt.Sprintf("hook %q does not get %q", h.Name, t)}
		}
	}
	return asked, nil
}
