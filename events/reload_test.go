package events_test

import (
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/usher-auth/usher/events"
)

// TestReloadTakesCertificatesAndAccounts: what upgrade.md says of nats-server and SIGHUP.
func TestReloadTakesCertificatesAndAccounts(t *testing.T) {
	t.Parallel()
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
	if o.TLS, err = authority.WriteServer(dir, "n", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if err := keys.Write(dir, o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, o.File())
	full, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// An account that a later version adds.
	accounts := regexp.MustCompile(`(?m)^\s+(A[A-Z0-9]{55}): .*$`).FindAllStringSubmatch(string(full), -1)
	added := accounts[len(accounts)-1]
	if err := os.WriteFile(path, []byte(strings.Replace(string(full), added[0], "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	serial := func() *big.Int {
		nc, err := events.Connect(t.Context(), events.ConnectOptions{
			URL: s.ClientURL(), CredentialsFile: filepath.Join(dir, "creds", events.UserSession+".creds"), User: events.UserSession,
			TLS: events.ClientTLS{CA: o.TLS.CA}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		state, err := nc.TLSConnectionState()
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber
	}
	former := serial()
	if _, err := s.LookupAccount(added[1]); err == nil {
		t.Fatal("the account is there already")
	}
	if _, err := authority.WriteServer(dir, "n", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, full, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LookupAccount(added[1]); err != nil {
		t.Errorf("the added account after a reload: %v", err)
	}
	if serial().Cmp(former) == 0 {
		t.Error("the former certificate is shown after a reload")
	}
}
