package doctor_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/cmd/internal/doctor"
	"github.com/usher-auth/usher/services/breached"
)

// good is a configuration that nothing is wrong with, as a file.
func good(dir string) map[string]any {
	return map[string]any{
		"data_dir":                               filepath.Join(dir, "data"),
		"serve.public.host":                      "127.0.0.1",
		"serve.public.base_url":                  "http://127.0.0.1:4433/",
		"cookies.secure":                         false,
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

// examine looks at a configuration with some keys changed, where nothing runs. A nil
// leaves one out.
func examine(t *testing.T, changes map[string]any, only ...string) doctor.Report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usher.yaml")
	write(t, file, "log: {format: text}\n", 0o600)
	return examineFile(t, file, []string{}, changes, only...)
}

// examineFile has the file and variables besides.
func examineFile(t *testing.T, file string, env []string, changes map[string]any, only ...string) doctor.Report {
	t.Helper()
	keys := good(t.TempDir())
	for name, value := range changes {
		if keys[name] = value; value == nil {
			delete(keys, name)
		}
	}
	return examineAs(t, file, env, keys, only...)
}

// examineAs looks at a file with nothing but these keys changed.
func examineAs(t *testing.T, file string, env []string, keys map[string]any, only ...string) doctor.Report {
	t.Helper()
	cfg, warnings, err := config.Load(config.Options{File: file, Env: env, Overrides: keys, Examine: true})
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

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// openDir is a folder that everybody on the machine may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
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
		{"session step", map[string]any{"security.account_enumeration.mitigate": nil, "selfservice.flows.registration.after.password.hooks": []any{map[string]any{"hook": "session"}}}, "yellow configuration.enumeration"},
		{"session step, accepted", map[string]any{"selfservice.flows.registration.after.password.hooks": []any{map[string]any{"hook": "session"}}}, ""},
		{"dev beyond loopback", map[string]any{"dev": true, "serve.public.host": "0.0.0.0", "rate_limits.enabled": true}, "red configuration.dev"},
		{"long wait", map[string]any{"session.issue.timeout": "6s"}, "yellow configuration.deadlines"},
		{"no limits", map[string]any{"serve.public.host": "0.0.0.0"}, "yellow configuration.rate_limits"},
		{"secure cookies over http", map[string]any{"serve.public.base_url": "http://id.example.com:4433/", "cookies.secure": true}, "yellow configuration.warnings red configuration.cookies"},
		{"secure cookies over http on this machine", map[string]any{"serve.public.base_url": "http://127.0.0.1:4433/", "cookies.secure": true}, "yellow configuration.warnings"},
		{"cookie of another domain", map[string]any{"session.cookie.domain": "example.org", "serve.public.base_url": "https://id.example.com:4433/", "cookies.secure": true, "serve.trusted_proxies": []any{"10.0.0.0/8"}}, "yellow configuration.warnings red configuration.cookies"},
		{"cookie of the domain", map[string]any{"session.cookie.domain": "example.com", "serve.public.base_url": "https://id.example.com/", "cookies.secure": true, "serve.trusted_proxies": []any{"10.0.0.0/8"}}, "yellow configuration.warnings"},
		{"a proxy that is not trusted", map[string]any{"serve.public.base_url": "https://id.example.com/", "cookies.secure": true}, "yellow configuration.proxies"},
		{"and one limit for all", map[string]any{"serve.public.base_url": "https://id.example.com/", "cookies.secure": true, "rate_limits.enabled": true}, "red configuration.proxies"},
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
	r = examine(t, map[string]any{"bus.url": "tls://127.0.0.1:1", "bus.credentials": t.TempDir(), "bus.tls.ca": path + ".none", "dsn": "postgres://127.0.0.1:1/u"}, "configuration.valid", "certificates")
	if got := strings.Join(wrong(r), " "); got != "red configuration.valid" {
		t.Errorf("findings are %q, want red configuration.valid alone", got)
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
	dir := filepath.Join(openDir(t), "bus", "creds")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	keys := map[string]any{"bus.url": "nats://127.0.0.1:1", "bus.credentials": dir}
	path := filepath.Join(dir, "mint.json")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o660: "yellow secrets.files", 0o644: "red secrets.files"} {
		write(t, path, "{}", mode)
		if got := strings.Join(wrong(examine(t, keys, "secrets.files")), " "); got != want {
			t.Errorf("mode %04o: findings are %q, want %q", mode, got, want)
		}
	}
	for _, closed := range []string{dir, filepath.Dir(dir)} { // others do not get to the file
		if err := errors.Join(os.Chmod(path, 0o666), os.Chmod(closed, 0o700)); err != nil {
			t.Fatal(err)
		}
		if got := wrong(examine(t, keys, "secrets.files")); len(got) > 0 {
			t.Errorf("behind %s of its owner: findings are %q, want none", closed, got)
		}
		if err := os.Chmod(closed, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFilesWithSecretsWhoeverNamesThem has each file that a key or a variable names.
func TestFilesWithSecretsWhoeverNamesThem(t *testing.T) {
	t.Parallel()
	const long, short = "hunter2hunter2hunter2", "hunter2"
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string
		// names gives variables and keys that name the file.
		names func(path string) ([]string, map[string]any)
	}{
		{"dsn", "postgres://u:" + long + "@127.0.0.1:1/u", 0o644, "red", variable("USHER_DSN_FILE")},
		{"dsn of a group", "postgres://u:" + long + "@127.0.0.1:1/u", 0o640, "", variable("USHER_DSN_FILE")},
		{"dsn that is empty", "\n", 0o600, "red", variable("USHER_DSN_FILE")},
		{"mail server", "smtps://u:" + long + "@127.0.0.1:1/", 0o646, "red", variable("USHER_COURIER__SMTP__CONNECTION_URI_FILE")},
		{"key of a mail API", long, 0o644, "red", variable("USHER_COURIER__HTTP__REQUEST_CONFIG__AUTH__CONFIG__VALUE_FILE")},
		{"cookies", long + long, 0o660, "yellow", variable("USHER_SECRETS__COOKIE_FILE")},
		{"providers", "[{id: a, client_secret: " + long + "}]", 0o644, "red", variable("USHER_SELFSERVICE__METHODS__OIDC__CONFIG__PROVIDERS_FILE")},
		{"no secret", "4433", 0o644, "", variable("USHER_SERVE__PUBLIC__PORT_FILE")},
		{"client secret", long, 0o644, "red", provider("client_secret_file")},
		{"short client secret", short, 0o600, "yellow", provider("client_secret_file")},
		{"webhook", "whsec_" + long, 0o644, "red", func(path string) ([]string, map[string]any) {
			return nil, map[string]any{"webhooks": []any{map[string]any{"name": "crm", "url": "https://crm.example.com/", "secret_file": path}}}
		}},
		{"key for PostgreSQL", "key", 0o644, "red", func(path string) ([]string, map[string]any) {
			return nil, map[string]any{"dsn": "postgres://u@127.0.0.1:1/u?sslmode=verify-full&sslkey=" + path}
		}},
		{"passwords for PostgreSQL", "*:*:*:*:" + short, 0o644, "red", func(path string) ([]string, map[string]any) {
			return nil, map[string]any{"dsn": "postgres://u@127.0.0.1:1/u?passfile=" + path}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			path := filepath.Join(dir, "held")
			write(t, path, c.text, c.mode)
			file := filepath.Join(dir, "usher.yaml")
			write(t, file, "log: {format: text}\n", 0o644)
			env, keys := c.names(path)
			r := examineFile(t, file, append(env, "USHER_LOG__LEVEL=info"), keys, "secrets.files")
			if got := strings.TrimSuffix(strings.Join(wrong(r), " "), " secrets.files"); got != c.want {
				t.Errorf("findings are %+v, want %q", r.Findings, c.want)
			}
			if text := fmt.Sprint(r.Findings); strings.Contains(text, short) || c.want != "" && !strings.Contains(text, path) {
				t.Errorf("findings are %s, want the file named and no secret", text)
			}
		})
	}
}

func variable(name string) func(string) ([]string, map[string]any) {
	return func(path string) ([]string, map[string]any) { return []string{name + "=" + path}, nil }
}

func provider(key string) func(string) ([]string, map[string]any) {
	return func(path string) ([]string, map[string]any) {
		return nil, map[string]any{"selfservice.methods.oidc.config.providers": []any{map[string]any{"id": "a", key: path}}}
	}
}

// TestTheConfigurationFileItself holds a secret or not.
func TestTheConfigurationFileItself(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"log: {format: text}\n": "",
		"selfservice: {methods: {oidc: {config: {providers: [{id: a, client_secret: hunter2}]}}}}\n": "red secrets.files",
		"dsn: postgres://u:hunter2@one:1,two:2/u\n":                                                  "red secrets.files",
		"dsn: postgres://u@one:1,two:2/u\n":                                                          "",
	} {
		file := filepath.Join(openDir(t), "usher.yaml")
		write(t, file, text, 0o644)
		if got := strings.Join(wrong(examineFile(t, file, []string{}, nil, "secrets.files")), " "); got != want {
			t.Errorf("%s: findings are %q, want %q", text, got, want)
		}
	}
}

// TestASecretOfAnotherUser needs somebody who may give files away.
func TestASecretOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root gives a file to another user")
	}
	path := filepath.Join(openDir(t), "held")
	write(t, path, "hunter2hunter2hunter2hunter2", 0o600)
	if err := os.Chown(path, 12345, 0); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "usher.yaml")
	write(t, file, "log: {format: text}\n", 0o600)
	env := []string{"USHER_SECRETS__COOKIE_FILE=" + path}
	if got := strings.Join(wrong(examineFile(t, file, env, nil, "secrets.files")), " "); got != "yellow secrets.files" {
		t.Errorf("findings are %q, want yellow", got)
	}
	data := t.TempDir()
	if err := os.Chown(data, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if got := wrong(examineFile(t, file, env, map[string]any{"data_dir": data}, "secrets.files")); len(got) > 0 {
		t.Errorf("the user of the data folder: findings are %q, want none", got)
	}
}

// TestASecretBehindALink is judged by where it is, as Kubernetes links to it.
func TestASecretBehindALink(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(closed, "held"), "postgres://127.0.0.1:1/u", 0o644)
	path := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(closed, "held"), path); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "usher.yaml")
	write(t, file, "log: {format: text}\n", 0o600)
	if got := wrong(examineFile(t, file, []string{"USHER_DSN_FILE=" + path}, nil, "secrets.files")); len(got) > 0 {
		t.Errorf("findings are %q, want none", got)
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

func TestTheFileOfBreachedPasswords(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "breached.bin")
	b, err := breached.NewBuilder(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(t.Context(), strings.NewReader("one password"), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	const key = "selfservice.methods.password.config.breached_file"
	for _, configured := range []any{nil, path} {
		if r := examine(t, map[string]any{key: configured}, "passwords"); len(wrong(r)) > 0 || len(r.Findings) != 1 {
			t.Errorf("with %v: findings are %+v, want a green one", configured, r.Findings)
		}
	}
	write(t, path, "damaged", 0o600)
	if got := strings.Join(wrong(examine(t, map[string]any{key: path}, "passwords", "configuration.valid")), " "); got != "red configuration.valid red passwords.breached" {
		t.Errorf("with a damaged file: %s, want it red", got)
	}
}

// An API for mails is connected to and asked nothing.
func TestMailsByAPI(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	for _, c := range []struct {
		name, url, want string
		changes         map[string]any
	}{
		{"there", server.URL + "/hunter2", "", nil},
		{"away", "https://127.0.0.1:1/hunter2", "red mail.server", nil},
		{"private", server.URL + "/hunter2", "red mail.server", map[string]any{"clients.http.disallow_private_ip_ranges": true}},
	} {
		changes := map[string]any{"courier.delivery_strategy": "http", "courier.http.request_config.url": c.url}
		maps.Copy(changes, c.changes)
		r := examine(t, changes, "mail")
		if got := strings.Join(wrong(r), " "); got != c.want {
			t.Errorf("%s: findings are %+v, want %q", c.name, r.Findings, c.want)
		}
		if text := fmt.Sprint(r.Findings); strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s shows the path", c.name, text)
		}
	}
	if asked != 0 {
		t.Errorf("the API was asked %d times, want never", asked)
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

// TestANoteNamesItsFile: a line is one of a file.
func TestANoteNamesItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "usher.yaml")
	write(t, file, "log: {format: text}\nselfservice:\n  flows:\n    registration:\n      after:\n        password:\n          hooks:\n            - {hook: session}\n            - {hook: web_hook, config: {url: 'https://crm.example.com/x', method: POST}}\n", 0o600)
	r := examineFile(t, file, []string{}, nil, "configuration")
	if at := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool {
		return f.Check == "configuration.hooks" && strings.HasPrefix(f.Seen, file+":9: ")
	}); at < 0 {
		t.Errorf("no finding names %s and its line: %+v", file, r.Findings)
	}
}
