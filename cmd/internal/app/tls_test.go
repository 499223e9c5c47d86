package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// noon is when the certificates of these tests are judged.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// renewal are certificates in use, whose files a test replaces.
type renewal struct {
	*certificates
	t    *testing.T
	dir  string
	cfg  *config.Config
	said *lockedLog
	at   atomic.Int64 // seconds since noon
	told map[string]time.Time
}

// newRenewal reads the certificates that are in the folder.
func newRenewal(t *testing.T, dir string) *renewal {
	t.Helper()
	r := &renewal{t: t, dir: dir, said: &lockedLog{}, told: map[string]time.Time{}}
	r.cfg = fileWith(t, r.keys(config.Listeners[:]...))
	r.begin()
	return r
}

// keys are those of the configuration that give the listeners a certificate each.
func (r *renewal) keys(listeners ...string) map[string]any {
	keys := map[string]any{}
	for _, listener := range listeners {
		keys["serve."+listener+".tls.cert.path"] = filepath.Join(r.dir, listener+".crt")
		keys["serve."+listener+".tls.key.path"] = filepath.Join(r.dir, listener+".key")
	}
	return keys
}

// begin does what a start does.
func (r *renewal) begin() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r.said, nil))
	var err error
	if r.certificates, err = newCertificates(r.cfg, config.Listeners[:], log, func(listener string, over time.Time) { r.told[listener] = over }); err != nil {
		r.t.Fatal(err)
	}
	r.now = func() time.Time { return noon.Add(time.Duration(r.at.Load()) * time.Second) }
}

// certify writes a certificate of a listener and its key, good between two hours of that day.
func certify(t *testing.T, dir, listener string, from, until int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	midnight := noon.Truncate(24 * time.Hour)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"id.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: midnight.Add(time.Duration(from) * time.Hour), NotAfter: midnight.Add(time.Duration(until) * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{".key": {Type: "PRIVATE KEY", Bytes: secret}, ".crt": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, listener+name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The new certificate must be better than none, and than the one that there is.
func TestACertificateThatClientsRefuseReplacesNoGoodOne(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(dir string)
		says  string
		next  bool // it will be good by itself
	}{
		"over":            {func(dir string) { certify(t, dir, "public", 1, 11) }, "serve.public.tls.cert: the certificate is over since 2026-05-01T11:00:00Z", false},
		"not begun":       {func(dir string) { certify(t, dir, "public", 13, 20) }, "serve.public.tls.cert: the certificate begins only at 2026-05-01T13:00:00Z", true},
		"of another key":  {func(dir string) { certify(t, dir, "other", 1, 20); move(t, dir, "other.key", "public.key") }, "it does not go with the certificate", false},
		"no longer there": {func(dir string) { move(t, dir, "public.crt", "gone") }, "no such file", false},
	} {
		dir := t.TempDir()
		certify(t, dir, "public", 1, 20)
		certify(t, dir, "admin", 1, 20)
		r := newRenewal(t, dir)
		former := r.leaf("public")
		tt.spoil(dir)
		certify(t, dir, "admin", 1, 21) // one that cannot be used keeps no other from being
		for range 2 {
			if changed, ok := r.renew(r.cfg); ok || slices.Contains(changed, "public") || r.leaf("public") != former {
				t.Errorf("%s: renew = %v, %t, and another one is in use: %t; want the former", name, changed, ok, r.leaf("public") != former)
			}
		}
		if got := r.leaf("admin").NotAfter.Hour(); got != 21 {
			t.Errorf("%s: the certificate of the other listener ends at %d, want 21", name, got)
		}
		if n := strings.Count(r.said.String(), "the new certificate cannot be used"); n != 1 || !strings.Contains(r.said.String(), tt.says) {
			t.Errorf("%s: said %d times of %s, want once %q", name, n, r.said, tt.says)
		}
		if at, ok := r.next(); ok != tt.next || ok && !at.Equal(noon.Add(time.Hour)) {
			t.Errorf("%s: next = %s, %t, want %t", name, at, ok, tt.next)
		}
		certify(t, dir, "public", 2, 22)
		if changed, ok := r.renew(r.cfg); !ok || !slices.Equal(changed, []string{"public"}) || r.told["public"].Hour() != 22 {
			t.Errorf("%s: renew with a good one = %v, %t, told %s; want it in use", name, changed, ok, r.told["public"])
		}
		if _, ok := r.next(); ok {
			t.Errorf("%s: next after a good one = true", name)
		}
	}
}

func move(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

// Where the one in use is over too, any other is no worse.
func TestAnyCertificateReplacesOneThatIsOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certify(t, dir, "public", 1, 13)
	certify(t, dir, "admin", 1, 13)
	r := newRenewal(t, dir)
	certify(t, dir, "public", 15, 20)
	r.at.Store(7200) // two o'clock
	if changed, ok := r.renew(r.cfg); !ok || !slices.Equal(changed, []string{"public"}) || !strings.Contains(r.said.String(), "begins only at") {
		t.Errorf("renew = %v, %t, and %s; want the new one with a warning", changed, ok, r.said)
	}
}

// No service is worse than a certificate that clients refuse.
func TestAStartUsesACertificateThatClientsRefuse(t *testing.T) {
	t.Parallel()
	dir, year := t.TempDir(), 365*24
	certify(t, dir, "public", -2*year, -year) // for the clock of a start
	certify(t, dir, "admin", 10*year, 11*year)
	r := newRenewal(t, dir)
	for _, want := range []string{"serve.public.tls.cert: ", "the certificate is over since", "serve.admin.tls.cert: ", "the certificate begins only at"} {
		if !strings.Contains(r.said.String(), want) {
			t.Errorf("said %s, want a warning with %q", r.said, want)
		}
	}
	if r.leaf("public") == nil || r.leaf("admin") == nil {
		t.Error("a start with certificates that clients refuse has none")
	}
}

// TestAListenerWithoutTLSKeepsNoOther is of a listener whose certificate went from the
// configuration, which takes effect at the next start.
func TestAListenerWithoutTLSKeepsNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certify(t, dir, "public", 1, 20)
	certify(t, dir, "admin", 1, 20)
	r := newRenewal(t, dir)
	certify(t, dir, "admin", 1, 21)
	if changed, ok := r.renew(fileWith(t, r.keys("admin"))); !ok || !slices.Equal(changed, []string{"admin"}) {
		t.Errorf("renew = %v, %t, want another certificate of admin", changed, ok)
	}
}

func TestListenersRefuseOldTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certify(t, dir, "public", 1, 20)
	certify(t, dir, "admin", 1, 20)
	r := newRenewal(t, dir)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		here, there := net.Pipe()
		go func() { _ = tls.Server(there, r.of("public")).Handshake() }()
		c := tls.Client(here, &tls.Config{MinVersion: version, MaxVersion: version, InsecureSkipVerify: true}) //nolint:gosec // old versions are what is tried
		if err := c.Handshake(); (err == nil) != want {
			t.Errorf("handshake with %s: %v, want it to work: %t", tls.VersionName(version), err, want)
		}
		_ = here.Close()
		_ = there.Close()
	}
}

// A certificate that has not begun was left out until its files changed once more, which
// they do when it is over.
func TestACertificateIsTakenWhenItBegins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certify(t, dir, "public", 1, 20)
	certify(t, dir, "admin", 1, 20)
	r := newRenewal(t, dir)
	p, _ := overlaid(t, r.keys(config.Listeners[:]...))
	p.certificates = r.certificates
	hangup := make(chan os.Signal, 1)
	p.hangup, p.serving = hangup, make(chan struct{})
	p.Load = func() (*config.Config, []config.Warning, error) { return p.cfg, nil, nil }
	close(p.serving)
	certify(t, dir, "admin", 13, 21) // before anybody watches: no change of a file is to help
	p.stages = newStages(p.log)
	p.stages.start(t.Context(), "reload", p.followConfig)
	t.Cleanup(func() { _ = p.stages.stop() })

	hangup <- os.Interrupt
	soonThat(t, "it is not taken yet", func() bool { return strings.Contains(r.said.String(), "cannot be used") })
	r.at.Store(3600)
	soonThat(t, "it is taken", func() bool { return strings.Contains(r.said.String(), "another certificate is in use") })
}
