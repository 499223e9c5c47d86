package e2e_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/services/audit"
)

// tamperings are what somebody does who can write to the database, or to an
// export, and what "usher audit verify" says then: of the record, its event (%s), or
// the first signed head behind record 5 (%d).
var tamperings = []struct {
	name, says string
	do         func(r []audit.Record) []audit.Record
}{
	{"one altered", "record 5 (event %s) altered: its payload does not give its hash", func(r []audit.Record) []audit.Record {
		r[4].Payload = falsified(r[4].Payload)
		return r
	}},
	{"one altered, its hash made anew", "record 6 (event %s) altered: it does not follow record 5", func(r []audit.Record) []audit.Record {
		r[4].Payload = falsified(r[4].Payload)
		r[4].Hash = audit.Next(r[4].Former, r[4].Payload)
		return r
	}},
	{"one altered, all hashes made anew", "record %d altered: the checkpoint of", func(r []audit.Record) []audit.Record {
		r[4].Payload = falsified(r[4].Payload)
		for i := 4; i < len(r); i++ {
			r[i].Former = r[i-1].Hash
			r[i].Hash = audit.Next(r[i].Former, r[i].Payload)
		}
		return r
	}},
	{"one removed", "record 6 (event %s) removed: 1 records before it are missing", func(r []audit.Record) []audit.Record {
		return slices.Delete(r, 4, 5)
	}},
	{"one inserted", "record 5 (event %s) inserted: ", func(r []audit.Record) []audit.Record {
		x := r[0]
		x.EventID, x.Former = "00000000-0000-7000-8000-000000000005", r[3].Hash
		x.Payload = bytes.Replace(x.Payload, []byte(r[0].EventID), []byte(x.EventID), 1)
		x.Hash = audit.Next(x.Former, x.Payload)
		return renumbered(slices.Insert(r, 4, x))
	}},
	{"two swapped", "record 5 (event %s) reordered: it follows a record that stands behind it", func(r []audit.Record) []audit.Record {
		r[4], r[7] = r[7], r[4]
		return renumbered(r)
	}},
	{"tail cut", "record 9 tail cut: the log ends here, and a checkpoint of", func(r []audit.Record) []audit.Record {
		return r[:9]
	}},
	{"all gone", "record 0 tail cut: the log ends here, and a checkpoint of", func([]audit.Record) []audit.Record {
		return nil
	}},
}

func falsified(payload []byte) []byte {
	return bytes.Replace(payload, []byte(`"actor":"`), []byte(`"actor":"x`), 1)
}

func renumbered(r []audit.Record) []audit.Record {
	for i := range r {
		r[i].Seq = int64(i + 1)
	}
	return r
}

// TestATamperedLogIsNamed alters the event log in each database, and an export of it.
func TestATamperedLogIsNamed(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{"sqlite", "postgres"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			sink := filepath.Join(t.TempDir(), "checkpoints.jsonl")
			s := newSystem(t, shape, withSink(sink))
			for range 6 {
				newApp(t, s.api(0)).register(newAddress())
			}
			s.signed(sink, 0)
			db := s.tamperer()
			db.must(`DELETE FROM checkpoints`) // then one is due at once, and not in a minute
			s.signed(sink, 11)
			s.processes["serve"].stop(t)
			outside := s.signed(sink, 11)

			whole := s.eventLog()
			if n := len(whole.records); n < 12 {
				t.Fatalf("%d records, want those of six registrations", n)
			}
			export := filepath.Join(s.dir, "export.jsonl")
			for from, verify := range map[string][]string{"database": {"--database"}, "export": {export}} {
				check := func(l eventLog, args ...string) (string, int) {
					if from == "database" {
						db.store(l)
					} else {
						write(t, export, l.export(t))
					}
					said, code := s.verify(append(args, verify...)...)
					t.Logf("%s %s: %s", shape, from, strings.TrimSpace(said))
					return said, code
				}
				n := heads(append(outside, whole.checkpoints...))
				want := fmt.Sprintf("%d records, %d checkpoints, intact\n", len(whole.records), n)
				if n == 1 {
					want = strings.Replace(want, "checkpoints", "checkpoint", 1)
				}
				if said, code := check(whole, "--checkpoint", sink); code != 0 || !strings.HasPrefix(said, want) {
					t.Errorf("the whole %s = %d %s, want %s", from, code, said, want)
				}
				for _, c := range tamperings {
					l := whole
					l.records = c.do(slices.Clone(whole.records))
					said, code := check(l, "--checkpoint", sink)
					if want := inFull(c.says, l.records, outside); code != 1 || !strings.Contains(said, want) {
						t.Errorf("%s, %s = %d %s, want %q", from, c.name, code, said, want)
					}
				}
				// Whoever can write to the database can cut its checkpoints too.
				cut := eventLog{whole.keys, whole.records[:9], nil}
				if said, code := check(cut, "--checkpoint", sink); code != 1 || !strings.Contains(said, "tail cut") {
					t.Errorf("%s, cut with its checkpoints = %d %s, want it named", from, code, said)
				}
				if said, code := check(cut); code != 0 || !strings.Contains(said, "that the end of the log was cut off cannot be seen") {
					t.Errorf("%s, cut, with no checkpoint from outside = %d %s, want it said that nobody can see it", from, code, said)
				}
			}
			db.store(whole)
		})
	}
}

// heads counts the records that checkpoints sign.
func heads(all []audit.Checkpoint) int {
	seqs := map[int64]bool{}
	for _, c := range all {
		seqs[c.Seq] = true
	}
	return len(seqs)
}

// inFull puts the event, or the signed head, into what is said of a tampered log.
func inFull(says string, records []audit.Record, signed []audit.Checkpoint) string {
	switch {
	case strings.Contains(says, "%d"):
		i := slices.IndexFunc(signed, func(c audit.Checkpoint) bool { return c.Seq >= 5 })
		return fmt.Sprintf(says, signed[i].Seq)
	case !strings.Contains(says, "%s"):
		return says
	}
	var seq int64
	_, _ = fmt.Sscanf(says, "record %d", &seq)
	i := slices.IndexFunc(records, func(r audit.Record) bool { return r.Seq == seq })
	return fmt.Sprintf(says, records[i].EventID)
}

// eventLog is all that an export of the event log holds.
type eventLog struct {
	keys        []audit.PublicKey
	records     []audit.Record
	checkpoints []audit.Checkpoint
}

// eventLog reads the event log past the program.
func (s *system) eventLog() (l eventLog) {
	s.t.Helper()
	db, err := s.database(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	log := app.AuditLog(db)
	if l.keys, err = log.AuditKeys(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	_, err = audit.Walk(s.t.Context(), log, audit.Query{}, audit.Handler{
		Record:     func(r audit.Record) error { l.records = append(l.records, r); return nil },
		Checkpoint: func(c audit.Checkpoint) error { l.checkpoints = append(l.checkpoints, c); return nil },
	}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (l eventLog) export(t *testing.T) string {
	t.Helper()
	var text bytes.Buffer
	w := audit.NewWriter(&text, l.keys)
	checkpoints := l.checkpoints
	upTo := func(seq int64) {
		for len(checkpoints) > 0 && checkpoints[0].Seq <= seq {
			w.Checkpoint(checkpoints[0])
			checkpoints = checkpoints[1:]
		}
	}
	var last int64
	for _, r := range l.records {
		upTo(r.Seq - 1)
		w.Record(r)
		upTo(r.Seq)
		last = r.Seq
	}
	for _, c := range checkpoints {
		w.Checkpoint(c)
	}
	if err := w.End(last, ""); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// tamperer writes to the database past the program.
type tamperer struct {
	t     *testing.T
	db    *sql.DB
	param string // how the database numbers parameters
}

func (s *system) tamperer() *tamperer {
	s.t.Helper()
	driver, dsn, param := "postgres", s.dsn, "$"
	if s.shape == "sqlite" {
		driver, dsn, param = "sqlite", filepath.Join(s.dir, "data", "usher.db")+"?_pragma=busy_timeout(5000)", "?"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() })
	return &tamperer{s.t, db, param}
}

func (d *tamperer) must(text string, args ...any) {
	d.t.Helper()
	if _, err := d.db.Exec(strings.ReplaceAll(text, "$", d.param), args...); err != nil {
		d.t.Fatalf("%s: %v", text, err)
	}
}

// store makes l the event log.
func (d *tamperer) store(l eventLog) {
	d.t.Helper()
	d.must(`DELETE FROM event_log`)
	d.must(`DELETE FROM checkpoints`)
	for _, r := range l.records {
		d.must(`INSERT INTO event_log (seq, event_id, stream_seq, type, subject, payload, former, hash, logged_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			r.Seq, r.EventID, int64(r.StreamSeq), r.Type, r.Subject, r.Payload, r.Former[:], r.Hash[:], r.LoggedAt.UnixMicro())
	}
	for _, c := range l.checkpoints {
		d.must(`INSERT INTO checkpoints (seq, head, at, key_id, signature) VALUES ($1, $2, $3, $4, $5)`,
			c.Seq, c.Head[:], c.At.UnixMicro(), c.KeyID, c.Signature)
	}
}
