package events_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/usher-auth/usher/events"
)

func TestAWorkersCredentialIsForItsOwnDurable(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	provision := b.provision(events.StreamOptions{},
		events.Durable{Name: "crm", Types: []string{"identity.created"}},
		events.Durable{Name: "mail", Types: []string{"identity.created"}})
	publish(t, b, message(1))
	js, err := jetstream.New(b.connectTCP("crm"))
	if err != nil {
		t.Fatal(err)
	}

	own, err := js.Consumer(t.Context(), events.Stream, "crm")
	if err != nil {
		t.Fatalf("Consumer(crm) = %v, want the worker's own", err)
	}
	msg, err := own.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Errorf("DoubleAck() = %v, want nil", err)
	}

	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := js.Consumer(short, events.Stream, "mail"); err == nil {
		t.Error("Consumer(mail) for worker crm = nil error, want none of another's")
	}
	if lines := b.log.with("no right", "bus_user=crm", "CONSUMER.INFO.USHER_EVENTS.mail"); len(lines) != 1 {
		t.Errorf("log has %q, want one line that names worker and subject", lines)
	}

	if err := provision.DeleteConsumer(t.Context(), events.Stream, "crm"); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Info(t.Context()); err == nil {
		t.Error("Info() of the deleted durable = nil error, want the credential to be of no use")
	}
}

func TestWorkerNamesThatWouldReachFurtherAreRefused(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	minter := b.minter()
	for _, name := range []string{
		"", "*", ">", "a.b", "crm.>", "a b", "CRM", "-a", "a-", "a--b", "5", "2fa", strings.Repeat("a", 65),
		events.UserAPIEvents, events.UserHooks, events.UserProvision, events.UserAPIAuth,
	} {
		if _, err := minter.WorkerCredentials(name, time.Now().Add(time.Hour)); err == nil {
			t.Errorf("WorkerCredentials(%q) = nil error, want it refused", name)
		}
		if _, err := minter.AnswerCredentials(name, time.Now().Add(time.Hour)); err == nil {
			t.Errorf("AnswerCredentials(%q) = nil error, want it refused", name)
		}
	}
	if _, err := minter.WorkerCredentials("crm", time.Time{}); err == nil {
		t.Error("WorkerCredentials without an end = nil error, want it refused")
	}
	if _, err := b.keys.Credentials("crm"); err == nil {
		t.Error("Credentials(crm) = nil error, want: no such user")
	}
}

// dialRaw connects without what [events.Connect] looks at before.
func dialRaw(b *bus, creds []byte, options ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(b.server.ClientURL(), append(options, nats.UserCredentialBytes(creds))...)
	if err == nil {
		b.tb.Cleanup(nc.Close)
	}
	return nc, err
}

func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for name, mint := range map[string]func(string, time.Time) ([]byte, error){
		"worker": b.minter().WorkerCredentials, "answering worker": b.minter().AnswerCredentials,
	} {
		end := time.Now().Add(-time.Second)
		creds, err := mint("crm", end)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dialRaw(b, creds); err == nil {
			t.Errorf("the bus takes an expired credential of a %s, want it refused", name)
		}
		_, err = events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: creds, User: "crm", Log: b.log.logger()})
		if err == nil || !strings.Contains(err.Error(), "expired at") || !strings.Contains(err.Error(), "usher worker rotate crm") {
			t.Errorf("Connect with an expired credential of a %s = %v, want when it expired and what mends it", name, err)
		}
		user, expires, err := events.CredentialOf(creds)
		if user != "crm" || !expires.Equal(end.Truncate(time.Second)) || err != nil {
			t.Errorf("CredentialOf = %q, %v, %v, want crm and %v", user, expires, err, end)
		}
	}
}

// TestACredentialThatExpiresEndsItsConnection: the bus does not wait until the
// worker connects again. A rotated one works beside it.
func TestACredentialThatExpiresEndsItsConnection(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	short, err := b.minter().WorkerCredentials("crm", time.Now().Add(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	refused := make(chan error, 8)
	_, err = dialRaw(b, short, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	rotated := b.connectTCP("crm")
	<-closed
	if line, ok := events.Explain("crm", <-refused); !ok || !strings.Contains(line, "usher worker rotate crm") {
		t.Errorf("Explain of the end = %q, %t, want what mends it", line, ok)
	}
	js, err := jetstream.New(rotated)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Consumer(t.Context(), events.Stream, "crm"); err != nil {
		t.Errorf("Consumer(crm) with the rotated credential = %v, want it good", err)
	}
}

// TestLoadMinter mints with what an external bus's configuration gave to the API.
func TestLoadMinter(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	out := t.TempDir()
	if err := b.keys.Write(out, events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: out, Name: "usher"}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(out, "creds")
	file := filepath.Join(dir, "mint.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mint.json has mode %v, %v, want 0600", info.Mode(), err)
	}
	m, err := events.LoadMinter(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, mint := range map[string]func(string, time.Time) ([]byte, error){"crm": m.WorkerCredentials, answering: m.AnswerCredentials} {
		creds, err := mint(name, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dialRaw(b, creds); err != nil {
			t.Errorf("the bus refuses what a loaded minter minted for %s: %v", name, err)
		}
	}
	for _, shown := range []string{fmt.Sprint(m), fmt.Sprintf("%+v %#v", m, m)} {
		if strings.Contains(shown, "SA") || !strings.Contains(shown, "[minter]") {
			t.Errorf("a minter shows as %q", shown)
		}
	}

	if err := os.WriteFile(file, []byte(`{"workers":"SAABCDEF"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := events.LoadMinter(dir); err == nil || strings.Contains(err.Error(), "SAAB") {
		t.Errorf("LoadMinter of a broken file = %v, want an error that shows nothing of it", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := events.LoadMinter(dir); !errors.Is(err, events.ErrNoMinter) {
		t.Errorf("LoadMinter of a folder without = %v, want ErrNoMinter", err)
	}
}

// mint makes a credential outside of [events.Keys], with a key that leaked.
func (b *bus) mint(seed, account string, fill func(*jwt.UserClaims)) []byte {
	b.tb.Helper()
	read := func(file string) nkeys.KeyPair {
		text, err := os.ReadFile(filepath.Join(b.seeds, file))
		if err != nil {
			b.tb.Fatal(err)
		}
		pair, err := nkeys.FromSeed(text)
		if err != nil {
			b.tb.Fatal(err)
		}
		return pair
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		b.tb.Fatal(err)
	}
	public, _ := user.PublicKey()
	claims := jwt.NewUserClaims(public)
	claims.Name = "crm"
	claims.IssuerAccount, _ = read(account).PublicKey()
	fill(claims)
	token, err := claims.Encode(read(seed))
	if err != nil {
		b.tb.Fatal(err)
	}
	private, _ := user.Seed()
	creds, err := jwt.FormatUserConfig(token, private)
	if err != nil {
		b.tb.Fatal(err)
	}
	return creds
}

// TestALeakedKeyMintsOnlyWorkers: rights come from the account, not from the
// credential, and a key is good for its own account.
func TestALeakedKeyMintsOnlyWorkers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for name, creds := range map[string][]byte{
		"a worker with more rights":              b.mint("workers-minted.nk", "workers.nk", func(c *jwt.UserClaims) { c.Pub.Allow.Add("usher.evt.v1.>") }),
		"an answering worker with more rights":   b.mint("auth-answers.nk", "auth.nk", func(c *jwt.UserClaims) { c.Sub.Allow.Add(">") }),
		"a worker in AUTH":                       b.mint("workers-minted.nk", "auth.nk", func(c *jwt.UserClaims) { c.SetScoped(true) }),
		"a worker in EVENTS":                     b.mint("workers-minted.nk", "events.nk", func(c *jwt.UserClaims) { c.SetScoped(true) }),
		"an answering worker in EVENTS":          b.mint("auth-answers.nk", "events.nk", func(c *jwt.UserClaims) { c.SetScoped(true) }),
		"an answering worker in the bus's own":   b.mint("auth-answers.nk", "system.nk", func(c *jwt.UserClaims) { c.SetScoped(true) }),
		"one of Usher's parts, with another key": b.mint("auth-answers.nk", "events.nk", func(c *jwt.UserClaims) { c.Name = events.UserProvision }),
	} {
		if _, err := dialRaw(b, creds); err == nil {
			t.Errorf("the bus takes a credential for %s, want it refused", name)
		}
	}
	// Of the names that the minter refuses, none reaches the inbox of a part.
	for _, test := range []struct{ seed, account, name, inbox string }{
		{"workers-minted.nk", "workers.nk", events.UserHooks, "_INBOX_hooks.>"},
		{"workers-minted.nk", "workers.nk", events.UserDelivery, "_INBOX_delivery.>"},
		{"workers-minted.nk", "workers.nk", "*", "_INBOX_*.>"},
		{"workers-minted.nk", "workers.nk", ">", "_INBOX_hooks.>"},
		{"auth-answers.nk", "auth.nk", events.UserAPIAuth, "_INBOX_api-auth.>"},
	} {
		nc, err := dialRaw(b, b.mint(test.seed, test.account, func(c *jwt.UserClaims) { c.SetScoped(true); c.Name = test.name }))
		if err != nil {
			continue
		}
		got := make(chan *nats.Msg, 8)
		if _, err := nc.ChanSubscribe(test.inbox, got); err != nil {
			t.Fatal(err)
		}
		flush(t, nc)
		b.provision(events.StreamOptions{}) // its answers go to an inbox
		if err := nc.LastError(); err == nil && test.name != "*" {
			t.Errorf("a credential named %s listens to %s, want it refused", test.name, test.inbox)
		}
		if flush(t, nc); len(got) > 0 {
			t.Errorf("a credential named %s got %d messages on %s, want none", test.name, len(got), test.inbox)
		}
	}
}

func TestACredentialThatNamesNoRightsHasNone(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	creds := b.mint("events-parts.nk", "events.nk", func(*jwt.UserClaims) {})
	nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: creds, User: "crm", Log: b.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if !denied(t, nc, `for publish to "anything"`, func() error { return nc.Publish("anything", nil) }) {
		t.Error("publishes, want it denied")
	}
	subscribe := func() error {
		_, err := nc.Subscribe("anything", func(*nats.Msg) {})
		return err
	}
	if !denied(t, nc, `for subscription to "anything"`, subscribe) {
		t.Error("subscribes, want it denied")
	}
}

func TestNoWorkerHasTheNameOfAPart(t *testing.T) {
	t.Parallel()
	keys, err := events.LoadOrMakeKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := keys.Minter()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity", "session", "delivery", "hooks", "api", "courier", "webhook-crm", events.UserProvision} {
		if _, err := m.WorkerCredentials(name, time.Now().Add(time.Hour)); err == nil || !events.Reserved(name) {
			t.Errorf("WorkerCredentials(%q) = %v, Reserved = %t, want a refusal", name, err, events.Reserved(name))
		}
	}
	if events.Reserved("crm-sync") {
		t.Error("Reserved(crm-sync) = true, want a name that is free")
	}
}
