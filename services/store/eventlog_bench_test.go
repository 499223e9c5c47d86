package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// A page of the event log costs the same at its start and at its end, and with
// any filter, however rare what it selects.
func BenchmarkEvents(b *testing.B) {
	const records = 1_000_000
	onBoth(b, func(b *testing.B, s *store.Store, db *sql.DB, l language) {
		run(b, db, `INSERT INTO event_log (seq, event_id, stream_seq, type, subject, payload, former, hash, logged_at)
			SELECT n + 1, `+l.id+`, n + 1, CASE WHEN n % 10000 = 9999 THEN 'hook.dead' WHEN n % 2 = 0 THEN 'session.issued' ELSE 'identity.created' END,
			'subject' || n % 100000, `+l.payload+`, `+l.hash+`, `+l.hash+`, n * 1000000 FROM `+l.numbers(records), `ANALYZE`)
		at := func(seq int64) time.Time { return time.UnixMicro(1_000_000 * (seq - 1)) }
		for _, after := range []int64{0, records / 2, records - 20_000} {
			for _, c := range []struct {
				name string
				q    audit.Query
			}{
				{"all", audit.Query{After: after}},
				{"since", audit.Query{Since: at(after + 1)}},
				{"common", audit.Query{After: after, Types: []string{"identity.created"}}},
				{"rare", audit.Query{After: after, Types: []string{"hook.dead"}}},
				{"rare-common", audit.Query{After: after, Types: []string{"hook.dead", "session.issued", "no.such"}}},
				{"none", audit.Query{After: after, Types: []string{"no.such"}}},
				{"subject", audit.Query{After: after, Subject: "subject7"}},
				{"subject-type", audit.Query{After: after, Subject: "subject7", Types: []string{"identity.created"}}},
				{"newest-all", audit.Query{Newest: true, Before: records - after}},
				{"newest-until", audit.Query{Newest: true, Until: at(records - after)}},
				{"newest-common", audit.Query{Newest: true, Before: records - after, Types: []string{"identity.created"}}},
				{"newest-rare", audit.Query{Newest: true, Before: records - after, Types: []string{"hook.dead"}}},
				{"newest-rare-common", audit.Query{Newest: true, Before: records - after, Types: []string{"hook.dead", "session.issued", "no.such"}}},
				{"newest-none", audit.Query{Newest: true, Before: records - after, Types: []string{"no.such"}}},
				{"newest-subject", audit.Query{Newest: true, Before: records - after, Subject: "subject7"}},
				{"newest-subject-type", audit.Query{Newest: true, Before: records - after, Subject: "subject7", Types: []string{"identity.created"}}},
			} {
				b.Run(fmt.Sprintf("%s-after-%d", c.name, after), func(b *testing.B) {
					for b.Loop() {
						if _, err := s.Events(b.Context(), c.q); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	})
}

// What is due is found at the same cost however many failures wait or are dead.
func BenchmarkFailures(b *testing.B) {
	for _, all := range []int{1000, 100_000} {
		onBoth(b, func(b *testing.B, s *store.Store, db *sql.DB, l language) {
			run(b, db, `INSERT INTO hook_failures (hook, event_id, state, attempts, round, reason, stream_seq, first_at, last_at, next_at)
				SELECT 'hook-' || n % 20, `+l.id+`, CASE WHEN n % 2 = 0 THEN 'waiting' ELSE 'dead' END, 1, 0, 'timeout', n, n, n,
				CASE WHEN n % 2 = 0 THEN n END FROM `+l.numbers(all), `ANALYZE`)
			now := int64(all)
			for _, c := range []struct {
				name string
				call func(context.Context) error
			}{
				{"DueFailures", func(ctx context.Context) error { // a hundred, which go to the end of the line
					now++
					due, err := s.DueFailures(ctx, time.UnixMicro(now), time.Microsecond, 100)
					if err == nil && len(due) != 100 {
						err = fmt.Errorf("%d are due", len(due))
					}
					return err
				}},
				{"NextDue", func(ctx context.Context) error { _, err := s.NextDue(ctx); return err }},
				{"FailedAt", func(ctx context.Context) error { _, err := s.FailedAt(ctx, "hook-7", 7); return err }},
				{"RetriesDone", func(ctx context.Context) error { _, err := s.RetriesDone(ctx, "hook-7", uint64(all)); return err }},
				{"dead", func(ctx context.Context) error {
					_, err := s.Failures(ctx, delivery.FailureQuery{State: delivery.Dead, After: int64(all) / 2})
					return err
				}},
				{"dead-of-hook", func(ctx context.Context) error {
					_, err := s.Failures(ctx, delivery.FailureQuery{Hook: "hook-7", State: delivery.Dead, After: int64(all) / 2})
					return err
				}},
				{"FailureCounts", func(ctx context.Context) error { _, err := s.FailureCounts(ctx); return err }},
				{"SaveFailure", func(ctx context.Context) error {
					at := time.Now()
					f := delivery.Failure{Hook: "new", EventID: uuid.NewString(), State: delivery.Waiting, FirstAt: at, LastAt: at, NextAt: at.Add(time.Hour)}
					_, err := s.SaveFailure(ctx, nil, f)
					return err
				}},
			} {
				b.Run(fmt.Sprintf("%s-among-%d", c.name, all), func(b *testing.B) {
					for b.Loop() {
						if err := c.call(b.Context()); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// language is in what the databases differ when they make rows.
type language struct {
	numbers           func(n int) string // from 0, as table g(n)
	id, payload, hash string
}

// onBoth runs a benchmark on a fresh database of each kind, which db opens
// without the store.
func onBoth(b *testing.B, run func(b *testing.B, s *store.Store, db *sql.DB, l language)) {
	for name, l := range map[string]language{
		"sqlite": {
			numbers: func(n int) string {
				return fmt.Sprintf(`(WITH RECURSIVE g(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM g WHERE n < %d) SELECT n FROM g)`, n-1)
			},
			id:      `lower(substr(hex(randomblob(4)), 1, 8) || '-' || hex(randomblob(2)) || '-7' || substr(hex(randomblob(2)), 2) || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))`,
			payload: `CAST(hex(randomblob(200)) AS BLOB)`, hash: `randomblob(32)`,
		},
		"postgres": {
			numbers: func(n int) string { return fmt.Sprintf(`generate_series(0, %d::bigint) AS g(n)`, n-1) },
			id:      `gen_random_uuid()`,
			payload: `decode(repeat(md5(random()::text), 25), 'hex')`, hash: `decode(md5(random()::text) || md5(random()::text), 'hex')`,
		},
	} {
		b.Run(name, func(b *testing.B) {
			o := store.Options{DataDir: b.TempDir()}
			source := filepath.Join(o.DataDir, "usher.db")
			if name == "postgres" {
				o.DSN = storetest.PostgreSQL(b)
				source = o.DSN
			}
			s := open(b, o)
			db, err := sql.Open(name, source)
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			run(b, s, db, l)
		})
	}
}

func run(b *testing.B, db *sql.DB, statements ...string) {
	b.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatalf("%s: %v", statement, err)
		}
	}
}
