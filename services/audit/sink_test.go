package audit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/usher-auth/usher/services/audit"
)

// sinkLog is a log with checkpoints in memory.
type sinkLog struct {
	all   []audit.Checkpoint
	keys  []audit.PublicKey
	taken map[string]int64
}

func (l *sinkLog) Checkpoints(_ context.Context, after int64, limit int) (list []audit.Checkpoint, err error) {
	for _, c := range l.all {
		if c.Seq > after && len(list) < limit {
			list = append(list, c)
		}
	}
	return list, nil
}

func (l *sinkLog) LastCheckpoint(context.Context) (c audit.Checkpoint, err error) {
	if len(l.all) > 0 {
		c = l.all[len(l.all)-1]
	}
	return c, nil
}

func (l *sinkLog) AuditKeys(context.Context) ([]audit.PublicKey, error) { return l.keys, nil }

func (l *sinkLog) CheckpointsTaken(_ context.Context, place string) (int64, bool, error) {
	seq, ok := l.taken[place]
	return seq, ok, nil
}

func (l *sinkLog) SaveCheckpointsTaken(_ context.Context, place string, seq int64) error {
	l.taken[place] = seq
	return nil
}

func newSinkLog(t *testing.T) (l *sinkLog, sign func(seq int64)) {
	key, records := newKey(t, 1), chain(10)
	l = &sinkLog{keys: []audit.PublicKey{key.Public()}, taken: map[string]int64{}}
	return l, func(seq int64) { l.all = append(l.all, key.Sign(seq, records[seq-1].Hash, at)) }
}

// Log rotation, and whoever writes to the file, cost no checkpoint: what is there
// is looked at again, and gets all that it lacks.
func TestSinkSeesThatItsFileIsAnother(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string) error{
		"moved":     func(path string) error { return os.Rename(path, path+".1") },
		"deleted":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 0) },
		"appended to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, _ = f.WriteString("\n")
				err = f.Close()
			}
			return err
		},
	} {
		l, sign := newSinkLog(t)
		path := filepath.Join(t.TempDir(), "checkpoints.jsonl")
		sink := &audit.Sink{Log: l}
		sign(2)
		if n, err := sink.Send(t.Context(), path); n != 1 || err != nil {
			t.Fatalf("%s: Send = %d, %v", name, n, err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		sign(4)
		if _, err := sink.Send(t.Context(), path); err == nil {
			t.Errorf("%s: Send says nothing", name)
		}
		if _, err := sink.Send(t.Context(), path); err != nil {
			t.Errorf("%s: Send again = %v", name, err)
		}
		sink.Close()
		f, err := audit.OpenFile(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || f.Last() != 4 || strings.Count(string(text), `"seq"`) != 2 || strings.Count(string(text), `"key":`) != 1 {
			t.Errorf("%s: the file has not both, with their key: %v\n%s", name, err, text)
		}
		_ = f.Close()
	}
}

// A number in the database that no checkpoint has does not silence the sink.
func TestSinkIsNotSilencedByTheDatabase(t *testing.T) {
	t.Parallel()
	var posted atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { posted.Add(1) }))
	defer server.Close()
	l, sign := newSinkLog(t)
	sign(2)
	first := &audit.Sink{Log: l}
	if n, err := first.Send(t.Context(), server.URL); n != 1 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	first.Close()
	for place := range l.taken {
		l.taken[place] = 9_000_000
	}
	sign(4)
	next := &audit.Sink{Log: l}
	if _, err := next.Send(t.Context(), server.URL); err == nil || !strings.Contains(err.Error(), "somebody has changed it") {
		t.Errorf("Send = %v, want that it is said", err)
	}
	if _, err := next.Send(t.Context(), server.URL); err != nil || posted.Load() != 2 {
		t.Errorf("Send again = %v, posted %d, want the last checkpoint too", err, posted.Load())
	}
}
