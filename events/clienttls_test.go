package events_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// encrypted is a server with TLS that wants certificates of its clients, and the
// files of one of them.
type encrypted struct {
	server *natsserver.Server
	client events.ClientTLS
	creds  []byte
	own    []byte // the server's certificate
}

func startEncrypted(t *testing.T) encrypted {
	t.Helper()
	dir := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := events.LoadOrMakeAuthority(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	o := events.ServerOptions{Name: "n", Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "data")}
	if o.TLS, err = authority.WriteServer(filepath.Join(dir, "server"), "n", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	o.TLS.Verify = true
	config, err := keys.ServerConfig(o)
	if err != nil {
		t.Fatal(err)
	}
	var e encrypted
	if e.server, err = natsserver.Start(t.Context(), config, natsserver.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.server.Close)
	files, err := authority.WriteClient(filepath.Join(dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	e.client = events.ClientTLS{CA: files.CA, Cert: files.Cert, Key: files.Key}
	if e.creds, err = keys.Credentials(events.UserAPIEvents); err != nil {
		t.Fatal(err)
	}
	e.own = read(t, o.TLS.Cert)
	return e
}

func (e encrypted) connect(t *testing.T, log *slog.Logger) (*nats.Conn, error) {
	t.Helper()
	nc, err := events.Connect(t.Context(), events.ConnectOptions{
		URL: e.server.ClientURL(), Credentials: e.creds, User: events.UserAPIEvents, TLS: e.client, Log: log,
	})
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAFileOfTLSThatCannotBeUsed replaced a good one, and no server was let in any
// more: the former stays in force, and the log says why.
func TestAFileOfTLSThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	e := startEncrypted(t)
	log := &lines{}
	nc, err := e.connect(t, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	for file, wrong := range map[string]map[string][]byte{
		e.client.CA:   {"garbage": []byte("garbage"), "empty": nil, "half": read(t, e.client.CA)[:200], "no authority": e.own},
		e.client.Cert: {"garbage": []byte("garbage"), "another key's": e.own},
		e.client.Key:  {"empty": nil},
	} {
		good := read(t, file)
		for what, text := range wrong {
			write(t, file, text)
			before := len(log.with("the former is kept"))
			anew(t, nc)
			anew(t, nc)
			if said := log.with("level=ERROR", "the former is kept", filepath.Dir(file)); len(said) == 0 || len(log.with("the former is kept")) != before+1 {
				t.Errorf("%s in %s: the log says %q, want one line more, with the file", what, filepath.Base(file), said)
			}
			write(t, file, good)
			anew(t, nc)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		anew(t, nc)
		write(t, file, good)
	}
}

// TestAnotherAuthorityIsTaken: nobody is let in any more whom only the former has
// signed.
func TestAnotherAuthorityIsTaken(t *testing.T) {
	t.Parallel()
	e, other := startEncrypted(t), startEncrypted(t)
	log := &lines{}
	nc, err := e.connect(t, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	good := read(t, e.client.CA)
	write(t, e.client.CA, read(t, other.client.CA))
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is refused", func() bool { return len(log.with("unknown authority")) > 0 && !nc.IsConnected() })
	write(t, e.client.CA, good)
	eventually(t, "and let in again", nc.IsConnected)
}

// TestTLSIsWrongAtFirst: there is no former.
func TestTLSIsWrongAtFirst(t *testing.T) {
	t.Parallel()
	e := startEncrypted(t)
	for _, file := range []string{e.client.CA, e.client.Cert} {
		good := read(t, file)
		write(t, file, []byte("garbage"))
		if _, err := e.connect(t, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("Connect with garbage in %s = nil error", filepath.Base(file))
		}
		write(t, file, good)
	}
}
