package audit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/services/audit"
)

// provable is a log in memory with the key that has signed it.
type provable struct {
	*memory
	key audit.Key
}

func (p provable) AuditKeys(context.Context) ([]audit.PublicKey, error) {
	return []audit.PublicKey{p.key.Public()}, p.broken
}

// checked has a log verified, and gives how it ended.
func checked(t *testing.T, log *memory, last int64) audit.Progress {
	t.Helper()
	c := audit.NewCheck(provable{log, newKey(t, 1)}, time.Now)
	if p := c.Progress(); p.State != audit.CheckNone {
		t.Errorf("before it began: %+v", p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := c.Begin(last); err != nil {
		t.Fatal(err)
	}
	if err := c.Begin(last); !errors.Is(err, audit.ErrChecking) {
		t.Errorf("a second one = %v, want %v", err, audit.ErrChecking)
	}
	go func() { _ = c.Run(ctx) }() // gives nil
	synctest.Wait()
	return c.Progress()
}

func TestCheck(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	log := func(change ...func(*memory)) *memory {
		m := &memory{records: chain(2500)}
		for seq := int64(100); seq <= 2500; seq += 100 {
			m.checkpoints = append(m.checkpoints, key.Sign(seq, m.records[seq-1].Hash, at))
		}
		for _, c := range change {
			c(m)
		}
		return m
	}
	altered := func(m *memory) { m.records[1200].Payload = []byte(`{"id":"x"}`) }
	pruned := func(m *memory) { m.records = m.records[1000:] }
	for name, c := range map[string]struct {
		log     *memory
		last    int64
		state   audit.CheckState
		records int64
		broken  int64
	}{
		"all":                        {log(), 0, audit.CheckIntact, 2500, 0},
		"the last 950":               {log(), 950, audit.CheckIntact, 900, 0},
		"more than there are":        {log(), 5000, audit.CheckIntact, 2500, 0},
		"fewer than to a checkpoint": {log(), 1, audit.CheckIntact, 2500, 0},
		"altered":                    {log(altered), 0, audit.CheckBroken, 0, 1201},
		"altered before":             {log(altered), 1000, audit.CheckIntact, 1000, 0},
		"pruned":                     {log(pruned), 0, audit.CheckIntact, 1500, 0},
		"pruned, the last":           {log(pruned), 1000, audit.CheckIntact, 1000, 0},
		"tail cut":                   {log(func(m *memory) { m.records = m.records[:2450] }), 500, audit.CheckBroken, 0, 2450},
		"out of reach":               {log(func(m *memory) { m.broken = errors.New("the database is gone") }), 0, audit.CheckFailed, 0, 0},
		"empty":                      {&memory{}, 0, audit.CheckIntact, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := checked(t, c.log, c.last)
				if p.State != c.state || (c.state == audit.CheckIntact && p.Report.Records != c.records) || p.EndedAt.IsZero() {
					t.Errorf("it ended %+v, want %s, %d records", p, c.state, c.records)
				}
				if c.broken != 0 && (p.Broken == nil || p.Broken.Seq != c.broken) {
					t.Errorf("broken = %v, want record %d", p.Broken, c.broken)
				}
				if (c.state == audit.CheckFailed) != (p.Err != nil) {
					t.Errorf("error = %v", p.Err)
				}
			})
		})
	}
}
