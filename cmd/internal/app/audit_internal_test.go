package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/store"
)

// newTestAuditor is an auditor of a fresh log that leads, with a sink.
func newTestAuditor(t *testing.T, sink string) (*auditor, *metrics, *strings.Builder) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{DataDir: t.TempDir(), CipherSecrets: []string{"a secret of the test, long enough"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{}
	cfg.Audit.Checkpoint.Sink = config.NewAddress(sink)
	said := &strings.Builder{}
	p := &process{store: s, inForce: inForce{live: &live{}}, metrics: newMetrics("test"), log: slog.New(slog.NewTextHandler(said, nil))}
	p.live.p.Store(&current{cfg: cfg})
	return newAuditor(p), p.metrics, said
}

// logSome logs n events, and signs.
func (a *auditor) logSome(t *testing.T, n int) {
	t.Helper()
	for range n {
		e := events.New(events.AdminActed{Action: "test"}, time.Now(), events.About{Source: "/usher/test", Actor: "system:test"})
		if err := a.log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := a.log.Pending(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	published := make([]relay.Published, len(rows))
	for i, r := range rows {
		published[i] = relay.Published{Row: r, StreamSeq: uint64(r.ID)}
	}
	if err := a.log.Move(t.Context(), published); err != nil {
		t.Fatal(err)
	}
}

func (a *auditor) signAt(t *testing.T, now time.Time) {
	t.Helper()
	a.signer.Now = func() time.Time { return now }
	if made, err := a.signer.Sign(t.Context()); !made || err != nil {
		t.Fatalf("Sign = %t, %v, want a checkpoint", made, err)
	}
}

// TestSinkByURL: each checkpoint is posted until it is taken, also by the next
// leader and with another token, and what fails shows nothing of the URL.
func TestSinkByURL(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seqs []int64
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := int(status.Load()); code != http.StatusOK {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			return
		}
		err := audit.Read(r.Body, audit.Handler{Checkpoint: func(c audit.Checkpoint) error {
			mu.Lock()
			defer mu.Unlock()
			seqs = append(seqs, c.Seq)
			return nil
		}})
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s with %v, want a POST of a checkpoint", r.Method, err)
		}
	}))
	t.Cleanup(server.Close)
	a, _, _ := newTestAuditor(t, server.URL+"/?token=s3cret")
	a.logSome(t, 3)
	now := time.Now()
	a.signAt(t, now)
	for n, refusal := range []int{http.StatusServiceUnavailable, http.StatusFound, http.StatusBadRequest} {
		status.Store(int64(refusal))
		if err := a.sendOnce(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a sink that answers %d: %v, want an error without its URL", refusal, err)
		}
		a.logSome(t, 3)
		a.signAt(t, now.Add(time.Duration(n+1)*time.Hour))
	}
	a.sink.Close() // another leads
	a.live.now().cfg.Audit.Checkpoint.Sink = config.NewAddress(server.URL + "/?token=s3cret2")
	status.Store(http.StatusOK)
	for range 2 {
		if err := a.sendOnce(t.Context()); err != nil {
			t.Error(err)
		}
	}
	a.sink.Close()
	if err := a.sendOnce(t.Context()); err != nil {
		t.Error(err)
	}
	server.Close()
	a.logSome(t, 3)
	a.signAt(t, now.Add(5*time.Hour))
	if err := a.sendOnce(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a sink that is away: %v, want an error without its URL", err)
	}
	signed, err := a.log.Checkpoints(t.Context(), 0, 10)
	if err != nil || len(signed) != 5 {
		t.Fatalf("signed %d, %v, want 5", len(signed), err)
	}
	var want []int64
	for _, c := range signed[:4] {
		want = append(want, c.Seq)
	}
	if !slices.Equal(seqs, want) {
		t.Errorf("the sink got %v, want those that were signed before it was away, once each: %v", seqs, want)
	}
}

// TestABrokenSinkStopsNothing: signing goes on, it is said once and counted.
func TestABrokenSinkStopsNothing(t *testing.T) {
	t.Parallel()
	a, metrics, said := newTestAuditor(t, filepath.Join(t.TempDir(), "no", "such", "folder"))
	a.logSome(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { a.sign(ctx) })
	both.Go(func() { a.send(ctx) })
	scrape := func(line string) bool {
		w := httptest.NewRecorder()
		metrics.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return strings.Contains(w.Body.String(), line)
	}
	deadline := time.Now().Add(20 * time.Second)
	const counted = `usher_audit_checkpoints_total{outcome="%s",step="%s"} %d`
	for !scrape(fmt.Sprintf(counted, "error", "send", 2)) || !scrape(fmt.Sprintf(counted, "ok", "sign", 1)) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was signed, or the sink was not tried again")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	both.Wait()
	if n := strings.Count(said.String(), "fails"); n != 1 {
		t.Errorf("it was said %d times that the sink fails, want once:\n%s", n, said)
	}
}

// TestPrune: what is older than the retention goes, up to a checkpoint; that is
// told, and what is left verifies.
func TestPrune(t *testing.T) {
	t.Parallel()
	a, _, _ := newTestAuditor(t, "")
	now := time.Now()
	a.logSome(t, 5)
	a.signAt(t, now)
	a.logSome(t, 5) // with the event of the checkpoint
	later := now.Add(time.Hour)
	if n, err := a.prune(t.Context(), later); n != 0 || err != nil {
		t.Errorf("prune without a retention = %d, %v", n, err)
	}
	a.live.now().cfg.Audit.Retention = time.Minute
	if n, err := a.prune(t.Context(), later); n != 5 || err != nil {
		t.Fatalf("prune = %d, %v, want the 5 that a checkpoint vouches for", n, err)
	}
	if n, err := a.prune(t.Context(), later); n != 0 || err != nil {
		t.Errorf("prune again = %d, %v, want nothing", n, err)
	}
	a.logSome(t, 1)
	var acted []string
	v := &audit.Verifier{}
	keys, err := a.log.AuditKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.Keys = keys
	_, err = audit.Walk(t.Context(), a.log, audit.Query{}, audit.Handler{Checkpoint: v.Checkpoint, Record: func(r audit.Record) error {
		acted = append(acted, string(r.Payload))
		return v.Record(r)
	}}, nil)
	report, broken := v.End()
	if err = errors.Join(err, broken); err != nil || report.First != 6 || report.Signed != 5 {
		t.Errorf("report = %+v, %v, want a log that begins behind checkpoint 5", report, err)
	}
	if all := strings.Join(acted, "\n"); !strings.Contains(all, `"action":"audit.prune","target":"1-5"`) {
		t.Errorf("no event tells what was pruned:\n%s", all)
	}
}

// TestWorkEndsWithTheLead, when it is lost and when it is given back, and is over
// before another leads.
func TestWorkEndsWithTheLead(t *testing.T) {
	t.Parallel()
	for name, isLost := range map[string]bool{"lost": true, "given back": false} {
		synctest.Test(t, func(t *testing.T) {
			lost := make(chan struct{})
			begun, ended := 0, 0
			work := func(ctx context.Context) {
				begun++
				<-ctx.Done()
				time.Sleep(time.Second) // what it does last
				ended++
			}
			ctx, cancel := context.WithCancel(t.Context())
			end := whileLeading(ctx, lost, work)
			cancel() // the relay finishes its window first
			synctest.Wait()
			time.Sleep(time.Minute)
			if begun != 1 || ended != 0 {
				t.Errorf("%s: while it leads %d works begun and %d ended, want 1 and 0", name, begun, ended)
			}
			if isLost {
				close(lost)
				time.Sleep(2 * time.Second)
				if synctest.Wait(); ended != 1 {
					t.Errorf("%s: the work goes on", name)
				}
			}
			if end(); ended != 1 {
				t.Errorf("%s: given to another while the work goes on", name)
			}
		})
	}
}

// TestSinkIsOfTheLeader: it is closed when the lead ends, and opened by the next.
func TestSinkIsOfTheLeader(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	a, _, _ := newTestAuditor(t, path)
	a.logSome(t, 1)
	a.signAt(t, time.Now())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if err := a.sendOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.send(over)
		f, err := audit.OpenFile(path)
		if err != nil || f.Last() != 1 {
			t.Fatalf("%v, the file has %+v, want the checkpoint", err, f)
		}
		if err := errors.Join(f.Close(), os.Remove(path)); err != nil { // who had it open would not notice
			t.Fatal(err)
		}
	}
}
