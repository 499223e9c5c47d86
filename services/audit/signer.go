package audit

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
)

// How often the head of a log that grows is signed.
const (
	SignEvery   = time.Minute
	SignRecords = 1000
)

// Signer signs the heads of a log. All fields are needed. It is used by one
// goroutine of the process that leads.
type Signer struct {
	Log  Heads
	Keys func(ctx context.Context) ([]Key, error) // the current one first
	Now  func() time.Time
}

// Heads is what a signer needs of a log.
type Heads interface {
	// EventHead gives the seq and hash of the last record, zero if there was none.
	EventHead(ctx context.Context) (seq int64, hash Hash, err error)
	Events(ctx context.Context, q Query) ([]Record, error)
	LastCheckpoint(ctx context.Context) (Checkpoint, error)
	// SaveCheckpoint returns once the checkpoint and all that it vouches for are on
	// the disk, or gives [ErrNoRecord]: the record is not there any more.
	SaveCheckpoint(ctx context.Context, c Checkpoint) error
	// AppendSoon stores an event without waiting for the disk.
	AppendSoon(ctx context.Context, e events.Event) error
}

// Sign signs the head if it is due, stores the checkpoint and tells of it by an
// event. It tells whether it did. A log whose only new records tell of
// checkpoints is left alone, or a log at rest would grow for ever.
//
// When the process dies between the checkpoint and its event, the checkpoint
// stands and the event is missing; the next one comes.
func (s *Signer) Sign(ctx context.Context) (bool, error) {
	last, err := s.Log.LastCheckpoint(ctx)
	if err != nil {
		return false, err
	}
	seq, head, err := s.Log.EventHead(ctx)
	if err != nil {
		return false, err
	}
	if due, err := s.due(ctx, last, seq); !due || err != nil {
		return false, err
	}
	keys, err := s.Keys(ctx)
	if err != nil {
		return false, err
	}
	if len(keys) == 0 {
		return false, errors.New("audit: there is no key to sign checkpoints with")
	}
	c := keys[0].Sign(seq, head, s.Now())
	if err := s.Log.SaveCheckpoint(ctx, c); err != nil {
		return false, err
	}
	e := events.New(c.event(), s.Now(), system.About("/usher/audit"))
	if err := s.Log.AppendSoon(ctx, e); err != nil {
		return true, fmt.Errorf("tell of the checkpoint of record %d: %w", seq, err)
	}
	return true, nil
}

// due tells whether the head at seq is to be signed.
func (s *Signer) due(ctx context.Context, last Checkpoint, seq int64) (bool, error) {
	// A clock that went back must not stop it.
	early := s.Now().Sub(last.At) < SignEvery && !s.Now().Before(last.At)
	if seq <= last.Seq || seq < last.Seq+SignRecords && early {
		return false, nil
	}
	const few = 10
	if seq > last.Seq+few {
		return true, nil
	}
	records, err := s.Log.Events(ctx, Query{After: last.Seq, Limit: few})
	for _, r := range records {
		if r.Type != (events.AuditCheckpoint{}).EventType() {
			return true, err
		}
	}
	return false, err
}

func (c Checkpoint) event() events.AuditCheckpoint {
	return events.AuditCheckpoint{
		Seq:       c.Seq,
		Head:      hex.EncodeToString(c.Head[:]),
		At:        c.At.UTC().Format(time.RFC3339Nano),
		KeyID:     c.KeyID,
		Signature: base64.StdEncoding.EncodeToString(c.Signature),
	}
}
