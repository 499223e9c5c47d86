package chart

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"

	corev1 "k8s.io/api/core/v1"

	"github.com/usher-auth/usher/deploy/check/checkout"
)

// TestCertificates sees that the notes say the name that Prometheus asks by, and that
// nothing asks for the ca.crt that a public authority leaves out.
func TestCertificates(t *testing.T) {
	t.Parallel()
	own := chartutil.CoalesceTables(map[string]any{"admin": map[string]any{"tlsSecret": "usher-tls"}, "serviceMonitor": map[string]any{"enabled": true}}, values(t, "minimum"))
	for name, tt := range map[string]struct {
		values map[string]any
		want   string
		ca     bool
	}{
		"of an authority of one's own": {own, "id-usher", true},
		"of a public authority":        {values(t, "acme"), "admin.id.example.org", false},
	} {
		o := render(t, tt.values)
		said := regexp.MustCompile(`is to be for the name (\S+):`).FindStringSubmatch(o.Notes)
		if said == nil || said[1] != tt.want {
			t.Errorf("%s: the notes say %q, want the name %s", name, said, tt.want)
		}
		objects := canonical(t, o.Monitors)
		if !strings.Contains(objects, `"serverName":"`+tt.want+`"`) {
			t.Errorf("%s: Prometheus does not ask by %s: %s", name, tt.want, objects)
		}
		o.Notes = ""
		if got := strings.Contains(canonical(t, o), "ca.crt"); got != tt.ca {
			t.Errorf("%s: ca.crt is asked for: %t, want %t", name, got, tt.ca)
		}
	}
}

// TestReadyKnowsTheCertificate runs what "helm test" runs against a listener whose
// certificate is for the name that Prometheus asks by, and of an authority that this
// machine does not know.
func TestReadyKnowsTheCertificate(t *testing.T) {
	t.Parallel()
	cert, key, err := certificate("admin.id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	another, _, err := certificate("admin.id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health/ready" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	listener.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	listener.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	listener.StartTLS()
	t.Cleanup(listener.Close)
	o := render(t, values(t, "acme"))
	for _, c := range o.Pods[0].Spec.Containers {
		if out, err := ready(t, o, c, listener.Listener.Addr().String(), cert); err != nil {
			t.Errorf("%s: usher %s: %v\n%s", c.Name, strings.Join(c.Args, " "), err, out)
		}
		if out, err := ready(t, o, c, listener.Listener.Addr().String(), another); err == nil || !strings.Contains(out, "not trusted") {
			t.Errorf("%s: usher %s trusts any certificate: %v\n%s", c.Name, strings.Join(c.Args, " "), err, out)
		}
	}
}

// ready runs a container of the test with an address in the place of its Service, and a
// certificate in its file.
func ready(t *testing.T, o *Objects, c corev1.Container, address, cert string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "run/usher/tls/admin/tls.crt")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(checkout.Usher(t), c.Args...)
	cmd.Dir = dir
	for _, e := range c.Env {
		switch e.Name {
		case "USHER_SERVE__ADMIN__HOST":
			if !slices.ContainsFunc(o.Services, func(s *corev1.Service) bool { return s.Name == e.Value }) {
				t.Errorf("%s: there is no Service %s", c.Name, e.Value)
			}
			e.Value = host
		case "USHER_SERVE__ADMIN__PORT":
			e.Value = port
		}
		cmd.Env = append(cmd.Env, e.Name+"="+at(dir, e.Value))
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
