package doctor_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheProductionExample has the files that it names, and nothing that runs: as it
// is written nothing is wrong with it.
func TestTheProductionExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text, 0o600)
		return path
	}
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair := s.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := held("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	key := held("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	r := examineAs(t, filepath.Join("..", "..", "..", "deploy", "config.production.yaml"), []string{
		"USHER_DSN_FILE=" + held("dsn", "postgres://usher:b1946ac92492d2347c62@db.internal:5432/usher?sslmode=verify-full&sslrootcert=system"),
		"USHER_SECRETS__DEFAULT_FILE=" + held("default", "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"),
		"USHER_COURIER__SMTP__CONNECTION_URI_FILE=" + held("smtp", "smtps://user:b1946ac92492d2347c62@mail.example.com:465"),
	}, map[string]any{
		"data_dir": dir, "bus.tls.ca": cert, "bus.credentials": dir,
		"serve.public.tls.cert.path": cert, "serve.public.tls.key.path": key, "serve.admin.tls.cert.path": cert, "serve.admin.tls.key.path": key,
	}, "configuration", "secrets")
	if got := wrong(r); len(got) > 0 {
		t.Errorf("findings are %+v, want none that is yellow or red", r.Findings)
	}
	for _, f := range r.Findings {
		if f.Check == "configuration.enumeration" && !strings.HasPrefix(f.Seen, "accepted: ") {
			t.Errorf("%+v, want that it is accepted", f)
		}
	}
}
