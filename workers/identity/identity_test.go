package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/identity"
	worker "github.com/usher-auth/usher/workers/identity"
)

var (
	anna   = uuid.MustParse("0190a1b2-0000-7000-8000-000000000001")
	gone   = uuid.MustParse("0190a1b2-0000-7000-8000-000000000002")
	broken = uuid.MustParse("0190a1b2-0000-7000-8000-000000000003")
)

const traits = `{"email":"anna@example.org","name":{"first":"Anna","last": "Ö ","n":1.50},"ssn":"123-45-6789","tags":[]}`

// declared says which traits the workers may see.
type declared map[string][]string

func (d declared) Declared(_ context.Context, name string) ([]string, bool, error) {
	if name == "failing" {
		return nil, false, errors.New("database is away")
	}
	traits, ok := d[name]
	return traits, ok, nil
}

type identities struct{}

func (identities) Identity(_ context.Context, id uuid.UUID) (*identity.Identity, error) {
	switch id {
	case anna:
		return &identity.Identity{
			ID: anna, SchemaID: "default", State: identity.Active, Traits: json.RawMessage(traits),
			MetadataAdmin: json.RawMessage(`{"note":"secret"}`),
			Credentials:   []identity.Credential{{Type: "password", Config: json.RawMessage(`{"hashed_password":"$argon2id$"}`)}},
		}, nil
	case broken:
		return nil, errors.New("read row of anna@example.org")
	}
	return nil, identity.ErrNotFound
}

// world is a real bus with the service on it.
type world struct {
	connect func(user string) *nats.Conn
	log     *lockedBuffer
}

func start(t *testing.T, d declared) *world {
	t.Helper()
	w := &world{log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	dir := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "store"), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := natsserver.Start(t.Context(), config, natsserver.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w.connect = func(user string) *nats.Conn {
		t.Helper()
		creds, err := keys.Credentials(user)
		if err != nil {
			creds, err = keys.WorkerCredentials(user, time.Now().Add(time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
		nc, err := events.Connect(t.Context(), events.ConnectOptions{InProcess: server, Credentials: creds, User: user, Name: user, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	w.run(t, worker.Options{Declarations: d, Identities: identities{}, Version: "1.2.3", Log: log})
	return w
}

func (w *world) run(t *testing.T, o worker.Options) {
	t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	o.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	nc := w.connect(events.UserDelivery)
	go func() { ended <- worker.Run(ctx, nc, o) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
}

// ask asks as a user of the bus under a worker's name.
func ask(t *testing.T, nc *nats.Conn, name, payload string) (string, error) {
	t.Helper()
	data, err := events.Ask(t.Context(), nc, events.SubjectIdentityGet(name), "", time.Now().Add(4*time.Second), []byte(payload))
	return string(data), err
}

func question(id uuid.UUID) string { return `{"identity_id":"` + id.String() + `","unknown":1}` }

// TestAWorkerGetsWhatItsDeclarationLists: nothing else, and as it is stored.
func TestAWorkerGetsWhatItsDeclarationLists(t *testing.T) {
	t.Parallel()
	w := start(t, declared{"crm": {"name", "email", "phone"}, "mail": {"tags"}, "counter": nil, "courier": {"email"}})
	for _, test := range []struct{ user, name, want string }{
		{"crm", "crm", `{"email":"anna@example.org","name":{"first":"Anna","last":"Ö ","n":1.50}}`},
		{"mail", "mail", `{"tags":[]}`},
		{"counter", "counter", `{}`},
		{events.UserHooks, "courier", `{"email":"anna@example.org"}`},
	} {
		got, err := ask(t, w.connect(test.user), test.name, question(anna))
		want := `{"identity_id":"` + anna.String() + `","schema_id":"default","state":"active","traits":` + test.want + `}`
		if got != want || err != nil {
			t.Errorf("%s gets %s, %v, want %s", test.name, got, err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := start(t, declared{"crm": {"email"}})
	for _, test := range []struct{ name, payload, code string }{
		{"crm", question(gone), events.CodeGone},
		{"crm", question(broken), events.CodeError},
		{"crm", `{"identity_id":"anna"}`, events.CodeInvalid},
		{"crm", `hello`, events.CodeInvalid},
		{"removed", question(anna), events.CodeInvalid},
		{"failing", question(anna), events.CodeError},
	} {
		got, err := ask(t, w.connect(test.name), test.name, test.payload)
		if !errors.Is(err, &events.Refused{Code: test.code}) || strings.Contains(err.Error(), "anna@") {
			t.Errorf("%s asks %s: %s, %v, want %s", test.name, test.payload, got, err, test.code)
		}
	}
}

// TestAWorkerAsksAsItself: a worker asks under another's name, and under its own
// with the answer to another's inbox.
func TestAWorkerAsksAsItself(t *testing.T) {
	t.Parallel()
	w := start(t, declared{"crm": {"email"}, "mail": {"ssn"}})
	crm, mail := w.connect("crm"), w.connect("mail")
	sent := make(chan *nats.Msg, 8)
	if _, err := mail.ChanSubscribe("_INBOX_mail.>", sent); err != nil {
		t.Fatal(err)
	}
	if err := mail.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := crm.PublishRequest(events.SubjectIdentityGet("crm"), "_INBOX_mail.1", []byte(question(anna))); err != nil {
		t.Fatal(err)
	}
	if err := crm.PublishRequest(events.SubjectIdentityGet("mail"), "_INBOX_crm.1", []byte(question(anna))); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, crm, "crm", question(anna)); err != nil { // is handled after those
		t.Fatal(err)
	}
	if err := mail.Flush(); err != nil {
		t.Fatal(err)
	}
	// It may show its own traits to whom it likes; whose they are it cannot choose.
	for range len(sent) {
		if m := <-sent; m.Subject != "_INBOX_mail.1" || strings.Contains(string(m.Data), "ssn") {
			t.Errorf("another worker's inbox got %s on %s, want what the asking one may know", m.Data, m.Subject)
		}
	}
	// The client is told on its own time.
	for until := time.Now().Add(10 * time.Second); !strings.Contains(w.log.String(), "no right") && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
	}
	if !strings.Contains(w.log.String(), "no right") {
		t.Errorf("log is %s, want that a worker has no right to another's name", w.log)
	}
	if strings.Contains(w.log.String(), "anna@") {
		t.Errorf("log is %s, want no traits in it", w.log)
	}
}

func TestDecodedReplyHoldsOnlyDeclaredTraits(t *testing.T) {
	t.Parallel()
	w := start(t, declared{"crm": {"email"}})
	data, err := ask(t, w.connect("crm"), "crm", question(anna))
	if err != nil {
		t.Fatal(err)
	}
	var got events.IdentityGetReply
	if err := json.Unmarshal([]byte(data), &got); err != nil {
		t.Fatal(err)
	}
	want := events.IdentityGetReply{
		IdentityID: anna.String(), SchemaID: "default", State: "active",
		Traits: map[string]json.RawMessage{"email": json.RawMessage(`"anna@example.org"`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"ssn", "argon2id", "note"} {
		if strings.Contains(data, secret) {
			t.Errorf("reply %s holds %s, want only what is declared", data, secret)
		}
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
