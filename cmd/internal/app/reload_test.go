package app

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
	"github.com/usher-auth/usher/services/webhook"
)

// configured is a process with a configuration in force, and nothing started.
func configured(t *testing.T, overrides map[string]any) *process {
	t.Helper()
	p := &process{inForce: inForce{live: &live{}}, log: slog.New(slog.DiscardHandler)}
	reconfigure(t, p, overrides)
	return p
}

// reconfigure puts a configuration in force as a reload does.
func reconfigure(t *testing.T, p *process, overrides map[string]any) {
	t.Helper()
	all := map[string]any{"data_dir": t.TempDir(), "secrets.cookie": []any{"Vj2mWq8Zt5Rk1Xn7Bc4Hf9Lp3Ds6Ga0Ye"}}
	for key, value := range overrides {
		all[key] = value
	}
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: all})
	if err != nil {
		t.Fatal(err)
	}
	if p.cfg == nil { // that of the start
		p.cfg = cfg
	}
	if err := p.compile(cfg); err != nil {
		t.Fatal(err)
	}
}

// Whoever could have the configuration read again could else store as many
// login.failed as they like.
func TestReloadGoesOnCountingFailedLogins(t *testing.T) {
	t.Parallel()
	p := configured(t, nil)
	former := p.live.now().login
	reconfigure(t, p, map[string]any{"session.lifespan": "2h"})
	if now := p.live.now().login; now == former || now.Failures == nil || now.Failures != former.Failures {
		t.Errorf("a reload counts failed logins with %p where it was %p", now.Failures, former.Failures)
	}
}

// A reload that replaces the client of web_hooks leaves none of its connections.
func TestReloadClosesTheFormerConnections(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	var once sync.Once
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			once.Do(func() { close(closed) })
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	hook := map[string]any{"hook": "web_hook", "config": map[string]any{"id": "crm", "url": s.URL, "response": map[string]any{"ignore": true}}}
	const hooks = "selfservice.flows.registration.after.hooks"
	p := configured(t, map[string]any{hooks: []any{hook}})
	if err := p.live.Deliver(t.Context(), "webhook-crm", &webhook.Call{}); err != nil {
		t.Fatal(err)
	}
	reconfigure(t, p, map[string]any{hooks: []any{hook}, "session.lifespan": "2h"})
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the former client's connection is still open after a reload")
	}
}

// A new leader and a reload must not write to the bus in turns: what the one
// has read of the configuration may be older than what the other has written.
func TestProvisioningIsDoneByOneAtATime(t *testing.T) {
	t.Parallel()
	bus, err := natsserver.Start(t.Context(), fmt.Sprintf("port: -1, store_dir: %q", t.TempDir()), natsserver.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	connect := func() *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(bus))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	// It stands for the stream's server, which is slow and then refuses.
	const refused = `{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":503,"description":"busy"}}`
	var asking, most atomic.Int64
	slow := connect()
	if _, err := slow.Subscribe("$JS.API.STREAM.INFO."+events.Stream, func(m *nats.Msg) {
		most.Store(max(most.Load(), asking.Add(1)))
		time.AfterFunc(300*time.Millisecond, func() { asking.Add(-1); _ = m.Respond([]byte(refused)) })
	}); err != nil {
		t.Fatal(err)
	}
	if err := slow.Flush(); err != nil {
		t.Fatal(err)
	}

	p := configured(t, nil)
	p.cfg = p.live.now().cfg
	p.provisioner = connect()
	if p.store, err = openMigrated(t.Context(), p.live.now().cfg, p.storeOptions()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.store.Close() })
	p.hooks = p.newCatalogue()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := p.provision(context.Background()); err == nil {
				t.Error("provision = nil, want the refusal")
			}
		})
	}
	both.Wait()
	if most.Load() != 1 {
		t.Errorf("%d asked the bus at once, want one after the other", most.Load())
	}
}

// What is wrong with the hooks that somebody has declared keeps no process from
// leading: what is built in is provisioned.
func TestNoDeclaredHookKeepsFromLeading(t *testing.T) {
	t.Parallel()
	bus, err := natsserver.Start(t.Context(), fmt.Sprintf("port: -1, jetstream: {store_dir: %q}", t.TempDir()), natsserver.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	p := configured(t, nil)
	said := &lockedLog{}
	p.log = slog.New(slog.NewTextHandler(said, nil))
	if p.provisioner, err = nats.Connect("", nats.InProcessServer(bus)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.provisioner.Close)
	if p.store, err = openMigrated(t.Context(), p.live.now().cfg, p.storeOptions()); err != nil {
		t.Fatal(err)
	}
	p.cfg = p.live.now().cfg
	p.hooks = p.newCatalogue()
	if err := p.store.Close(); err != nil { // the table cannot be read
		t.Fatal(err)
	}
	if err := p.provision(t.Context()); err != nil {
		t.Errorf("provision = %v, want nil", err)
	}
	if !strings.Contains(said.String(), "the bus does not have all that is declared") {
		t.Errorf("said %q, want what is wrong", said)
	}
	has, err := events.Durables(t.Context(), p.provisioner)
	if err != nil || len(has) == 0 {
		t.Errorf("the bus has %+v, %v, want what is built in", has, err)
	}
}

// A reload that was refused had sealed the keys with its secrets: another process, and
// the next start with the former file, could not open them. And listeners had its
// certificates, until the next reading.
func TestARefusedReloadKeepsTheKeysAsTheyAre(t *testing.T) {
	t.Parallel()
	const former, next = "a former secret, long enough", "the next secret, long enough"
	certificates, other := newRenewal(t, certified(t)), &renewal{dir: certified(t)}
	keys := certificates.keys(config.Listeners[:]...)
	keys["secrets.cipher"] = []any{former}
	p, said := overlaid(t, keys)
	p.sealed, p.certificates = p.cfg.CipherSecrets(), certificates.certificates
	leaf := p.certificates.leaf("public")
	inForce, key := p.live.now(), p.store.Key(store.KeySealing)
	opened := func(secret string) error {
		s, err := store.Open(t.Context(), store.Options{DataDir: p.cfg.DataDir, CipherSecrets: []string{secret}})
		if err != nil {
			return err
		}
		if !slices.Equal(s.Key(store.KeySealing), key) {
			t.Error("the key has changed")
		}
		return s.Close()
	}
	read := other.keys(config.Listeners[:]...)
	maps.Copy(read, map[string]any{"secrets.cipher": []any{next, former}, "data_dir": p.cfg.DataDir, "selfservice.flows.registration.after.hooks": []any{
		map[string]any{"hook": "web_hook", "config": map[string]any{"id": "crm", "url": "http://127.0.0.1:1/", "body": "base64://" + base64.StdEncoding.EncodeToString([]byte("{ broken"))}},
	}})
	p.Load = func() (*config.Config, []config.Warning, error) { return fileWith(t, read), nil, nil }
	follows, _ := p.reload(t.Context())
	if p.live.now() != inForce || !strings.Contains(said.String(), "the configuration cannot be used") {
		t.Fatalf("a broken hook is in force: %s", said)
	}
	if err := opened(former); err != nil {
		t.Errorf("after a refused reload the former secret opens nothing: %v", err)
	}
	if p.certificates.leaf("public") != leaf || strings.Contains(certificates.said.String(), "another certificate") {
		t.Errorf("a refused reload has another certificate in use: %s", certificates.said)
	}
	for _, dir := range []string{certificates.dir, other.dir} {
		if file := filepath.Join(dir, "public.crt"); !slices.Contains(follows, file) {
			t.Errorf("after a refused reload %v are followed, want %s too", follows, file)
		}
	}
	certify(t, certificates.dir, "public", 2, 21)
	p.reload(t.Context())
	if got := p.certificates.leaf("public").NotAfter.Hour(); got != 21 {
		t.Errorf("the former file's certificate was renewed, and one that ends at %d is in use, want 21", got)
	}
	delete(read, "selfservice.flows.registration.after.hooks")
	p.reload(t.Context())
	if got := p.certificates.leaf("public").NotAfter.Hour(); got != 20 {
		t.Errorf("after a reload a certificate that ends at %d is in use, want 20", got)
	}
	if err := opened(next); err != nil {
		t.Errorf("after a reload the next secret opens nothing: %v", err)
	}
	if err := opened(former); !errors.Is(err, store.ErrSecret) {
		t.Errorf("after a reload the former secret opens it: %v, want %v", err, store.ErrSecret)
	}
}

// certified is a folder with a certificate for each listener.
func certified(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, listener := range config.Listeners {
		certify(t, dir, listener, 1, 20)
	}
	return dir
}

// A reload that was refused had its user and password signed in with from then on.
func TestARefusedReloadKeepsThePasswordOfTheDatabase(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	keys := map[string]any{"dsn": dsn, "secrets.cipher": []any{storetest.Secret}}
	p, said := overlaid(t, keys)
	p.sealed, p.signedIn = p.cfg.CipherSecrets(), p.cfg.DSN
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("nobody-there", "hunter2")
	keys["dsn"], keys["secrets.cipher"] = u.String(), []any{"the next secret, long enough", storetest.Secret}
	p.Load = func() (*config.Config, []config.Warning, error) { return fileWith(t, keys), nil, nil }
	p.reload(t.Context())
	if text := said.String(); !strings.Contains(text, "the configuration cannot be used") || strings.Contains(text, "hunter2") {
		t.Fatalf("said %s, want that a user that is not there cannot be used", text)
	}
	if err := p.store.Ping(t.Context()); err != nil {
		t.Errorf("after a refused reload: %v", err)
	}
}

// dbAway is the error of a database that does not answer.
type dbAway struct{}

func (dbAway) Error() string     { return "away" }
func (dbAway) Unavailable() bool { return true }

// A reload that meets a database which is away is made again, without another signal.
func TestAReloadIsMadeAgain(t *testing.T) {
	t.Parallel()
	keys := map[string]any{}
	p, said := overlaid(t, keys)
	former := p.live.now()
	var asked atomic.Int32
	p.Load = func() (*config.Config, []config.Warning, error) {
		if asked.Add(1) == 1 {
			return nil, nil, fmt.Errorf("load: %w", dbAway{})
		}
		return fileWith(t, keys), nil, nil
	}
	hangup := make(chan os.Signal, 1)
	p.serving, p.hangup = make(chan struct{}), hangup
	close(p.serving)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.followConfig(ctx) }()
	hangup <- syscall.SIGHUP
	for began := time.Now(); p.live.now() == former && time.Since(began) < 30*time.Second; {
		time.Sleep(50 * time.Millisecond)
	}
	end()
	if err := <-ended; err != nil || p.live.now() == former || asked.Load() != 2 {
		t.Errorf("followConfig = %v; asked %d times, want 2 and another configuration: %s", err, asked.Load(), said)
	}
}
