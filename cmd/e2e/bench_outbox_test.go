package e2e_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// benchEvents makes events of people who sign up, each with its session: two
// events of each identity.
func benchEvents(b *bench, n int) []events.Event {
	all := make([]events.Event, n)
	identity, flow, now := "", "", time.Now()
	for i := range all {
		about := events.About{Source: "/usher/bench", Actor: "client"}
		if i%2 == 0 {
			identity, flow = uuid.NewString(), uuid.NewString()
			about.Subject = identity
			all[i] = events.New(events.IdentityCreated{
				IdentityID: identity, SchemaID: "default", State: "active", Method: "password", FlowID: flow, FlowType: "api", SessionPlanned: true, Network: "192.0.2.0/24",
			}, now, about)
		} else {
			about.Subject = identity
			all[i] = events.New(events.SessionIssued{
				SessionID: uuid.NewString(), IdentityID: identity, Method: "password", AAL: "aal1", FlowID: flow, Network: "192.0.2.0/24",
			}, now, about)
		}
		all[i].Sequence = strconv.Itoa(1 + i%2)
	}
	return all
}

// copyRows gives rows to a table in one commit.
func (b *bench) copyRows(db *sql.DB, table string, columns []string, n int, row func(i int) []any) {
	tx, err := db.Begin()
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit
	in, err := tx.Prepare(`COPY ` + table + ` (` + strings.Join(columns, ", ") + `) FROM STDIN`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer in.Close()
	for i := 0; i < n && err == nil; i++ {
		_, err = in.Exec(row(i)...)
	}
	if err == nil {
		_, err = in.Exec() // the end
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

var outboxColumns = []string{"event_id", "type", "identity_id", "payload", "created_at"}

// outboxRow is an event as a row of the outbox.
func (b *bench) outboxRow(e events.Event) []any {
	payload, err := e.Encode()
	if err != nil {
		b.t.Error(err) // it may be called beside the test's goroutine
	}
	return []any{e.ID, e.Type, e.Subject, payload, e.Time.UnixMicro()}
}

// outbox measures how fast a backlog that appears at once goes to the stream,
// each batch synced to the disk, and into the event log, against the bare batch
// and the bare move, one after another as they must be.
func (b *bench) outbox() {
	const n, window, runs = 40_000, 256, 3
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	db, err := sql.Open("postgres", s.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	batches, moves := b.barePublish(n/4, window), b.bareMove(db, n/4, window)
	floor := 1 / (1/batches + 1/moves)
	loads := make([]load, runs)
	for i := range loads {
		loads[i] = b.drain(s, db, n, window)
	}
	l := median(loads)
	b.row("outbox drained into stream and event log, PostgreSQL, sync always", fmt.Sprintf("%.0f/s (%.0f to %.0f)", l.rate, loads[0].rate, loads[runs-1].rate),
		fmt.Sprintf("bare batches of %d %.0f/s, then bare moves %.0f/s: %.0f/s", window, batches, moves, floor),
		fmt.Sprintf("%.0f %%; CPU per event: program %s, database %s", 100*l.rate/floor, ms(l.server-l.database), ms(l.database)), "≥ 4,000/s")
}

// drain gives the outbox n events in one commit and waits until it is empty.
// The time goes from the first move to the last, so that the relay's poll is not in it.
func (b *bench) drain(s *system, db *sql.DB, n, window int) load {
	all := benchEvents(b, n)
	var before int64
	if err := db.QueryRow(`SELECT coalesce(max(seq), 0) FROM event_log`).Scan(&before); err != nil {
		b.t.Fatal(err)
	}
	server, database := s.cpu(), s.databaseCPU()
	b.copyRows(db, "outbox", outboxColumns, n, func(i int) []any { return b.outboxRow(all[i]) })
	copied := s.databaseCPU() - database
	eventually(b.t, 60*time.Second, func() error {
		var waiting bool
		err := db.QueryRow(`SELECT EXISTS (SELECT 1 FROM outbox)`).Scan(&waiting)
		if err == nil && waiting {
			err = fmt.Errorf("events wait in the outbox")
		}
		return err
	})
	l := load{database: (s.databaseCPU() - database - copied) / time.Duration(n)}
	l.server = (s.cpu()-server)/time.Duration(n) + l.database
	var first, last int64
	err := db.QueryRow(`SELECT count(*), min(logged_at), max(logged_at) FROM event_log WHERE seq > $1`, before).Scan(&l.n, &first, &last)
	if err != nil || l.n < n || last == first {
		b.t.Fatalf("%d of %d events in the log, %v", l.n, n, err)
	}
	l.wall = time.Duration(last-first) * time.Microsecond
	l.rate = float64(l.n-window) / l.wall.Seconds()
	return l
}

// barePublish is how many events a second go to a stream in atomic batches.
func (b *bench) barePublish(n, window int) float64 {
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	connect, stop := b.startBus(ctx)
	defer stop()
	if _, err := events.Provision(ctx, connect(events.UserProvision), events.StreamOptions{}, nil); err != nil {
		b.t.Fatal(err)
	}
	publisher, err := events.NewPublisher(connect(events.UserAPIEvents))
	if err != nil {
		b.t.Fatal(err)
	}
	var messages []events.Message
	for _, e := range benchEvents(b, n) {
		payload, err := e.Encode()
		if err != nil {
			b.t.Fatal(err)
		}
		messages = append(messages, events.Message{ID: e.ID, Type: e.Type, Payload: payload})
	}
	began := time.Now()
	for batch := range slices.Chunk(messages, window) {
		if _, err := publisher.PublishTogether(ctx, batch); err != nil {
			b.t.Fatal(err)
		}
	}
	return float64(n) / time.Since(began).Seconds()
}

// bareMove is how many rows a second go from one table to another in one
// statement for each window, all of it within the database.
func (b *bench) bareMove(db *sql.DB, n, window int) float64 {
	for _, statement := range []string{`CREATE TABLE bare_outbox (LIKE outbox INCLUDING ALL)`, `CREATE TABLE bare_log (LIKE event_log INCLUDING ALL)`} {
		if _, err := db.Exec(statement); err != nil {
			b.t.Fatal(err)
		}
	}
	all := benchEvents(b, n)
	b.copyRows(db, "bare_outbox", outboxColumns, n, func(i int) []any { return b.outboxRow(all[i]) })
	conn, err := db.Conn(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(b.t.Context(), `SET synchronous_commit = off`); err != nil {
		b.t.Fatal(err)
	}
	none := make([]byte, sha256.Size)
	began := time.Now()
	for range n / window {
		if _, err := conn.ExecContext(b.t.Context(), `WITH gone AS (DELETE FROM bare_outbox WHERE id IN (SELECT id FROM bare_outbox ORDER BY id LIMIT $1) RETURNING *)
			INSERT INTO bare_log SELECT id, event_id, id, type, identity_id, payload, $2, $2, created_at FROM gone`, window, none); err != nil {
			b.t.Fatal(err)
		}
	}
	return float64(n/window*window) / time.Since(began).Seconds()
}

// outboxAge measures how old the oldest row of the outbox is while rows are
// written past the program, each in a durable commit and told of on the bus.
func (b *bench) outboxAge() {
	const rate, writers, seconds = 1000, 8, 20
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	db, err := sql.Open("postgres", s.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(writers + 1)
	nc := b.kicker(s)
	stop := make(chan struct{})
	var writing, watching sync.WaitGroup
	all, commits := benchEvents(b, rate*seconds), make([][]time.Duration, writers)
	for w := range writers {
		writing.Go(func() {
			commits[w] = b.writeAtRate(db, nc, all[w*rate/writers*seconds:][:rate/writers*seconds], rate/writers)
		})
	}
	var ages, late []time.Duration
	watching.Go(func() { ages, late = b.watchAge(db, stop) })
	began := time.Now()
	writing.Wait()
	wrote := float64(rate*seconds) / time.Since(began).Seconds()
	close(stop)
	watching.Wait()
	commit := slices.Concat(commits...)
	for _, all := range [][]time.Duration{ages, late, commit} {
		slices.Sort(all)
	}
	p99 := func(all []time.Duration) time.Duration { return all[len(all)*99/100] }
	b.row(fmt.Sprintf("age of the oldest outbox row, %.0f/s written past the program", wrote),
		fmt.Sprintf("p50 %s, p99 %s, most %s", ms(ages[len(ages)/2]), ms(p99(ages)), ms(ages[len(ages)-1])),
		fmt.Sprintf("p99 of the writers' commits %s, of how late a timer is %s", ms(p99(commit)), ms(p99(late))),
		fmt.Sprintf("%.1f × the commit", p99(ages).Seconds()/p99(commit).Seconds()), "p99 ≤ 100 ms at 1,000/s")
}

// kicker connects to the system's bus as a part that commits events.
func (b *bench) kicker(s *system) *nats.Conn {
	keys, err := events.LoadOrMakeKeys(filepath.Join(s.dir, "data", "bus", "keys"))
	if err != nil {
		b.t.Fatal(err)
	}
	creds, err := keys.Credentials(events.UserAPIEvents)
	if err != nil {
		b.t.Fatal(err)
	}
	listen := s.base["bus"].(settings)["listen"].(string)
	nc, err := events.Connect(b.t.Context(), events.ConnectOptions{URL: "nats://" + listen, Credentials: creds, User: events.UserAPIEvents, Name: "bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

// writeAtRate writes events to the outbox one by one, so many a second, and
// gives how long each commit took.
func (b *bench) writeAtRate(db *sql.DB, nc *nats.Conn, all []events.Event, rate int) (took []time.Duration) {
	insert, err := db.Prepare(`INSERT INTO outbox (event_id, type, identity_id, payload, created_at) VALUES ($1, $2, $3, $4, $5)`)
	if err != nil {
		b.t.Error(err)
		return []time.Duration{0}
	}
	defer insert.Close()
	began := time.Now()
	for i, e := range all {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		e.Time = time.Now().UTC().Truncate(time.Microsecond)
		_, err := insert.Exec(b.outboxRow(e)...)
		took = append(took, time.Since(e.Time))
		if err == nil {
			err = nc.Publish(events.SubjectOutboxKick, nil)
		}
		if err != nil {
			b.t.Error(err)
			break
		}
	}
	return took
}

// watchAge looks every ten milliseconds how old the oldest row is, which is
// nothing where there is none, and how late it came to look: no row can be
// younger on a machine that has other things to do.
func (b *bench) watchAge(db *sql.DB, stop <-chan struct{}) (ages, late []time.Duration) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return ages, late
		case due := <-tick.C:
			late = append(late, time.Since(due))
		}
		var created int64
		err := db.QueryRow(`SELECT created_at FROM outbox ORDER BY id LIMIT 1`).Scan(&created)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			ages = append(ages, 0)
		case err != nil:
			b.t.Error(err)
			return []time.Duration{0}, []time.Duration{0}
		default:
			ages = append(ages, time.Since(time.UnixMicro(created)))
		}
	}
}
