package app

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/store"
)

// TestSweepGoesOnWithFullBatches: a round is as long as there is more to delete, and
// no longer than ten batches of each kind.
func TestSweepGoesOnWithFullBatches(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rows, failAt int // failAt is the batch that fails, counted from 1
		batches      int
		left         int
		more         bool
	}{
		"nothing":             {rows: 0, batches: 1},
		"less than a batch":   {rows: 999, batches: 1},
		"just a batch":        {rows: 1000, batches: 2},
		"three and a half":    {rows: 3500, batches: 4},
		"more than one round": {rows: 12_345, batches: 10, left: 2345, more: true},
		"a failure":           {rows: 12_345, failAt: 3, batches: 3, left: 10_345},
	} {
		said := &strings.Builder{}
		p := &process{metrics: newMetrics("test"), log: slog.New(slog.NewTextHandler(said, nil))}
		left, batches := tt.rows, 0
		more := p.sweepKind(t.Context(), sweptKind{"flows", func() (int, error) {
			if batches++; batches == tt.failAt {
				return 0, errors.New("away")
			}
			n := min(left, sweepBatch)
			left -= n
			return n, nil
		}}, sweepBatches)
		if more != tt.more || batches != tt.batches || left != tt.left {
			t.Errorf("%s: more = %t after %d batches, %d left; want %t, %d, %d", name, more, batches, left, tt.more, tt.batches, tt.left)
		}
		if (tt.failAt > 0) != strings.Contains(said.String(), "away") {
			t.Errorf("%s: said %q", name, said)
		}
		swept := scrape(t, p.metrics.handler())["usher_swept_total"].GetMetric()[0].GetCounter().GetValue()
		if int(swept) != tt.rows-tt.left {
			t.Errorf("%s: counted %v rows, want %d", name, swept, tt.rows-tt.left)
		}
	}
}

// TestSweepOnce: what is over goes in one round, although it is more than a batch.
func TestSweepOnce(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), store.Options{DataDir: t.TempDir(), CipherSecrets: []string{"a secret of the test, long enough"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := &process{store: s, inForce: inForce{live: &live{}}, metrics: newMetrics("test"), log: slog.New(slog.DiscardHandler)}
	p.live.p.Store(&current{cfg: &config.Config{}})
	p.audit = newAuditor(p)
	const rows = 2*sweepBatch + 1
	past := time.Now().Add(-time.Hour)
	for range rows {
		f := &flow.Flow{ID: uuid.New(), Kind: flow.Login, Type: flow.API, State: flow.ChooseMethod, IssuedAt: past, ExpiresAt: past}
		if err := s.CreateFlow(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	if more := p.sweepOnce(t.Context()); more {
		t.Error("sweepOnce tells that there is more")
	}
	swept := 0.0
	for _, m := range scrape(t, p.metrics.handler())["usher_swept_total"].GetMetric() {
		swept += m.GetCounter().GetValue()
	}
	if swept != rows {
		t.Errorf("sweepOnce deleted %v flows, want %d", swept, rows)
	}
}
