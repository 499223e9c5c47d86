package doctor_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/cmd/internal/doctor"
)

// good is a configuration that nothing is wrong with, as a file.
func good(dir string) map[string]any {
	return map[string]any{
		"data_dir":                               filepath.Join(dir, "data"),
		"serve.public.host":                      "127.0.0.1",
		"serve.public.base_url":                  "http://127.0.0.1:4433/",
		"secrets.default":                        []any{"b1946ac92492d2347c6235b4d2611184-0"},
		"security.account_enumeration.mitigate":  false,
		"selfservice.flows.verification.enabled": false,
		"bus.listen":                             "127.0.0.1:1",
		"selfservice.default_browser_return_url": "http://127.0.0.1:4433/",
		"identity.schemas":                       []any{map[string]any{"id": "default", "url": "builtin://default"}},
		"selfservice.flows.registration.style":   "unified",
		"selfservice.methods.password.enabled":   true,
	}
}

// examine looks at a configuration with some keys changed, where nothing runs.
func examine(t *testing.T, changes map[string]any, only ...string) doctor.Report {
	t.Helper()
	keys := good(t.TempDir())
	for name, value := range changes {
		keys[name] = value
	}
	file := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(file, []byte("log: {format: text}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, warnings, err := config.Load(config.Options{File: file, Env: []string{}, Overrides: keys, Examine: true})
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatal(err)
	}
	d := doctor.Doctor{
		Config: cfg, Warnings: warnings, Problems: err, File: file, Sources: "usher.yaml", Flags: " -c usher.yaml", Version: "1.2.3", Only: only,
		Admin: doctor.Admin{URL: "http://127.0.0.1:1", Client: http.DefaultClient},
	}
	r := d.Run(t.Context())
	validate(t, r)
	return r
}

// wrong are the findings that are yellow or red: "red configuration.cookies".
func wrong(r doctor.Report) (all []string) {
	for _, f := range r.Findings {
		if f.Status == doctor.Red || f.Status == doctor.Yellow {
			all = append(all, fmt.Sprintf("%s %s", f.Status, f.Check))
			if f.Seen == "" {
				all = append(all, f.Check+" says nothing")
			}
		}
	}
	return slices.Compact(all)
}

func TestConfigurationsThatFightThemselves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		keys map[string]any
		want string
	}{
		{"nothing", nil, ""},
		{"session step", map[string]any{"selfservice.flows.registration.after.password.hooks": []any{map[string]any{"hook": "session"}}}, "yellow configuration.enumeration"},
		{"dev beyond loopback", map[string]any{"dev": true, "serve.public.host": "0.0.0.0", "rate_limits.enabled": true}, "red configuration.dev"},
		{"long wait", map[string]any{"session.issue.timeout": "6s"}, "yellow configuration.deadlines"},
		{"no limits", map[string]any{"serve.public.host": "0.0.0.0"}, "yellow configuration.rate_limits"},
		{"secure cookies over http", map[string]any{"serve.public.base_url": "http://id.example.com:4433/"}, "red configuration.cookies"},
		{"cookie of another domain", map[string]any{"session.cookie.domain": "example.org", "serve.public.base_url": "https://id.example.com:4433/", "serve.trusted_proxies": []any{"10.0.0.0/8"}}, "yellow configuration.warnings red configuration.cookies"},
		{"cookie of the domain", map[string]any{"session.cookie.domain": "example.com", "serve.public.base_url": "https://id.example.com/", "serve.trusted_proxies": []any{"10.0.0.0/8"}}, "yellow configuration.warnings"},
		{"a proxy that is not trusted", map[string]any{"serve.public.base_url": "https://id.example.com/"}, "yellow configuration.proxies"},
		{"and one limit for all", map[string]any{"serve.public.base_url": "https://id.example.com/", "rate_limits.enabled": true}, "red configuration.proxies"},
		{"one replica of three servers", map[string]any{"bus.url": "nats://a:1,nats://b:1,nats://c:1", "bus.credentials": "creds", "bus.replicas": 1, "dsn": "postgres://db/usher"}, "yellow configuration.replicas"},
		{"more replicas than servers", map[string]any{"bus.url": "nats://a:1,nats://b:1", "bus.credentials": "creds", "bus.replicas": 3, "dsn": "postgres://db/usher"}, "yellow configuration.replicas"},
		{"a bus for parts and a database for one process", map[string]any{"bus.url": "nats://a:1", "bus.credentials": "creds"}, "yellow configuration.warnings"},
		{"debug", map[string]any{"log.level": "debug"}, "yellow configuration.log"},
		{"a bad value", map[string]any{"session.issue.on_failure": "explode"}, "red configuration.valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(wrong(examine(t, c.keys, "configuration")), " "); got != c.want {
				t.Errorf("findings are %q, want %q", got, c.want)
			}
		})
	}
}

// TestOneCauseIsOneFinding has a certificate that cannot be used, which the
// configuration as a whole cannot either.
func TestOneCauseIsOneFinding(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := examine(t, map[string]any{"serve.admin.tls.cert.path": path, "serve.admin.tls.key.path": path}, "configuration.valid", "certificates")
	if got := strings.Join(wrong(r), " "); got != "red certificates.listeners" || r.Findings[0].Status != doctor.Skipped {
		t.Errorf("findings are %q and %+v, want red certificates.listeners alone", got, r.Findings[0])
	}
}

func TestSaysWhichOfTwoReasonsIsGood(t *testing.T) {
	t.Parallel()
	for want, keys := range map[string]map[string]any{
		"development mode is off":                             nil,
		"development mode, and only this machine can connect": {"dev": true},
	} {
		if r := examine(t, keys, "configuration.dev"); r.Status != doctor.Green || len(r.Findings) != 1 || r.Findings[0].Seen != want {
			t.Errorf("with %v: findings are %+v, want green: %s", keys, r.Findings, want)
		}
	}
}

// TestAdviceOnAWeakSecretCanBeFollowed: one that stays in the list is still refused.
func TestAdviceOnAWeakSecretCanBeFollowed(t *testing.T) {
	t.Parallel()
	weak, strong := "hunter2", "b1946ac92492d2347c6235b4d2611184-1"
	for name, keys := range map[string][]any{"weak": {weak}, "weak behind a new one": {strong, weak}} {
		r := examine(t, map[string]any{"secrets.default": keys}, "secrets.strength")
		if r.Status != doctor.Red || !strings.Contains(r.Findings[0].Mend, "in its place") {
			t.Errorf("%s: %+v, want red and to replace it", name, r.Findings)
		}
	}
	if r := examine(t, map[string]any{"secrets.default": []any{strong}}, "secrets.strength"); r.Status != doctor.Green {
		t.Errorf("replaced: %+v, want green", r.Findings)
	}
}

func TestSecretsAreJudgedAndNeverShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2hunter2hunter2hunter2"
	for _, c := range []struct {
		name string
		keys map[string]any
		want string
	}{
		{"good", nil, ""},
		{"too short", map[string]any{"secrets.default": []any{"hunter2"}}, "red secrets.strength"},
		{"all the same", map[string]any{"secrets.cookie": []any{strings.Repeat("a", 40)}}, "red secrets.strength"},
		{"an example", map[string]any{"secrets.cipher": []any{"PLEASE-CHANGE-ME-to-hunter2-0123456789"}}, "red secrets.strength"},
		{"none", map[string]any{"secrets.default": []any{}}, "red secrets.strength"},
		{"one for both", map[string]any{"secrets.cookie": []any{secret + "xyzabcdef"}, "secrets.cipher": []any{secret + "xyzabcdef"}}, "yellow secrets.strength"},
		{"weak in development", map[string]any{"dev": true, "secrets.cookie": []any{"hunter2-hunter2-hunter2"}}, "yellow secrets.strength"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, c.keys, "secrets", "configuration.valid")
			if got := strings.Join(wrong(r), " "); got != c.want {
				t.Errorf("findings are %q, want %q", got, c.want)
			}
			for _, f := range r.Findings {
				if strings.Contains(f.Seen+f.Mend, "hunter2") {
					t.Errorf("%s shows a secret: %s", f.Check, f.Seen)
				}
			}
		})
	}
}

func TestFilesThatOthersRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bus", "creds")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	keys := map[string]any{"bus.url": "nats://127.0.0.1:1", "bus.credentials": dir}
	path := filepath.Join(dir, "mint.json")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o660: "yellow secrets.files", 0o644: "red secrets.files"} {
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(wrong(examine(t, keys, "secrets.files")), " "); got != want {
			t.Errorf("mode %04o: findings are %q, want %q", mode, got, want)
		}
	}
	if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(dir, 0o700)); err != nil { // others do not get to the file
		t.Fatal(err)
	}
	if got := wrong(examine(t, keys, "secrets.files")); len(got) > 0 {
		t.Errorf("in a folder of its owner: findings are %q, want none", got)
	}
}

// TestNothingRuns looks where there is nothing: each part that is away is one
// finding, and what stands on it is skipped.
func TestNothingRuns(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := examine(t, map[string]any{
		"dsn": "postgres://usher:hunter2@127.0.0.1:1/usher", "bus.url": "nats://127.0.0.1:1", "bus.credentials": t.TempDir(),
		"courier.smtp.connection_uri": "smtp://usher:hunter2@127.0.0.1:1/", "courier.smtp.from_address": "a@example.com",
	}, "database", "bus", "mail", "processes")
	want := "red database.reachable red bus.credentials red mail.server yellow processes.health"
	if got := strings.Join(wrong(r), " "); got != want {
		t.Errorf("findings are %q, want %q", got, want)
	}
	for _, f := range r.Findings {
		if strings.Contains(f.Seen+f.Mend, "hunter2") {
			t.Errorf("%s shows a secret: %s", f.Check, f.Seen)
		}
	}
}

func TestAConfigurationThatCannotBeRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(file, []byte("sesion: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(config.Options{File: file, Env: []string{}, Examine: true})
	if cfg != nil || err == nil {
		t.Fatalf("Load = %v, %v, want problems alone", cfg, err)
	}
	d := doctor.Doctor{Problems: err, Sources: file}
	r := d.Run(t.Context())
	validate(t, r)
	if got := wrong(r); len(r.Findings) != 1 || got[0] != "red configuration.valid" {
		t.Errorf("findings are %+v, want one, red configuration.valid", r.Findings)
	}
}
