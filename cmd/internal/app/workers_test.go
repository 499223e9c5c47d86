package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

// served is a process with everything in it, in a folder that may be served again.
type served struct {
	t   *testing.T
	dir string
	at  Addresses
	log *lockedLog
	end func()
}

// lockedLog takes lines from several goroutines.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func serveIn(t *testing.T, dir string, workers ...any) *served {
	t.Helper()
	return serveWith(t, dir, map[string]any{"workers": workers})
}

// serveWith serves with settings of the configuration.
func serveWith(t *testing.T, dir string, settings map[string]any) *served {
	t.Helper()
	s := &served{t: t, dir: dir, log: &lockedLog{}}
	overrides := map[string]any{"data_dir": dir, "serve.public.port": 0, "serve.admin.port": 0, "bus.listen": "127.0.0.1:-1"}
	maps.Copy(overrides, settings)
	file := filepath.Join(dir, "usher.yaml") // of a test that changes it
	if _, err := os.Stat(file); err != nil {
		file = ""
	}
	load := func() (*config.Config, []config.Warning, error) {
		return config.Load(config.Options{File: file, Dev: true, Env: []string{}, Overrides: overrides})
	}
	ready := make(chan Addresses, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{
			Load: load, Parts: Everything, Version: "1.0.0", Log: slog.New(slog.NewTextHandler(s.log, nil)), Ready: func(a Addresses) { ready <- a },
		})
	}()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	t.Cleanup(s.end)
	select {
	case s.at = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return s
}

// connect connects with the credential of a part, or with the text of one.
func (s *served) connect(user, credential string) (*nats.Conn, error) {
	text := []byte(credential)
	if credential == "" {
		keys, err := events.LoadOrMakeKeys(filepath.Join(s.dir, "bus", "keys"))
		if err != nil {
			return nil, err
		}
		if text, err = keys.Credentials(user); err != nil {
			return nil, err
		}
	}
	nc, err := events.Connect(s.t.Context(), events.ConnectOptions{URL: s.at.Bus, Credentials: text, User: user, Name: "test", Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		s.t.Cleanup(nc.Close)
	}
	return nc, err
}

// ask asks the admin listener.
func (s *served) ask(method, path string) (status int, body string) {
	s.t.Helper()
	return s.send(method, s.at.Admin+path, nil)
}

// send asks any listener, with the JSON of a body unless it is nil.
func (s *served) send(method, url string, of any) (status int, body string) {
	s.t.Helper()
	var in io.Reader
	if of != nil {
		text, err := json.Marshal(of)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, url, in)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// soonThat waits until what is asked for is true.
func soonThat(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 5s: %s", what)
}

var crm = map[string]any{"name": "crm", "events": []any{"identity.created"}}

// A worker of the file has its durable consumer from the start, gets its
// credential by the admin listener, and is changed in the file only.
func TestAWorkerOfTheFile(t *testing.T) {
	t.Parallel()
	s := serveIn(t, t.TempDir(), crm)
	soonThat(t, "the worker is shown with its consumer", func() bool {
		_, body := s.ask("GET", "/admin/hooks/crm")
		return strings.Contains(body, `"declared":"file"`) && !strings.Contains(body, `"consumer":null`)
	})
	if status, body := s.ask("DELETE", "/admin/hooks/crm"); status != http.StatusConflict {
		t.Errorf("DELETE = %d %s, want a refusal", status, body)
	}
	status, body := s.ask("POST", "/admin/hooks/crm/rotate")
	var made struct{ Credential string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusOK || made.Credential == "" {
		t.Fatalf("rotate = %d, %v, want a credential", status, err)
	}
	nc, err := s.connect("crm", made.Credential)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.Consumer(t.Context(), events.Stream, "crm")
	}
	if err != nil {
		t.Errorf("the credential does not let the worker bind to its consumer: %v", err)
	}
	soonThat(t, "the event log tells of it", func() bool {
		_, body := s.ask("GET", "/admin/events?type=admin.acted")
		return strings.Contains(body, `"hook.rotate"`)
	})
	if log := s.log.String(); strings.Contains(log, made.Credential) || strings.Contains(log, "BEGIN NATS") {
		t.Error("the log shows a credential")
	}
}

// A declared hook that the bus refuses kept the process from leading: no event
// was published any more, because of one consumer that somebody had made by hand.
func TestAHookThatTheBusRefusesStopsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serveIn(t, dir)
	nc, err := s.connect(events.UserProvision, "")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	soonThat(t, "the stream is there", func() bool {
		_, err := js.CreateOrUpdatePushConsumer(t.Context(), events.Stream, jetstream.ConsumerConfig{Durable: "crm", DeliverSubject: "elsewhere"})
		return err == nil
	})
	s.end()

	s = serveIn(t, dir, crm, map[string]any{"name": "shop", "events": []any{"identity.created"}})
	soonThat(t, "the log says what the bus refuses", func() bool { return strings.Contains(s.log.String(), "durable consumer crm") })
	soonThat(t, "the other hook has its consumer", func() bool {
		_, body := s.ask("GET", "/admin/hooks/shop")
		return strings.Contains(body, `"pending":`)
	})
	if status, body := s.ask("POST", "/admin/hooks/shop/rotate"); status != http.StatusOK {
		t.Fatalf("rotate = %d %s", status, body)
	}
	soonThat(t, "events are published", func() bool {
		_, body := s.ask("GET", "/admin/events?type=admin.acted")
		return strings.Contains(body, `"shop"`)
	})
}

// A hook was removed while the leader provisioned or the bus was away, another has
// gone from the file: whose durables stay, and for how long.
func TestDurablesOfHooksThatAreNoMore(t *testing.T) {
	t.Parallel()
	log := &lockedLog{}
	settings := map[string]any{"data_dir": t.TempDir(), "bus.listen": "127.0.0.1:-1", "workers": []any{crm}}
	p := configured(t, settings)
	p.log = slog.New(slog.NewTextHandler(log, nil))
	cfg := p.live.now().cfg
	p.cfg = cfg
	var err error
	if p.store, err = openMigrated(t.Context(), cfg, p.storeOptions()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.store.Close() })
	if p.bus, err = openBus(t.Context(), cfg, p.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.bus.close)
	if p.provisioner, err = p.bus.connect(t.Context(), events.UserProvision); err != nil {
		t.Fatal(err)
	}
	p.cfg = cfg
	p.hooks = p.newCatalogue()
	h := delivery.Hook{Name: "stays", Kind: delivery.Worker, Types: []string{"identity.created"}, CreatedAt: time.Now()}
	said := events.New(events.AdminActed{Action: "hook.create", Target: h.Name}, time.Now(), events.About{Source: "/usher/test", Actor: "system:test"})
	if err := p.store.CreateHook(t.Context(), h, said); err != nil {
		t.Fatal(err)
	}
	// What is left of a webhook of the file that was disabled keeps no durable alive.
	mark := delivery.Hook{Name: "old", Kind: delivery.Webhook, Types: h.Types, URL: "https://old.example", Disabled: delivery.Disabled}
	if err := p.store.CreateHook(t.Context(), mark, events.New(events.AdminActed{Action: "hook.create", Target: "old"}, time.Now(), events.About{Source: "/usher/test", Actor: "system:test"})); err != nil {
		t.Fatal(err)
	}
	removed, inFile, ofAnother := h, h, h
	removed.Name = "removed"
	inFile.Name, inFile.InFile = "old", true
	ofAnother.Name, ofAnother.CreatedAt = "another-version", time.Time{}
	list := []events.Durable{durableOf(removed), durableOf(inFile), durableOf(ofAnother)}
	provision := func(want string) {
		t.Helper()
		if err := p.provision(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := events.Durables(t.Context(), p.provisioner)
		var names []string
		for _, d := range left {
			names = append(names, d.Name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("durables: %s, %v, want %s", got, err, want)
		}
	}
	provision("courier crm stays")
	if err := p.provisionThese(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		provision("another-version courier crm old stays")
	}
	if n := strings.Count(log.String(), "in the configuration file no more"); n != 1 {
		t.Errorf("it is said %d times that a hook has gone from the file, want once:\n%s", n, log)
	}

	// A process with the former file leads again, and then one with the next.
	dayBefore := func() {
		if err := events.MarkUndeclared(t.Context(), p.provisioner, "old", time.Now().Add(-25*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	dayBefore()
	settings["workers"] = []any{crm, map[string]any{"name": "old", "events": []any{"identity.created"}}}
	reconfigure(t, p, settings)
	provision("another-version courier crm old stays")
	settings["workers"] = []any{crm}
	reconfigure(t, p, settings)
	provision("another-version courier crm old stays")
	dayBefore()
	provision("another-version courier crm stays")
}
