package e2e_test

import (
	"bufio"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/storetest"
)

const (
	verifiedRecords = 300_000
	pagedRecords    = 1_000_000
)

// eventLog measures what it takes to verify an event log, and what a page costs
// at the start and at the end of one with a million records.
func (b *bench) eventLog() {
	dsn := storetest.PostgreSQL(b.t)
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	b.fillLog(db, verifiedRecords)
	s := newSystem(b.t, "postgres", merge(hooks(sessionHook), settings{"dsn": dsn}))
	defer s.stop()
	b.verifyLog(s, db)
	s.processes["serve"].stop(b.t) // it adds to the log itself
	b.fillLog(db, pagedRecords)
	s.restart("serve")
	b.pagesOfEvents(s)
}

// fillLog lets the event log grow to so many records that are bound to each
// other, one in ten thousand of a type that is rare.
func (b *bench) fillLog(db *sql.DB, upTo int) {
	var from int
	former := make([]byte, sha256.Size)
	err := db.QueryRow(`SELECT seq, hash FROM event_log ORDER BY seq DESC LIMIT 1`).Scan(&from, &former)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		b.t.Fatal(err)
	}
	const made = 1000 // at a time
	var some []events.Event
	columns := []string{"seq", "event_id", "stream_seq", "type", "subject", "payload", "former", "hash", "logged_at"}
	b.copyRows(db, "event_log", columns, upTo-from, func(i int) []any {
		if i%made == 0 {
			some = benchEvents(b, made)
		}
		e := some[i%made]
		if i%10_000 == 9_999 {
			e = events.New(events.HookDead{Hook: "bench", EventID: e.ID, Attempts: 5, Reason: "attempts"}, e.Time, events.About{Source: "/usher/bench", Actor: "system:hooks"})
		}
		payload := b.outboxRow(e)[3].([]byte)
		hash := audit.Next(audit.Hash(former), payload)
		seq := from + i + 1
		record := []any{seq, e.ID, seq, e.Type, e.Subject, payload, former, hash[:], e.Time.UnixMicro()}
		former = hash[:]
		return record
	})
	if _, err := db.Exec(`VACUUM ANALYZE event_log`); err != nil {
		b.t.Fatal(err)
	}
}

// pagesOfEvents asks for pages at the start, in the middle and at the end, in turns.
func (b *bench) pagesOfEvents(s *system) {
	admin := newApp(b.t, s.admins[0])
	page := func(after int, filter string) time.Duration {
		cursor := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "seq:%d", after))
		began := time.Now()
		a := admin.must("GET", "/admin/events?limit=100&after="+cursor+filter, nil, nil)
		took := time.Since(began)
		if a.status != http.StatusOK {
			b.t.Fatalf("events: %d %s", a.status, a.body)
		}
		return took
	}
	for _, filter := range []struct{ name, query string }{{"all", ""}, {"of a common type", "&type=identity.created"}, {"of a rare type", "&type=hook.dead"}} {
		var took [3][]time.Duration
		for i := range 200 {
			for n, from := range []int{0, pagedRecords / 2, pagedRecords - 20_000} {
				if d := page(from+50*i, filter.query); i >= 40 { // those before warm
					took[n] = append(took[n], d)
				}
			}
		}
		var p50 [3]time.Duration
		for n, all := range took {
			slices.Sort(all)
			p50[n] = all[len(all)/2]
		}
		b.row(fmt.Sprintf("/admin/events, a page of 100 at the end of %d records, %s", pagedRecords, filter.name), ms(p50[2]),
			fmt.Sprintf("at the start %s, in the middle %s", ms(p50[0]), ms(p50[1])), fmt.Sprintf("%.2f ×", p50[2].Seconds()/p50[0].Seconds()), "≤ 1.2 ×")
	}
}

// verifyLog verifies an export, by the server, and past it. The floors read the
// same lines or rows and only take hashes. What else the machine does is not in
// the CPU time.
func (b *bench) verifyLog(s *system, db *sql.DB) {
	export := b.export(s)
	floor := func(read func()) (rate float64) {
		began := time.Now()
		read()
		return verifiedRecords / time.Since(began).Seconds()
	}
	rows, lines := floor(func() { b.hashRows(db) }), floor(func() { b.hashLines(export) })
	for _, way := range []struct {
		name  string
		args  []string
		floor float64
	}{
		{"an export", []string{export}, lines},
		{"a running server", nil, rows},
		{"--database", []string{"--database"}, rows},
	} {
		l := median([]load{b.verify(s, way.args), b.verify(s, way.args), b.verify(s, way.args)})
		b.row(fmt.Sprintf("usher audit verify, %d records, %s", verifiedRecords, way.name),
			fmt.Sprintf("%.0f/s; CPU for each: command %.1f µs, server %.1f µs, database %.1f µs", l.rate, micros(l.client), micros(l.server-l.database), micros(l.database)),
			fmt.Sprintf("only read and hashed %.0f/s", way.floor), fmt.Sprintf("%.0f %%", 100*l.rate/way.floor), "≥ 100,000/s")
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// verify verifies the whole event log once.
func (b *bench) verify(s *system, args []string) load {
	cmd := exec.CommandContext(b.t.Context(), usherBin, append([]string{"audit", "verify", "--dev", "-c", s.config, "--admin", s.admins[0]}, args...)...)
	server, database, began := s.cpu(), s.databaseCPU(), time.Now()
	said, err := cmd.CombinedOutput()
	wall := time.Since(began)
	if err != nil || !strings.Contains(string(said), "intact") {
		b.t.Fatalf("verify %v: %v: %s", args, err, said)
	}
	const n = verifiedRecords
	l := load{n: n, wall: wall, rate: n / wall.Seconds(), database: (s.databaseCPU() - database) / n}
	l.server = (s.cpu()-server)/n + l.database
	l.client = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / n
	return l
}

// export writes the event log to a file.
func (b *bench) export(s *system) (path string) {
	file, err := os.Create(filepath.Join(s.dir, "export.jsonl"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.CommandContext(b.t.Context(), usherBin, "events", "export", "--dev", "-c", s.config, "--admin", s.admins[0])
	cmd.Stdout, cmd.Stderr = file, os.Stderr
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("export: %v", err)
	}
	return file.Name()
}

func (b *bench) hashRows(db *sql.DB) {
	rows, err := db.Query(`SELECT seq, event_id, stream_seq, type, subject, payload, former, hash, logged_at FROM event_log ORDER BY seq`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	var seq, stream, at int64
	var id, kind, subject string
	var payload, former, hash sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&seq, &id, &stream, &kind, &subject, &payload, &former, &hash, &at); err != nil {
			b.t.Fatal(err)
		}
		_ = sha256.Sum256(payload)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) hashLines(path string) {
	file, err := os.Open(path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, audit.MaxLine)
	for lines.Scan() {
		_ = sha256.Sum256(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		b.t.Fatal(err)
	}
}
