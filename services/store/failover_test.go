package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// serverDir is a folder that a server of another user may use.
func serverDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// noPostgreSQL leaves a test out where there is none.
func noPostgreSQL(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, storetest.ErrNoPostgreSQL) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Two processes, one of which leads: the primary freezes, the standby takes
// over, and the former primary comes back with the lock of who led.
func TestPostgreSQLTheLeadFollowsThePrimary(t *testing.T) {
	t.Parallel()
	p, err := storetest.StartPair(serverDir(t))
	noPostgreSQL(t, err)
	t.Cleanup(p.Stop)
	dsn := p.DSN() + "&statement_timeout=1000"
	one, two := open(t, store.Options{DSN: dsn}), open(t, store.Options{DSN: dsn})
	idle := open(t, store.Options{DSN: dsn}) // asks nothing meanwhile
	release, lost, err := one.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Primary.Freeze(), p.Promote()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := two.AddAdminToken(t.Context(), "x", "admin", [32]byte{1}); !unavailable(err) {
		t.Errorf("AddAdminToken on a frozen primary: %v, want unavailable", err)
	}
	took := time.Since(began)
	if err := two.AddAdminToken(t.Context(), "x", "admin", [32]byte{1}); err != nil {
		t.Errorf("AddAdminToken at the next try: %v", err)
	}
	t.Logf("noticed after %v, written after %v", took, time.Since(began))
	releaseTwo, lostTwo, err := two.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Error("the former leader does not notice")
	}
	release()
	if err := p.Standby.Thaw(); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*store.Store{"one": one, "two": two, "idle": idle} {
		if tokens, err := s.AdminTokens(t.Context()); err != nil || len(tokens) == 0 {
			t.Errorf("AdminTokens of %s = %v, %v: it reads from the former primary", name, tokens, err)
		}
		if err := s.AddAdminToken(t.Context(), name, "admin", [32]byte{2, name[0]}); err != nil {
			t.Errorf("AddAdminToken of %s beside the former primary: %v", name, err)
		}
	}
	select {
	case <-lostTwo:
		t.Error("the new leader loses the lead when the former primary is back")
	default:
	}
	releaseTwo()
}

func TestPostgreSQLThatTakesNoWritesIsUnavailable(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	s := open(t, store.Options{DSN: dsn})
	db := raw(t, dsn)
	set := func(readOnly string) {
		exec(t, db, `SET default_transaction_read_only = off; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = `+readOnly+`', current_database()); END $$`)
	}
	set("on")
	exec(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'usher%'`)
	if err := s.AddAdminToken(t.Context(), "x", "admin", [32]byte{1}); !unavailable(err) {
		t.Errorf("AddAdminToken on a server that takes no writes: %v, want unavailable", err)
	}
	set("off")
	if err := s.AddAdminToken(t.Context(), "x", "admin", [32]byte{1}); err != nil {
		t.Errorf("AddAdminToken on one that takes them again: %v", err)
	}
}

// sslmode, sslrootcert, sslcert and sslkey do what their names say.
func TestPostgreSQLWithTLS(t *testing.T) {
	t.Parallel()
	dir, dsn := tlsServer(t)
	file := func(name string) string { return filepath.Join(dir, name) }
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, query, want string }{
		{"127.0.0.1", "sslmode=verify-full&sslrootcert=" + file("ca.crt") + "&sslcert=" + file("client.crt") + "&sslkey=" + file("client.key"), ""},
		{"localhost", "sslmode=verify-full&sslrootcert=" + file("ca.crt") + "&sslcert=" + file("client.crt") + "&sslkey=" + file("client.key"), "certificate"},
		{"localhost", "sslmode=verify-ca&sslrootcert=" + file("ca.crt") + "&sslcert=" + file("client.crt") + "&sslkey=" + file("client.key"), ""},
		{"127.0.0.1", "sslmode=verify-full&sslrootcert=" + file("ca.crt"), "certificate"},
		{"127.0.0.1", "sslmode=verify-full&sslrootcert=" + file("client.crt") + "&sslcert=" + file("client.crt") + "&sslkey=" + file("client.key"), "certificate"},
		{"127.0.0.1", "sslmode=disable", "no encryption"},
	} {
		one := *at
		one.Host, one.RawQuery = net.JoinHostPort(c.host, at.Port()), c.query
		s, err := store.Open(t.Context(), store.Options{DSN: one.String(), CipherSecrets: []string{storetest.Secret}})
		if err == nil {
			s.Close()
		}
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open at %s with %s: %v, want %q", c.host, strings.ReplaceAll(c.query, dir, ""), err, c.want)
		}
	}
}

// tlsServer starts a server that wants certificates of an authority whose files
// are in dir.
func tlsServer(t *testing.T) (dir, dsn string) {
	t.Helper()
	at := serverDir(t)
	dsn, stop, err := storetest.StartPostgreSQL(at)
	noPostgreSQL(t, err)
	t.Cleanup(stop)
	dir = t.TempDir()
	authority(t, dir)
	data := filepath.Join(at, "data")
	var owner syscall.Stat_t
	if err := syscall.Stat(data, &owner); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.crt", "server.crt", "server.key"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(data, name), text, 0o600)
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(filepath.Join(data, name), int(owner.Uid), int(owner.Gid))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 cert\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := raw(t, dsn)
	for _, query := range []string{`ALTER SYSTEM SET ssl = on`, `ALTER SYSTEM SET ssl_ca_file = 'ca.crt'`, `SELECT pg_reload_conf()`} {
		exec(t, db, query)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := store.Open(t.Context(), store.Options{DSN: dsn, CipherSecrets: []string{storetest.Secret}})
		if err != nil && strings.Contains(err.Error(), "no encryption") {
			return dir, dsn
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not ask for TLS: %v", err)
		}
	}
}

// authority writes ca.crt, and certificates of it: server, for 127.0.0.1, and
// client, for the user postgres.
func authority(t *testing.T, dir string) {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := certificate(t, dir, "ca", ca, ca, nil)
	certificate(t, dir, "server", &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	certificate(t, dir, "client", &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "postgres"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
}

// certificate writes name.crt and name.key; without a signer it signs itself.
func certificate(t *testing.T, dir, name string, c, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}
