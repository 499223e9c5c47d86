package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// pair makes a certificate for 127.0.0.1 and its key, as PEM.
func pair(t *testing.T, from, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "usher"}, NotBefore: from, NotAfter: until, DNSNames: []string{"id.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// withTLS writes a configuration and the files that it names beside it.
func withTLS(t *testing.T, text, cert, key string) string {
	t.Helper()
	path := file(t, text)
	for name, text := range map[string]string{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

const inFiles = "\nserve:\n  public:\n    tls:\n      cert: {path: tls.crt}\n      key: {path: tls.key}\n"

func TestTLSMakesURLsAndCookiesSecure(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, inFiles)})
	if c.PublicURL() != "https://127.0.0.1:4433/" || c.AdminURL() != "http://127.0.0.1:4434/" || !c.Cookies.Secure || !c.Session.Cookie.Secure {
		t.Errorf("URLs %s, %s, secure cookies %t, %t; want https for public only, and both", c.PublicURL(), c.AdminURL(), c.Cookies.Secure, c.Session.Cookie.Secure)
	}
	_, warnings := load(t, config.Options{Dev: true, File: file(t, strings.Replace(inFiles, "tls:", "base_url: 'http://id.example.org/'\n    tls:", 1))})
	if !slices.ContainsFunc(warnings, func(w config.Warning) bool {
		return w.Key == "serve.public.base_url" && w.Line == 4
	}) {
		t.Errorf("warnings = %v, want one of http in base_url", warnings)
	}
}

func TestTLSIsGivenInOneWay(t *testing.T) {
	t.Parallel()
	for text, key := range map[string]string{
		"{cert: {path: a}}":                                      "serve.admin.tls.key",
		"{key: {base64: eA==}}":                                  "serve.admin.tls.cert",
		"{cert: {path: a, base64: eA==}, key: {path: a}}":        "serve.admin.tls.cert",
		"{cert: {path: a}, key: {path: a, base64: eA==}}":        "serve.admin.tls.key",
		"{cert: {path: a}, key: {path: a}, ciphers: [RC4]}":      "serve.admin.tls.ciphers",
		"{cert: {path: a}, key: {path: a, password: forgotten}}": "serve.admin.tls.key.password",
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, "\nserve: {admin: {tls: "+text+"}}\n")})
		if len(problems) != 1 || problems[0].Key != key || problems[0].Line != 2 {
			t.Errorf("%s: problems = %v, want one of %s in line 2", text, problems, key)
		}
	}
}

func TestCertificate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	cert, key := pair(t, now.Add(-time.Hour), now.Add(time.Hour))
	_, foreign := pair(t, now.Add(-time.Hour), now.Add(time.Hour))
	over, overKey := pair(t, now.Add(-2*time.Hour), now.Add(-time.Hour))
	early, earlyKey := pair(t, now.Add(time.Hour), now.Add(2*time.Hour))
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	inText := "\nserve:\n  public:\n    tls:\n      cert: {base64: " + encoded(cert) + "}\n      key: {base64: " + encoded(key) + "}\n"
	for name, tt := range map[string]struct {
		text, cert, key string
		refused         string // key
		line            int
		says            string
		warning         string
	}{
		"files":            {text: inFiles, cert: cert, key: key},
		"base64":           {text: inText},
		"key first":        {text: inFiles, cert: key + cert, key: key},
		"foreign key":      {text: inFiles, cert: cert, key: foreign, refused: "serve.public.tls.key", line: 6, says: "does not go with the certificate"},
		"over":             {text: inFiles, cert: over, key: overKey, warning: "serve.public.tls.cert: tls.crt: the certificate is over since 2026-04-30T23:00:00Z"},
		"early":            {text: inFiles, cert: early, key: earlyKey, warning: "serve.public.tls.cert: tls.crt: the certificate begins only at 2026-05-01T01:00:00Z"},
		"no PEM":           {text: inFiles, cert: "x", key: key, refused: "serve.public.tls.cert.path", line: 5, says: "no PEM"},
		"no file":          {text: strings.Replace(inFiles, "tls.key", "other.key", 1), cert: cert, key: key, refused: "serve.public.tls.key.path", line: 6, says: "other.key: no such file"},
		"no base64":        {text: strings.Replace(inText, encoded(key), "'%%'", 1), refused: "serve.public.tls.key.base64", line: 6, says: "not base64"},
		"key as a cert":    {text: inFiles, cert: key, key: key, refused: "serve.public.tls.key", line: 6, says: "does not go"},
		"plain as it was ": {text: "dev: true\n"},
	} {
		c, _ := load(t, config.Options{Dev: true, File: withTLS(t, tt.text, tt.cert, tt.key)})
		pair, warnings, err := c.Certificate("public", now)
		var problems config.Problems
		switch errors.As(err, &problems); {
		case tt.refused != "":
			if len(problems) != 1 || problems[0].Key != tt.refused || problems[0].Line != tt.line || !strings.Contains(problems[0].Text, tt.says) {
				t.Errorf("%s: Certificate = %v, want a refusal of %s in line %d that says %q", name, err, tt.refused, tt.line, tt.says)
			}
			if strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("%s: the error shows a key", name)
			}
		case err != nil || (pair != nil) != c.Serve.Public.TLS.On():
			t.Errorf("%s: Certificate = %v, %v", name, pair, err)
		case tt.warning == "" != (len(warnings) == 0), tt.warning != "" && !strings.Contains(warnings[0].String(), tt.warning):
			t.Errorf("%s: warnings = %v, want %q", name, warnings, tt.warning)
		}
	}
}

func TestKeyThatOthersReadIsWarnedOf(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := pair(t, now.Add(-time.Hour), now.Add(time.Hour))
	path := withTLS(t, inFiles, cert, key)
	c, _ := load(t, config.Options{Dev: true, File: path})
	for mode, want := range map[os.FileMode]int{0o640: 0, 0o644: 1} {
		if err := os.Chmod(filepath.Join(filepath.Dir(path), "tls.key"), mode); err != nil {
			t.Fatal(err)
		}
		if _, warnings, err := c.Certificate("public", now); err != nil || len(warnings) != want {
			t.Errorf("mode %o: warnings = %v, %v, want %d", mode, warnings, err, want)
		}
	}
	if want := []string{path, filepath.Join(filepath.Dir(path), "tls.crt"), filepath.Join(filepath.Dir(path), "tls.key")}; !slices.Equal(c.Files(), want) {
		t.Errorf("Files = %q, want %q", c.Files(), want)
	}
}

func TestFindAdminKnowsItsCertificate(t *testing.T) {
	t.Parallel()
	cert, key := pair(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	path := withTLS(t, strings.Replace(inFiles, "public:", "admin:\n    base_url: https://admin.example.org/", 1), cert, key)
	a, err := config.FindAdmin(config.Options{File: path, Env: noEnv})
	if err != nil || a.URL != "https://admin.example.org/" || a.Own != "https://127.0.0.1:4434/" || a.Certificate == nil || a.Certificate.DNSNames[0] != "id.example.org" {
		t.Errorf("FindAdmin = %+v, %v, want both URLs and the certificate", a, err)
	}
}
