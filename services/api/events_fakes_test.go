package api_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
)

// journal keeps what administrators did.
type journal struct {
	mu     sync.Mutex
	told   []events.Event
	broken error
}

func (j *journal) AppendSoon(_ context.Context, e events.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.told = append(j.told, e)
	}
	return j.broken
}

// acts are the actions and targets that were told.
func (j *journal) acts() (all []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.told {
		all = append(all, e.Actor+" "+string(e.Data))
	}
	return all
}

// memoryLog is an event log that grows.
type memoryLog struct {
	mu      sync.Mutex
	records []audit.Record
	reads   int
}

// add logs an event of a type about a subject.
func (m *memoryLog) add(eventType, subject string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var former audit.Hash
	if n := len(m.records); n > 0 {
		former = m.records[n-1].Hash
	}
	r := audit.Record{
		Seq: int64(len(m.records) + 1), EventID: fmt.Sprintf("00000000-0000-7000-8000-%012d", len(m.records)+1),
		Type: eventType, Subject: subject, Former: former, LoggedAt: noon,
	}
	r.Payload = fmt.Appendf(nil, `{"actor":"client","data":{},"datacontenttype":"application/json","dataschema":"urn:usher:event:%s:1",`+
		`"id":%q,"source":"/usher/api","specversion":"1.0","subject":%q,"time":"2026-11-24T12:00:00Z","type":%q}`, eventType, r.EventID, subject, eventType)
	r.Hash = audit.Next(former, r.Payload)
	m.records = append(m.records, r)
}

func (m *memoryLog) head() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return int64(len(m.records))
}

func (m *memoryLog) Events(_ context.Context, q audit.Query) (page []audit.Record, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := slices.Clone(m.records)
	if q.Newest {
		slices.Reverse(records)
	}
	for _, r := range records {
		if q.Newest && (r.Seq >= q.Before || !q.Until.IsZero() && !r.LoggedAt.Before(q.Until) || r.LoggedAt.Before(q.Since)) {
			continue
		}
		if r.Seq > q.After && len(page) < q.Limit && (q.Subject == "" || q.Subject == r.Subject) &&
			(len(q.Types) == 0 || slices.Contains(q.Types, r.Type)) {
			page = append(page, r)
		}
	}
	return page, nil
}

// auditMemory is the log of a world with one checkpoint, of its third record.
type auditMemory struct{ *world }

func auditKey() audit.Key {
	key, err := audit.NewKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	return key
}

func (a auditMemory) EventSpan(context.Context) (first, last int64, err error) {
	last = a.memory.head()
	return min(1, last), last, a.broken
}

func (a auditMemory) LastCheckpoint(context.Context) (audit.Checkpoint, error) {
	return auditKey().Sign(3, a.memory.records[2].Hash, noon), a.broken
}

func (a auditMemory) Checkpoints(ctx context.Context, after int64, _ int) ([]audit.Checkpoint, error) {
	c, err := a.LastCheckpoint(ctx)
	if after >= c.Seq {
		return nil, err
	}
	return []audit.Checkpoint{c}, err
}

func (a auditMemory) AuditKeys(context.Context) ([]audit.PublicKey, error) {
	return []audit.PublicKey{auditKey().Public()}, a.broken
}

func (a auditMemory) NewestCheckpoints(ctx context.Context, before int64, limit int) ([]audit.Checkpoint, error) {
	c, err := a.LastCheckpoint(ctx)
	if before != 0 && before <= c.Seq || err != nil {
		return nil, err
	}
	return []audit.Checkpoint{c}[:min(1, limit)], nil
}

func (a auditMemory) EventRecord(_ context.Context, id uuid.UUID) (audit.Record, error) {
	for _, r := range a.memory.records {
		if r.EventID == id.String() {
			return r, a.broken
		}
	}
	return audit.Record{}, cmp.Or(a.broken, delivery.ErrNoEvent)
}
