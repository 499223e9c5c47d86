package production_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/compose"
)

const file = "deploy/config.production.yaml"

// check runs "usher config check" as a machine in production has it: with the
// secrets that the file's head names in files, and certificates where it says.
func check(t *testing.T, text string) (string, error) {
	t.Helper()
	volumes, dir := compose.Volumes(t), t.TempDir()
	var environment []string
	for name, secret := range map[string]string{
		"DSN":                           "postgres://usher:secret@db.internal:5432/usher?sslmode=verify-full",
		"SECRETS__DEFAULT":              "5f0c6d1a94b3e7820d4c1b6a9e8f7032415263748596a7b8c9d0e1f2a3b4c5d6",
		"COURIER__SMTP__CONNECTION_URI": "smtps://user:secret@mail.example.com:465",
	} {
		if !strings.Contains(text, "USHER_"+name+"_FILE=") {
			t.Fatalf("%s does not name USHER_%s_FILE", file, name)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		environment = append(environment, "USHER_"+name+"_FILE="+path)
	}
	for from, to := range map[string]string{
		"/etc/usher/tls/public": "front/localhost", "/etc/usher/tls/admin": "front/localhost", "/etc/usher/bus": "api",
	} {
		text = strings.ReplaceAll(text, from, filepath.Join(volumes, to))
	}
	path := filepath.Join(dir, "usher.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(checkout.Usher(t), "config", "check", "-c", path)
	c.Env = environment
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestProduction(t *testing.T) {
	t.Parallel()
	out, err := check(t, checkout.Read(t, file))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// What is warned of is one thing alone, which the file says itself.
	for line := range strings.Lines(out) {
		if strings.Contains(line, "warn") && !strings.Contains(line, "account_enumeration") {
			t.Error(line)
		}
	}
	t.Log(out)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	good := checkout.Read(t, file)
	for _, broken := range []struct{ name, from, to, want string }{
		{"an unknown key", "  drain_delay: 10s", "  drain_dealy: 10s", "drain_dealy"},
		{"a hook that nobody knows", "hook: require_verified_address", "hook: require_verified", "require_verified"},
		{"a key without its certificate", "      cert: {path: /etc/usher/tls/public.pem}\n", "", "serve.public.tls"},
		{"a duration of nothing", "lifespan: 24h", "lifespan: 24", "lifespan"},
		{"a sender that is none", "    from_address: accounts@example.com", "    from_address: accounts", "from_address"},
		{"a bus without its authority", "/etc/usher/bus/ca.pem", "/etc/usher/ca.pem", "bus.tls.ca"},
		{"a proxy by name", "trusted_proxies: [10.0.0.0/24]", "trusted_proxies: [proxy.internal]", "trusted_proxies"},
		{"a log shorter than the retries", "retention: 8760h", "retention: 24h", "audit.retention"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, broken.from) {
				t.Fatalf("%s has no %q any more", file, broken.from)
			}
			out, err := check(t, strings.Replace(good, broken.from, broken.to, 1))
			if err == nil || !strings.Contains(out, broken.want) {
				t.Errorf("config check: %v %q, want a refusal with %q", err, out, broken.want)
			}
		})
	}
}
