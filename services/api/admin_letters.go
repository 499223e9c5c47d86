package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/delivery"
)

// Failures reads what hooks have failed at.
type Failures interface {
	// Failure gives one, or [delivery.ErrNoFailure].
	Failure(ctx context.Context, hook string, eventID uuid.UUID) (delivery.Failure, error)
	Failures(ctx context.Context, q delivery.FailureQuery) ([]delivery.Failure, error)
	// EventPayload gives an event as it was published, or [delivery.ErrNoEvent].
	EventPayload(ctx context.Context, id uuid.UUID) (payload []byte, eventType string, err error)
}

// Redeliverer decides about dead letters and replays the log, see [delivery.Service].
type Redeliverer interface {
	Redeliver(ctx context.Context, q delivery.FailureQuery, by delivery.Author) (int, error)
	Discard(ctx context.Context, q delivery.FailureQuery, reason string, by delivery.Author) (int, error)
	Replay(ctx context.Context, o delivery.ReplayOptions, progress func(delivery.Replayed)) (delivery.Replayed, error)
}

const (
	// maxLetters is how many dead letters one request changes.
	maxLetters = 500
	// replayTime is how long one request replays: whoever asks goes on.
	replayTime = 5 * time.Second
	// maxReplayRate is the fastest pace of a replay, in events a second.
	maxReplayRate = 10_000
)

type letterView struct {
	Hook      string         `json:"hook"`
	EventID   string         `json:"event_id"`
	State     delivery.State `json:"state"`
	Attempts  int            `json:"attempts"`
	Round     int            `json:"round"`
	Reason    string         `json:"reason"`
	FirstAt   stamp          `json:"first_at"`
	LastAt    stamp          `json:"last_at"`
	NextAt    *stamp         `json:"next_at,omitempty"`
	EventType string         `json:"event_type,omitempty"`
	// Event is null if the log does not hold it any more.
	Event json.RawMessage `json:"event,omitempty"`
}

func viewLetter(f delivery.Failure) letterView {
	return letterView{
		Hook: f.Hook, EventID: f.EventID, State: f.State, Attempts: f.Attempts, Round: f.Round, Reason: f.Reason,
		FirstAt: stamp(f.FirstAt), LastAt: stamp(f.LastAt), NextAt: happened(f.NextAt), EventType: f.EventType,
	}
}

// listLetters gives what hooks have failed at, the oldest first; dead letters
// unless the query asks for another state.
func (s *Server) listLetters(x *exchange) error {
	q := delivery.FailureQuery{
		Hook: x.query("hook"), EventID: x.query("event"), EventType: x.query("type"), Reason: x.query("reason_contains"),
		State: delivery.State(x.query("state")),
	}
	states := []delivery.State{delivery.Dead, delivery.Waiting, delivery.Discarded, delivery.Done}
	if q.State == "" {
		q.State = delivery.Dead
	}
	if !slices.Contains(states, q.State) {
		return refuse("state must be one of %q", states)
	}
	if q.EventID != "" {
		if _, err := parseID(q.EventID); err != nil {
			return refuse("event is no id")
		}
	}
	err := knownType(q.EventType)
	if err != nil {
		return err
	}
	if q.Limit, err = x.limit("limit", 100, maxEvents); err != nil {
		return err
	}
	if cursor := x.query("after"); cursor != "" {
		if q.After, err = strconv.ParseInt(cursor, 10, 64); err != nil || q.After < 0 {
			return refuse("the cursor is none of this server")
		}
	}
	found, err := s.Failures.Failures(x.r.Context(), q)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	views := make([]letterView, len(found))
	for n, f := range found {
		views[n] = viewLetter(f)
		q.After = f.N
	}
	next := ""
	if len(found) == q.Limit {
		next = strconv.FormatInt(q.After, 10)
	}
	return x.encode(http.StatusOK, struct {
		Letters []letterView `json:"dead_letters"`
		Next    string       `json:"next"`
	}{views, next})
}

// showLetter gives one failure with its event.
func (s *Server) showLetter(x *exchange) error {
	id, err := parseID(x.r.PathValue("event"))
	if err != nil {
		return delivery.ErrNoFailure
	}
	f, err := s.Failures.Failure(x.r.Context(), x.r.PathValue("hook"), id)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	v := viewLetter(f)
	v.Event, v.EventType, err = s.Failures.EventPayload(x.r.Context(), id)
	if err != nil && !errors.Is(err, delivery.ErrNoEvent) {
		return fmt.Errorf("dead letter: %w", err)
	}
	return x.encode(http.StatusOK, v)
}

// lettersWanted say which dead letters are meant.
type lettersWanted struct {
	Hook   string `json:"hook"`
	Event  string `json:"event"`
	Type   string `json:"type"`
	Holds  string `json:"reason_contains"`
	All    bool   `json:"all"`
	Reason string `json:"reason"`
	Limit  int    `json:"limit"`
}

func (x *exchange) lettersWanted() (in lettersWanted, q delivery.FailureQuery, err error) {
	if err := x.decode(&in); err != nil {
		return in, q, err
	}
	switch {
	case in.Hook == "" && in.Event == "" && in.Type == "" && in.Holds == "" && !in.All:
		return in, q, refuse("say which: a hook, an event, a type of events, a text of the reason, or all")
	case in.Limit < 0 || in.Limit > maxLetters:
		return in, q, refuse("limit must be a number from 1 to %d", maxLetters)
	}
	if in.Event != "" {
		if _, err := parseID(in.Event); err != nil {
			return in, q, refuse("event is no id")
		}
	}
	if in.Limit == 0 {
		in.Limit = maxLetters
	}
	return in, delivery.FailureQuery{Hook: in.Hook, EventID: in.Event, EventType: in.Type, Reason: in.Holds, Limit: in.Limit}, knownType(in.Type)
}

// knownType refuses an event type that there is not; none is fine.
func knownType(name string) error {
	if name == "" {
		return nil
	}
	return refuseUnknown("event type", []string{name}, delivery.EventTypes())
}

func (s *Server) redeliverLetters(x *exchange) error {
	in, q, err := x.lettersWanted()
	if err != nil {
		return err
	}
	if in.Reason != "" {
		return refuse("a redelivery has no reason")
	}
	n, err := s.Redeliverer.Redeliver(x.r.Context(), q, x.author())
	return x.changed(n, in.Limit, "redeliver dead letters", err)
}

func (s *Server) discardLetters(x *exchange) error {
	in, q, err := x.lettersWanted()
	if err != nil {
		return err
	}
	n, err := s.Redeliverer.Discard(x.r.Context(), q, in.Reason, x.author())
	return x.changed(n, in.Limit, "discard dead letters", err)
}

// changed says how many dead letters were changed, and whether there may be more.
func (x *exchange) changed(n, limit int, operation string, err error) error {
	if err != nil {
		return hookError(operation, err)
	}
	return x.encode(http.StatusOK, struct {
		Count int  `json:"count"`
		More  bool `json:"more"`
	}{n, n == limit})
}

// replayHook replays a piece of the event log to one hook. Whoever asks goes on
// with the id and the cursor of the answer while there is more.
func (s *Server) replayHook(x *exchange) error {
	var in struct {
		Since     time.Time `json:"since"`
		Until     time.Time `json:"until"`
		Types     []string  `json:"types"`
		PerSecond int       `json:"per_second"`
		ID        string    `json:"id"`
		After     int64     `json:"after"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	switch {
	case in.PerSecond < 0 || in.PerSecond > maxReplayRate:
		return refuse("per_second must be a number from 1 to %d", maxReplayRate)
	case in.After < 0:
		return refuse("after is none of this server's")
	}
	if in.ID != "" {
		if _, err := parseID(in.ID); err != nil {
			return refuse("id is none of this server's")
		}
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), replayTime)
	defer cancel()
	r, err := s.Redeliverer.Replay(ctx, delivery.ReplayOptions{
		Hook: x.r.PathValue("name"), Since: in.Since, Until: in.Until, Types: in.Types, PerSecond: in.PerSecond,
		ID: in.ID, After: in.After, By: x.author(),
	}, nil)
	more := errors.Is(err, context.DeadlineExceeded) && x.r.Context().Err() == nil
	if err != nil && !more {
		return hookError("replay", err)
	}
	return x.encode(http.StatusOK, struct {
		ID    string `json:"id"`
		After int64  `json:"after"`
		Until stamp  `json:"until"`
		Count int    `json:"count"`
		More  bool   `json:"more"`
	}{r.ID, r.After, stamp(r.Until), r.Count, more})
}
