package audit_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
)

// memory is a log with its checkpoints.
type memory struct {
	records     []audit.Record
	checkpoints []audit.Checkpoint
	told        []events.Event
	broken      error
	reads       int // of pages of records
	meanwhile   func()
}

func (m *memory) EventSpan(context.Context) (first, last int64, err error) {
	if len(m.records) == 0 {
		return 0, 0, m.broken
	}
	first, last = m.records[0].Seq, m.records[len(m.records)-1].Seq
	if m.meanwhile != nil {
		m.meanwhile()
	}
	return first, last, m.broken
}

func (m *memory) EventHead(ctx context.Context) (int64, audit.Hash, error) {
	_, last, err := m.EventSpan(ctx)
	if last == 0 {
		return 0, audit.Hash{}, err
	}
	return last, m.records[len(m.records)-1].Hash, err
}

func (m *memory) Events(_ context.Context, q audit.Query) (page []audit.Record, _ error) {
	m.reads++
	for _, r := range m.records {
		if r.Seq > q.After && len(page) < q.Limit && (q.Subject == "" || r.Subject == q.Subject) {
			page = append(page, r)
		}
	}
	if m.meanwhile != nil {
		m.meanwhile()
	}
	return page, m.broken
}

func (m *memory) Checkpoints(_ context.Context, after int64, limit int) (page []audit.Checkpoint, _ error) {
	for _, c := range m.checkpoints {
		if c.Seq > after && len(page) < limit {
			page = append(page, c)
		}
	}
	return page, m.broken
}

func (m *memory) LastCheckpoint(context.Context) (c audit.Checkpoint, _ error) {
	if n := len(m.checkpoints); n > 0 {
		c = m.checkpoints[n-1]
	}
	return c, m.broken
}

func (m *memory) SaveCheckpoint(_ context.Context, c audit.Checkpoint) error {
	m.checkpoints = append(m.checkpoints, c)
	return m.broken
}

func (m *memory) AppendSoon(_ context.Context, e events.Event) error {
	m.told = append(m.told, e)
	return m.broken
}

// walked verifies what Walk gives.
func walked(t *testing.T, m *memory, q audit.Query) (audit.Report, error) {
	t.Helper()
	v := &audit.Verifier{Keys: []audit.PublicKey{newKey(t, 1).Public()}}
	var pages, all int64
	_, err := audit.Walk(t.Context(), m, q, audit.Handler{Record: v.Record, Checkpoint: v.Checkpoint},
		func(done, of int64) error { pages, all = done, of; return nil })
	if err != nil {
		return audit.Report{}, err
	}
	if pages != all {
		t.Errorf("the walk ended at %d of %d", pages, all)
	}
	return v.End()
}

func TestWalk(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	whole := chain(2500)
	var checkpoints []audit.Checkpoint
	for seq := int64(1); seq <= 2500; seq += 2 { // more than a page
		checkpoints = append(checkpoints, key.Sign(seq, whole[seq-1].Hash, at))
	}
	for name, c := range map[string]struct {
		log   memory
		after int64
		want  audit.Report
		kind  string
	}{
		"empty":               {want: audit.Report{}},
		"whole":               {log: memory{records: whole, checkpoints: checkpoints}, want: audit.Report{Records: 2500, Checkpoints: 1250, First: 1, Last: 2500, Signed: 2499}},
		"without checkpoints": {log: memory{records: whole}, want: audit.Report{Records: 2500, First: 1, Last: 2500}},
		"pruned":              {log: memory{records: whole[1001:], checkpoints: checkpoints}, want: audit.Report{Records: 1499, Checkpoints: 750, First: 1002, Last: 2500, Signed: 2499}},
		"continued":           {log: memory{records: whole, checkpoints: checkpoints}, after: 2001, want: audit.Report{Records: 499, Checkpoints: 250, First: 2002, Last: 2500, Signed: 2499}},
		"tail cut":            {log: memory{records: whole[:2000], checkpoints: checkpoints}, kind: audit.TailCut},
		"all cut":             {log: memory{checkpoints: checkpoints}, kind: audit.TailCut},
		"one removed":         {log: memory{records: append(append([]audit.Record{}, whole[:1000]...), whole[1001:]...), checkpoints: checkpoints}, kind: audit.Removed},
		"head removed":        {log: memory{records: whole[1000:], checkpoints: checkpoints}, kind: audit.Removed},
	} {
		got, err := walked(t, &c.log, audit.Query{After: c.after})
		var broken *audit.Broken
		if errors.As(err, &broken); c.kind != "" {
			if broken == nil || broken.Kind != c.kind {
				t.Errorf("%s: got %v, want %s", name, err, c.kind)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	if _, err := walked(t, &memory{broken: errors.New("the database is down")}, audit.Query{}); err == nil {
		t.Error("Walk hides the error of the store")
	}
}

// TestWalkWhileItGrows: what is logged and signed meanwhile is none of it.
func TestWalkWhileItGrows(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	whole := chain(4000)
	m := &memory{records: whole[:1500], checkpoints: []audit.Checkpoint{key.Sign(1400, whole[1399].Hash, at)}}
	m.meanwhile = func() {
		n := min(len(m.records)+500, len(whole))
		m.records = whole[:n]
		m.checkpoints = append(m.checkpoints, key.Sign(int64(n), whole[n-1].Hash, at))
	}
	got, err := walked(t, m, audit.Query{})
	if want := (audit.Report{Records: 1500, Checkpoints: 1, First: 1, Last: 1500, Signed: 1400}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	var selected int
	subject := whole[2].Subject
	_, err = audit.Walk(t.Context(), m, audit.Query{Subject: subject}, audit.Handler{Record: func(audit.Record) error { selected++; return nil }}, nil)
	if err != nil || selected != 1 {
		t.Errorf("selected %d, %v, want 1", selected, err)
	}
}

func TestSigner(t *testing.T) {
	t.Parallel()
	key := newKey(t, 1)
	now := at
	m := &memory{}
	s := audit.Signer{Log: m, Now: func() time.Time { return now }, Keys: func(context.Context) ([]audit.Key, error) { return []audit.Key{key, newKey(t, 2)}, nil }}
	whole := chain(5000)
	step := func(name string, records int, later time.Duration, want bool) {
		t.Helper()
		m.records = whole[:records]
		now = now.Add(later)
		made, err := s.Sign(t.Context())
		if err != nil || made != want {
			t.Errorf("%s: Sign = %t, %v, want %t", name, made, err, want)
		}
	}
	step("an empty log", 0, time.Hour, false)
	step("the first record", 1, 0, true)
	step("nothing new", 1, time.Hour, false)
	step("one more, a minute later", 2, time.Minute, true)
	step("one more, at once", 3, time.Second, false)
	step("999 more at once", 1001, time.Second, false)
	step("1,000 more at once", 1002, time.Second, true)
	step("the clock went back", 1003, -time.Hour, true)

	last := m.checkpoints[len(m.checkpoints)-1]
	if last.Seq != 1003 || last.Head != whole[1002].Hash || !key.Public().Verifies(last) {
		t.Errorf("checkpoint = %+v, want one of record 1003 by the current key", last)
	}
	told := m.told[len(m.told)-1]
	if told.Type != "audit.checkpoint" || !strings.Contains(string(told.Data), `"seq":1003`) || len(m.told) != len(m.checkpoints) {
		t.Errorf("told %d events, the last is %+v, want one for each checkpoint", len(m.told), told)
	}

	for n := 1003; n < 1006; n++ {
		whole[n].Type = "audit.checkpoint"
	}
	step("only checkpoints are new", 1006, time.Hour, false)
	step("and a record", 1007, time.Hour, true)
	m.broken = errors.New("the database is down")
	if made, err := s.Sign(t.Context()); made || err == nil {
		t.Errorf("Sign of a broken store = %t, %v", made, err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	key, next := newKey(t, 1), newKey(t, 2)
	keys := []audit.PublicKey{next.Public(), key.Public()}
	open := func() *audit.File {
		t.Helper()
		f, err := audit.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	appendTo := func(f *audit.File, c audit.Checkpoint) {
		t.Helper()
		if err := f.Append(c, keys); err != nil {
			t.Fatal(err)
		}
	}
	records := chain(10)
	f := open()
	if f.Last() != 0 {
		t.Errorf("Last of a new file = %d", f.Last())
	}
	appendTo(f, key.Sign(3, records[2].Hash, at))
	appendTo(f, key.Sign(5, records[4].Hash, at))

	// The power fails while it writes.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"checkpoint":{"seq":7,"he`...), 0o600); err != nil {
		t.Fatal(err)
	}
	f = open()
	if f.Last() != 5 {
		t.Errorf("Last = %d, want 5", f.Last())
	}
	appendTo(f, next.Sign(7, records[6].Hash, at))
	appendTo(f, next.Sign(9, records[8].Hash, at))
	if text, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(`"key":`)); n != 2 {
		t.Errorf("the file has %d keys, want each once:\n%s", n, text)
	}
	v := &audit.Verifier{}
	err = audit.Read(bytes.NewReader(text), audit.Handler{
		Key: func(k audit.PublicKey) error { v.Keys = append(v.Keys, k); return nil }, Checkpoint: v.Checkpoint,
	})
	for _, r := range records {
		err = errors.Join(err, v.Record(r))
	}
	report, broken := v.End()
	if err != nil || broken != nil || report.Checkpoints != 4 {
		t.Errorf("report = %+v, %v, %v, want 4 checkpoints", report, err, broken)
	}
	if err := os.WriteFile(path, []byte("no checkpoints\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.OpenFile(path); err == nil {
		t.Error("a file of something else is written to")
	}
}
