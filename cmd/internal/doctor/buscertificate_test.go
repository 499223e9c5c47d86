package doctor_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/doctor"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// TestTheCertificateOfABusServer is looked at where it is used: no file of this
// machine holds it. So is how full its store is.
func TestTheCertificateOfABusServer(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(out, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := events.LoadOrMakeAuthority(filepath.Join(out, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	o := events.ServerOptions{Name: "n", Listen: "127.0.0.1:-1", StoreDir: filepath.Join(out, "data"), MaxStore: 1 << 20}
	if o.TLS, err = authority.WriteServer(filepath.Join(out, "tls"), "n", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if err := keys.Write(out, o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, o.File()))
	if err != nil {
		t.Fatal(err)
	}
	s, err := natsserver.Start(t.Context(), string(text), natsserver.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	creds, err := os.ReadFile(filepath.Join(out, "creds", events.UserProvision+".creds"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := events.Connect(t.Context(), events.ConnectOptions{
		URL: s.ClientURL(), Credentials: creds, User: events.UserProvision, TLS: events.ClientTLS{CA: o.TLS.CA}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := events.Provision(t.Context(), nc, events.StreamOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	r := examine(t, map[string]any{
		"bus.url": s.ClientURL(), "bus.credentials": filepath.Join(out, "creds"), "bus.tls.ca": o.TLS.CA,
	}, "certificates.bus", "bus.room")
	var green []string
	for _, f := range r.Findings {
		if f.Status == doctor.Green {
			green = append(green, f.Seen)
		}
	}
	if said := strings.Join(green, "\n"); !strings.Contains(said, s.ClientURL()+": until ") || !strings.Contains(said, "the store of n holds") {
		t.Errorf("the doctor says %q, want the server's certificate and its store; all: %+v", said, r.Findings)
	}
}
