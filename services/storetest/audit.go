package storetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/store"
)

// verified verifies the log as it is stored, with checkpoints from outside.
func (s *suite) verified(st *store.Store, outside ...audit.Checkpoint) (audit.Report, error) {
	s.t.Helper()
	key, err := audit.NewKey(make([]byte, 32))
	s.must(err)
	v := &audit.Verifier{Keys: []audit.PublicKey{key.Public()}}
	for _, c := range outside {
		s.must(v.Checkpoint(c))
	}
	if _, err := audit.Walk(s.ctx(), st, audit.Query{}, audit.Handler{Record: v.Record, Checkpoint: v.Checkpoint}, nil); err != nil {
		return audit.Report{}, err
	}
	return v.End()
}

// testTampering changes the log behind the store's back in the ways of somebody
// who can write to the database. Each is named.
func testTampering(t *testing.T, s *suite) {
	st := s.store(nil)
	s.logged(st, 40)
	for _, seq := range []int64{10, 20, 40} {
		s.must(st.SaveCheckpoint(s.ctx(), s.checkpoint(st, seq)))
	}
	last := s.lastCheckpoint(st)
	s.exec(`CREATE TABLE kept AS SELECT * FROM event_log`)
	s.exec(`CREATE TABLE kept_checkpoints AS SELECT * FROM checkpoints`)
	for name, c := range map[string]struct {
		by      []string
		outside []audit.Checkpoint
		kind    string
		seq     int64
	}{
		"altered":           {by: []string{`UPDATE event_log SET payload = (SELECT payload FROM event_log WHERE seq = 16) WHERE seq = 15`}, kind: audit.Altered, seq: 15},
		"filed differently": {by: []string{`UPDATE event_log SET type = 'login.failed' WHERE seq = 15`}, kind: audit.Altered, seq: 15},
		"of somebody else":  {by: []string{`UPDATE event_log SET subject = '' WHERE seq = 15`}, kind: audit.Altered, seq: 15},
		"removed":           {by: []string{`DELETE FROM event_log WHERE seq = 15`}, kind: audit.Removed, seq: 16},
		"removed, renumbered": {by: []string{
			`DELETE FROM event_log WHERE seq = 15`, `UPDATE event_log SET seq = -seq WHERE seq > 15`, `UPDATE event_log SET seq = -seq - 1 WHERE seq < 0`,
		}, kind: audit.Altered, seq: 15},
		"inserted": {by: []string{
			`UPDATE event_log SET seq = -seq WHERE seq > 15`, `UPDATE event_log SET seq = -seq + 1 WHERE seq < 0`,
			`INSERT INTO event_log (seq, event_id, stream_seq, type, subject, payload, former, hash, logged_at)
				SELECT 16, '` + uuid.NewString() + `', stream_seq, type, subject, payload, former, hash, logged_at FROM event_log WHERE seq = 3`,
		}, kind: audit.Inserted, seq: 16},
		"swapped": {by: []string{
			`UPDATE event_log SET seq = -1 WHERE seq = 15`, `UPDATE event_log SET seq = 15 WHERE seq = 16`, `UPDATE event_log SET seq = 16 WHERE seq = -1`,
		}, kind: audit.Reordered, seq: 15},
		"head cut":         {by: []string{`DELETE FROM event_log WHERE seq <= 9`}, kind: audit.Removed, seq: 10},
		"tail cut":         {by: []string{`DELETE FROM event_log WHERE seq > 30`}, kind: audit.TailCut, seq: 30},
		"emptied":          {by: []string{`DELETE FROM event_log`}, kind: audit.TailCut, seq: 0},
		"checkpoint moved": {by: []string{`UPDATE checkpoints SET seq = 39 WHERE seq = 40`}, kind: audit.Forged, seq: 39},
		"tail and checkpoints cut": {
			by:      []string{`DELETE FROM event_log WHERE seq > 30`, `DELETE FROM checkpoints WHERE seq > 30`},
			outside: []audit.Checkpoint{last}, kind: audit.TailCut, seq: 30,
		},
		// This is why a checkpoint is kept elsewhere.
		"tail and checkpoints cut, none from outside": {by: []string{`DELETE FROM event_log WHERE seq > 30`, `DELETE FROM checkpoints WHERE seq > 30`}},
		"pruned up to a checkpoint":                   {by: []string{`DELETE FROM event_log WHERE seq <= 10`}, outside: []audit.Checkpoint{last}},
	} {
		for _, query := range c.by {
			s.exec(query)
		}
		report, err := s.verified(st, c.outside...)
		var broken *audit.Broken
		switch errors.As(err, &broken); {
		case c.kind == "" && err != nil:
			t.Errorf("%s: %v, want it not to be seen", name, err)
		case c.kind != "" && (broken == nil || broken.Kind != c.kind || broken.Seq != c.seq):
			t.Errorf("%s: %+v, %v, want record %d %s", name, report, err, c.seq, c.kind)
		}
		for _, query := range []string{
			`DELETE FROM event_log`, `DELETE FROM checkpoints`, `INSERT INTO event_log SELECT * FROM kept`, `INSERT INTO checkpoints SELECT * FROM kept_checkpoints`,
		} {
			s.exec(query)
		}
		if report, err := s.verified(st, last); err != nil || report.Records != 40 || report.Checkpoints != 3 {
			t.Fatalf("the log as it was: %+v, %v, want 40 records, 3 checkpoints, intact", report, err)
		}
	}
}

func testRotateKey(t *testing.T, s *suite) {
	st, running := s.store(nil), s.store(nil)
	former := st.Key(store.KeyCheckpoint)
	s.advance(time.Minute)
	s.must(st.RotateKey(s.ctx(), store.KeyCheckpoint, s.acted("audit.key.rotate", "")))
	keys := st.Keys(store.KeyCheckpoint)
	if len(keys) != 2 || bytes.Equal(keys[0], former) || !bytes.Equal(keys[1], former) {
		t.Fatalf("%d keys after a rotation, want a new one and the former", len(keys))
	}
	fresh, err := running.FreshKeys(s.ctx(), store.KeyCheckpoint)
	if err != nil || len(fresh) != 2 || !bytes.Equal(fresh[0], keys[0]) {
		t.Errorf("FreshKeys of a running process = %d keys, %v, want the new one first", len(fresh), err)
	}
	if types := s.types(st); len(types) != 1 || types[0] != "admin.acted " {
		t.Errorf("events = %v, want admin.acted", types)
	}
	s.advance(time.Minute)
	s.must(st.RotateKey(s.ctx(), store.KeyCheckpoint, s.acted("audit.key.rotate", "")))
	if again := st.Keys(store.KeyCheckpoint); len(again) != 3 || !bytes.Equal(again[1], keys[0]) {
		t.Errorf("%d keys after two rotations, want three, the newest first", len(again))
	}
}
