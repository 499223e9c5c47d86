package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
)

// metric reads one metric of the admin listener.
func (s *served) metric(name string) float64 {
	s.t.Helper()
	_, body := s.ask("GET", "/metrics")
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(body)
	if found == nil {
		s.t.Fatalf("no metric %s", name)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// The stream is full: events wait in the outbox, metrics and the log say so, and
// when the configuration gives it more room all come, without a restart.
func TestAFullStreamIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limit := func(size string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "usher.yaml"), []byte("bus: {max_bytes: "+size+"}\n"), 0o600); err != nil { // empty: not written
			t.Fatal(err)
		}
	}
	limit("1MB")
	s := serveIn(t, dir, crm)
	soonThat(t, "all is provisioned", func() bool { return strings.Contains(s.log.String(), "created durable consumer crm") })
	s.fillStream()
	const acts = 20
	for range acts { // each is an event
		if status, body := s.ask("POST", "/admin/hooks/crm/rotate"); status != 200 {
			t.Fatalf("rotate = %d %s", status, body)
		}
	}
	soonThat(t, "events wait", func() bool {
		return s.metric("usher_outbox_depth") > 0 && s.metric("usher_outbox_oldest_seconds") > 0 && s.metric("usher_relay_errors_total") > 0
	})
	soonThat(t, "the log says why", func() bool {
		return strings.Contains(s.log.String(), "events wait in the outbox") && strings.Contains(s.log.String(), "maximum bytes exceeded")
	})
	if used, most := s.metric("usher_stream_bytes"), s.metric("usher_stream_max_bytes"); most != 1<<20 || used < 0.99*most || used > most {
		t.Errorf("the stream holds %g of %g bytes, want nearly all of 1 MB", used, most)
	}
	if used, most := s.metric("usher_bus_store_bytes"), s.metric("usher_bus_store_max_bytes"); used < 1e6 || most < used {
		t.Errorf("the store holds %g of %g bytes, want the stream in it", used, most)
	}
	limit("2MB")
	soonThat(t, "the outbox is empty", func() bool { return s.metric("usher_outbox_depth") == 0 })
	if _, body := s.ask("GET", "/admin/events?type=admin.acted&limit=1000"); strings.Count(body, `"hook.rotate"`) != acts {
		t.Errorf("the event log holds %d of %d events", strings.Count(body, `"hook.rotate"`), acts)
	}
	limit("")
	soonThat(t, "the limit is left out", func() bool { return strings.Count(s.log.String(), "another configuration is in force") == 2 })
	limit("0B")
	soonThat(t, "the stream has no limit", func() bool {
		_, body := s.ask("GET", "/metrics")
		return strings.Contains(body, "usher_stream_bytes") && !strings.Contains(body, "usher_stream_max_bytes")
	})
}

// fillStream leaves room for no event.
func (s *served) fillStream() {
	s.t.Helper()
	nc, err := s.connect(events.UserAPIEvents, "")
	if err != nil {
		s.t.Fatal(err)
	}
	publisher, err := events.NewPublisher(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	for size, n := 200<<10, 0; size > 0; n++ {
		filler := events.Message{ID: fmt.Sprint("filler-", n), Type: "test.filler", Payload: make([]byte, size)}
		switch err := publisher.Publish(s.t.Context(), []events.Message{filler})[0].Err; {
		case events.IsFull(err):
			size /= 4
		case err != nil:
			s.t.Fatal(err)
		}
	}
}

// A full stream had the embedded bus started again every 15 seconds, which helps
// it not at all, and takes sign-ins and workers the bus.
func TestAFullStreamDoesNotRestartTheBus(t *testing.T) {
	t.Parallel()
	log := &lockedLog{}
	b := embeddedBus(t, log, t.TempDir())
	nc, err := b.connect(t.Context(), events.UserProvision)
	if err == nil {
		_, err = events.Provision(t.Context(), nc, events.StreamOptions{MaxBytes: 1 << 10}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	api, err := b.connect(t.Context(), events.UserAPIEvents)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := events.NewPublisher(api)
	if err != nil {
		t.Fatal(err)
	}
	full := publisher.Publish(t.Context(), []events.Message{{ID: "1", Type: "identity.created", Payload: make([]byte, 2<<10)}})[0].Err
	if full == nil {
		t.Fatal("2 KiB fit into 1 KiB")
	}
	b.revive(t.Context(), time.Minute, full)
	if strings.Contains(log.String(), "started again") {
		t.Errorf("the bus was started again because of %v", full)
	}
	b.revive(t.Context(), time.Minute, errors.New("no answer"))
	if !strings.Contains(log.String(), "started again") {
		t.Error("a bus without an answer was not started again")
	}
}

func embeddedBus(t *testing.T, log *lockedLog, dir string) *bus {
	t.Helper()
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{"data_dir": dir, "bus.listen": "127.0.0.1:-1"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := openBus(context.WithoutCancel(t.Context()), cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// Somebody deletes a durable consumer by hand: the leader makes it again at its
// next look, and says so.
func TestADurableThatWasDeletedByHandComesBack(t *testing.T) {
	t.Parallel()
	s := serveIn(t, t.TempDir(), crm)
	nc, err := s.connect(events.UserProvision, "")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const line = `provisioned="created durable consumer crm"`
	soonThat(t, "the durable is there", func() bool { return strings.Count(s.log.String(), line) == 1 })
	if err := js.DeleteConsumer(t.Context(), events.Stream, "crm"); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(provisionEvery + 5*time.Second); strings.Count(s.log.String(), line) < 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: the log says %s", provisionEvery, line)
		}
	}
	if _, err := js.Consumer(t.Context(), events.Stream, "crm"); err != nil {
		t.Errorf("the durable is not back: %v", err)
	}
}
