package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// secured is a TLS server like an admin listener, and its certificate in a file.
func secured(t *testing.T) (at *url.URL, cert string) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health/ready" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"errors":{"database":"unavailable","bus":"unavailable"}}`))
			return
		}
		_, _ = w.Write([]byte(`{"status":"ok"}`))
	}))
	t.Cleanup(s.Close)
	cert = filepath.Join(t.TempDir(), "tls.crt")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return at, cert
}

func TestHealthAsksItsOwnListener(t *testing.T) {
	t.Parallel()
	at, cert := secured(t)
	// base_url leads elsewhere, and the name is not in the certificate.
	file := write(t, "serve: {admin: {base_url: 'https://admin.example.org/', host: localhost, port: "+at.Port()+", tls: {cert: {path: '"+cert+"'}, key: {path: unread}}}}\n")
	if out, errOut, code := run(t, "health", "--live", "-c", file); code != 0 || out != "alive\n" {
		t.Errorf("usher health --live = %d %s%s, want alive", code, out, errOut)
	}
	if out, errOut, code := run(t, "health", "--accepting", "-c", file); code != 0 || out != "accepting\n" {
		t.Errorf("usher health --accepting = %d %s%s, want accepting", code, out, errOut)
	}
	out, errOut, code := run(t, "health", "-c", file)
	if code == 0 || !strings.Contains(errOut, "503") || !strings.Contains(errOut, "bus: unavailable\ndatabase: unavailable") {
		t.Errorf("usher health = %d %s%s, want what is not well", code, out, errOut)
	}
	out, _, code = run(t, "health", "--live", "--json", "-c", file)
	var answer map[string]string
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 0 || answer["status"] != "ok" {
		t.Errorf("usher health --json = %d %s", code, out)
	}
	if _, errOut, code := run(t, "health", "--live", "--ready"); code == 0 || !strings.Contains(errOut, "live") {
		t.Errorf("usher health --live --ready = %d %s, want a refusal", code, errOut)
	}
	if _, errOut, code := run(t, "health", "--admin", "127.0.0.1:1"); code == 0 || !strings.Contains(errOut, "no server answers") {
		t.Errorf("usher health without a server = %d %s", code, errOut)
	}
}

func TestClientTrustsByFile(t *testing.T) {
	t.Parallel()
	at, cert := secured(t)
	for name, tt := range map[string]struct {
		args []string
		says string // empty: it is trusted
	}{
		"nothing":      {[]string{"--admin", at.String()}, "--ca FILE"},
		"authority":    {[]string{"--admin", at.String(), "--ca", cert}, ""},
		"another name": {[]string{"--admin", "https://localhost:" + at.Port(), "--ca", cert}, "not trusted"},
		"no file":      {[]string{"--admin", at.String(), "--ca", "missing"}, "--ca: open missing"},
		"no PEM":       {[]string{"--admin", at.String(), "--ca", write(t, "x")}, "no certificate"},
	} {
		out, errOut, code := run(t, append([]string{"health", "--live"}, tt.args...)...)
		if (code == 0) != (tt.says == "") || !strings.Contains(errOut, tt.says) {
			t.Errorf("%s: %d %s%s, want %q", name, code, out, errOut, tt.says)
		}
	}
}
