package app

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

func TestChainEnds(t *testing.T) {
	t.Parallel()
	day := func(n int) *x509.Certificate { return &x509.Certificate{NotAfter: time.Unix(int64(n)*86400, 0)} }
	for name, c := range map[string]struct {
		chains     [][]*x509.Certificate
		server, ca int
	}{
		"one authority":     {[][]*x509.Certificate{{day(5), day(50)}}, 5, 50},
		"signs itself":      {[][]*x509.Certificate{{day(5)}}, 5, 5},
		"one between":       {[][]*x509.Certificate{{day(5), day(4), day(50)}}, 4, 50},
		"the CA ends first": {[][]*x509.Certificate{{day(5), day(3)}}, 5, 3},
		"two ways":          {[][]*x509.Certificate{{day(5), day(3)}, {day(5), day(50)}, {day(5), day(2), day(90)}}, 5, 50},
	} {
		server, ca := chainEnds(c.chains)
		if !server.Equal(day(c.server).NotAfter) || !ca.Equal(day(c.ca).NotAfter) {
			t.Errorf("%s: chainEnds = %v, %v, want day %d and %d", name, server, ca, c.server, c.ca)
		}
	}
	if server, ca := chainEnds(nil); !server.IsZero() || !ca.IsZero() {
		t.Errorf("chainEnds(nothing) = %v, %v, want no times", server, ca)
	}
}

// TestBusEnds: what this process and the bus know each other by, as it is in force.
func TestBusEnds(t *testing.T) {
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
	o := events.ServerOptions{Name: "n", Listen: "127.0.0.1:-1", StoreDir: filepath.Join(out, "data")}
	if o.TLS, err = authority.WriteServer(filepath.Join(out, "tls"), "n", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	o.TLS.Verify = true
	client, err := authority.WriteClient(filepath.Join(out, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Write(out, o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, o.File()))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := natsserver.Start(t.Context(), string(text), natsserver.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	cfg := &config.Config{}
	cfg.Bus.URL, cfg.Bus.Credentials = s.ClientURL(), filepath.Join(out, "creds")
	cfg.Bus.TLS.CA, cfg.Bus.TLS.Cert, cfg.Bus.TLS.Key = client.CA, client.Cert, client.Key
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	ending := filepath.Join(out, "creds", events.UserHooks+".creds")
	endAt(t, filepath.Join(out, "keys", "events-parts.nk"), ending, until)
	b, err := openBus(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	for _, user := range []string{events.UserSession, events.UserHooks} {
		if _, err := b.connect(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	m := newMetrics("1.0.0")
	m.busEnds(b.open, cfg.Bus.TLS.Cert, b.credentialFiles)
	const certificates, credentials = "usher_bus_certificate_expiry_timestamp_seconds", "usher_bus_credential_expiry_timestamp_seconds"
	ends := func(family, label string) map[string]float64 {
		all := map[string]float64{}
		for _, one := range scrape(t, m.handler())[family].GetMetric() {
			if one.GetLabel()[0].GetName() != label {
				t.Errorf("%s has a label %s, want %s", family, one.GetLabel()[0].GetName(), label)
			}
			all[one.GetLabel()[0].GetValue()] = one.GetGauge().GetValue()
		}
		return all
	}
	year := float64(time.Now().AddDate(1, 0, 0).Unix())
	look := func(what string) {
		t.Helper()
		got := ends(certificates, "certificate")
		if len(got) != 3 || got["server"] < year-90_000 || got["server"] > year+90_000 || got["client"] < year-90_000 || got["client"] > year+90_000 || got["ca"] < year+8*365*86400 {
			t.Errorf("%s: certificates end %v, want server and client in a year, and the authority after that", what, got)
		}
		if got := ends(credentials, "user"); len(got) != 1 || got[events.UserHooks] != float64(until.Unix()) {
			t.Errorf("%s: credentials end %v, want that of hooks at %d", what, got, until.Unix())
		}
	}
	look("connected")
	for _, file := range []string{client.Cert, ending} { // half of a new one: the former is in force
		if err := os.WriteFile(file, []byte("-----BEGIN"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look("with broken files")
	other, err := os.ReadFile(filepath.Join(out, "creds", events.UserAPIAuth+".creds"))
	if err == nil {
		err = os.WriteFile(ending, other, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	look("with another user's file") // which the connection does not take either
	b.close()
	if got := ends(certificates, "certificate"); len(got) != 1 {
		t.Errorf("away: certificates end %v, want that of the client alone", got)
	}
}

// endAt signs the credential in a file anew, with an end.
func endAt(t *testing.T, key, file string, until time.Time) {
	t.Helper()
	seed, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := nkeys.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := jwt.ParseDecoratedUserNKey(text)
	if err != nil {
		t.Fatal(err)
	}
	own, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	claims.Expires = until.Unix()
	if token, err = claims.Encode(signer); err != nil {
		t.Fatal(err)
	}
	if text, err = jwt.FormatUserConfig(token, own); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
