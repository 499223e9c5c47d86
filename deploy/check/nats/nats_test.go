package nats_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/deploy/check/compose"
	natscheck "github.com/usher-auth/usher/deploy/check/nats"
)

// TestCompose starts the three servers of compose.yaml, and connects to each with
// the credential of a part, by its name.
func TestCompose(t *testing.T) {
	t.Parallel()
	root := compose.Volumes(t)
	for n := 1; n <= 3; n++ {
		s, err := natscheck.Start(compose.Server(t, root, n))
		if err != nil {
			t.Errorf("nats-%d: %v", n, err)
			continue
		}
		nc, err := nats.Connect(s.ClientURL(),
			nats.UserCredentials(filepath.Join(root, "session/creds/session.creds")),
			nats.RootCAs(filepath.Join(root, "session/ca.pem")),
			nats.Secure(&tls.Config{ServerName: fmt.Sprintf("nats-%d", n), MinVersion: tls.VersionTLS12}))
		if err != nil {
			t.Errorf("nats-%d: %v", n, err)
		} else {
			nc.Close()
		}
		if nc, err := nats.Connect(s.ClientURL(), nats.RootCAs(filepath.Join(root, "session/ca.pem")),
			nats.Secure(&tls.Config{ServerName: fmt.Sprintf("nats-%d", n), MinVersion: tls.VersionTLS12})); err == nil {
			nc.Close()
			t.Errorf("nats-%d lets in somebody without a credential", n)
		}
		s.Shutdown()
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	root := compose.Volumes(t)
	path := compose.Server(t, root, 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	for _, broken := range []struct{ name, from, to, want string }{
		{"an unknown key", "max_payload:", "max_payloads:", "unknown field"},
		{"no JSON", "jetstream {", "jetstream {{", ""},
		{"not synced", "sync_interval: always", `sync_interval: "2m"`, "sync_interval"},
		{"a folder that cannot be", filepath.Join(root, "nats-1/data"), "/dev/null/data", ""},
		{"no certificate", "nats-1.pem", "nats-9.pem", "nats-9.pem"},
		{"the key of another", "nats-1.key", "nats-2.key", ""},
		{"no operator", "operator:", "#operator:", ""},
		{"monitoring for everybody", "127.0.0.1:8222", "0.0.0.0:8222", "http on loopback"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			if !strings.Contains(good, broken.from) {
				t.Fatalf("the configuration has no %q any more", broken.from)
			}
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(good, broken.from, broken.to)), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := natscheck.Start(path)
			if err == nil {
				s.Shutdown()
			}
			if err == nil || !strings.Contains(err.Error(), broken.want) {
				t.Errorf("Start = %v, want one with %q", err, broken.want)
			}
		})
	}
}
