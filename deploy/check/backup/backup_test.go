package backup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/markdown"
)

const file = "deploy/backup.md"

// blocks gives the shell blocks under a heading of the document, in order.
func blocks(t *testing.T, heading string, want int) []string {
	t.Helper()
	source := checkout.Read(t, file)
	_, section, found := strings.Cut(source, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", file, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var texts []string
	for _, b := range markdown.Blocks([]byte(section)) {
		texts = append(texts, b.Text)
	}
	if len(texts) != want {
		t.Fatalf("%s, %s: %d blocks, want %d", file, heading, len(texts), want)
	}
	return texts
}

// system is one Usher in a folder of its own, with a webhook that remembers.
type system struct {
	t                  *testing.T
	dir, public, admin string
	environment        []string
	server             *exec.Cmd

	mu      sync.Mutex
	reached map[string]int // how often the webhook got an event of an identity
}

func newSystem(t *testing.T, dsn string) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), public: free(t), admin: free(t), reached: map[string]int{}}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Subject string }
		if json.NewDecoder(r.Body).Decode(&event) == nil {
			s.mu.Lock()
			s.reached[event.Subject]++
			s.mu.Unlock()
		}
	}))
	t.Cleanup(hook.Close)
	_, publicPort, _ := net.SplitHostPort(s.public)
	_, adminPort, _ := net.SplitHostPort(s.admin)
	secret := "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	if err := os.WriteFile(filepath.Join(s.dir, "crm.secret"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
data_dir: ./usher-data
dsn: %q
bus: {listen: "127.0.0.1:%s"}
secrets: {default: [%s]}
serve: {public: {base_url: "http://%s/", host: 127.0.0.1, port: %s}, admin: {port: %s}}
hashers: {argon2: {memory: 19MB}}
security: {account_enumeration: {mitigate: false}}
console: {setup_link: false}
clients: {http: {private_ip_exception_urls: ["%s/*"]}}
webhooks: [{name: crm, url: "%s/hook", events: [identity.created], secret_file: crm.secret}]
`, dsn, port(free(t)), oldSecret, s.public, publicPort, adminPort, hook.URL, hook.URL)
	if err := os.WriteFile(filepath.Join(s.dir, "usher.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.environment = append(os.Environ(), "PATH="+filepath.Dir(checkout.Usher(t))+":"+postgresPath()+os.Getenv("PATH"), "HOOK=crm", "ADMIN=http://"+s.admin, "DATABASE="+dsn, "BUS_KEYS=")
	s.run("usher migrate -c usher.yaml")
	return s
}

func (s *system) command(script string) *exec.Cmd {
	c := exec.Command("sh", "-ec", script)
	c.Dir, c.Env = s.dir, s.environment
	return c
}

// run runs shell commands in the system's folder.
func (s *system) run(script string) string {
	s.t.Helper()
	out, err := s.command(script).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

func (s *system) start() {
	s.t.Helper()
	var said bytes.Buffer
	s.server = exec.Command(checkout.Usher(s.t), "serve", "-c", "usher.yaml")
	s.server.Dir, s.server.Env, s.server.Stderr = s.dir, s.environment, &said
	if err := s.server.Start(); err != nil {
		s.t.Fatal(err)
	}
	server := s.server
	s.t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if s.t.Failed() {
			s.t.Log(said.String())
		}
	})
	s.until("it is ready", func() bool {
		r, err := http.Get("http://" + s.admin + "/health/ready")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// kill ends the server as a machine that burns does.
func (s *system) kill() {
	_ = s.server.Process.Kill()
	_ = s.server.Wait()
}

func (s *system) until(what string, is func() bool) {
	s.t.Helper()
	for range 600 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("not within 30 seconds: %s", what)
}

func (s *system) times(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached[id]
}

// submit goes through a flow as an app does, and gives status and body.
func (s *system) submit(kind string, form map[string]any) (int, map[string]any) {
	s.t.Helper()
	var flow struct{ UI struct{ Action string } }
	_, begun := s.ask("GET", "http://"+s.public+"/self-service/"+kind+"/api", nil)
	if err := json.Unmarshal(begun, &flow); err != nil {
		s.t.Fatalf("%v: %s", err, begun)
	}
	text, err := json.Marshal(form)
	if err != nil {
		s.t.Fatal(err)
	}
	status, body := s.ask("POST", flow.UI.Action, bytes.NewReader(text))
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		s.t.Fatalf("%d %s", status, body)
	}
	return status, answer
}

func (s *system) ask(method, url string, body io.Reader) (int, []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return got.StatusCode, text
}

const password = "correct horse battery"

func (s *system) register(name string) string {
	s.t.Helper()
	status, answer := s.submit("registration", map[string]any{"method": "password", "password": password, "traits": map[string]any{"email": name + "@example.org"}})
	identity, _ := answer["identity"].(map[string]any)
	id, _ := identity["id"].(string)
	if status != http.StatusOK || id == "" {
		s.t.Fatalf("register %s: %d %v", name, status, answer)
	}
	return id
}

// The secret that the backup is made with, and the one after.
const (
	oldSecret = "5f0c6d1a94b3e7820d4c1b6a9e8f7032415263748596a7b8c9d0e1f2a3b4c5d6"
	newSecret = "a94b3e7820d4c1b6a9e8f7032415263748596a7b8c9d0e1f2a3b4c5d65f0c6d1"
)

// secrets has the configuration name others.
func (s *system) secrets(list string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "usher.yaml")
	text, err := os.ReadFile(path)
	if err == nil {
		text = regexp.MustCompile(`(?m)^secrets: .*$`).ReplaceAll(text, []byte("secrets: {default: "+list+"}"))
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// session signs somebody in, and gives the token.
func (s *system) session(name string) string {
	s.t.Helper()
	_, answer := s.submit("login", map[string]any{"method": "password", "password": password, "identifier": name + "@example.org"})
	token, _ := answer["session_token"].(string)
	if token == "" {
		s.t.Fatalf("%s gets no session: %v", name, answer)
	}
	return token
}

// whoami is the status of what a session is asked for.
func (s *system) whoami(token string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.public+"/sessions/whoami", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Session-Token", token)
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer got.Body.Close()
	return got.StatusCode
}

// end signs a session out, as an app does.
func (s *system) end(token string) {
	s.t.Helper()
	if status, body := s.ask("DELETE", "http://"+s.public+"/self-service/logout/api", strings.NewReader(`{"session_token":"`+token+`"}`)); status != http.StatusNoContent {
		s.t.Fatalf("logout: %d %s", status, body)
	}
}

func (s *system) delete(id string) {
	s.t.Helper()
	if status, body := s.ask("DELETE", "http://"+s.admin+"/admin/identities/"+id, nil); status != http.StatusNoContent {
		s.t.Fatalf("delete: %d %s", status, body)
	}
}

func (s *system) untilLogged(kind string) {
	s.t.Helper()
	s.until(kind+" is in the event log", func() bool {
		return strings.Contains(s.run("usher events list --newest -c usher.yaml"), kind)
	})
}

// now is the time as events have it.
func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") }

func (s *system) login(name string) int {
	s.t.Helper()
	status, _ := s.submit("login", map[string]any{"method": "password", "password": password, "identifier": name + "@example.org"})
	return status
}

// tried backs a system up, lets one more register, destroys everything, restores,
// and sees what is there.
func tried(t *testing.T, dsn, section string, destroy func(*system)) {
	t.Helper()
	parts, then, back, last := blocks(t, section, 2), blocks(t, "Then", 1), blocks(t, "What a restore brings back", 5), blocks(t, "At last", 1)
	block := func(id string) string { return "ID=" + id + "\n" + back[3] }
	s := newSystem(t, dsn)
	s.start()
	ann := s.register("ann")
	gone, blocked := s.register("gone"), s.register("blocked")
	s.run(block(ann))
	s.run(strings.Replace(block(ann), `"inactive"`, `"active"`, 1))
	ended, stays := s.session("ann"), s.session("ann")
	s.until("the webhook got ann", func() bool { return s.times(ann) > 0 })
	since := now()
	s.run(parts[0])
	s.former(parts[0])
	s.run(back[0])
	s.register("late") // after the backup
	s.end(ended)
	s.run(block(blocked))
	s.delete(gone)
	s.untilLogged("identity.deleted")
	s.run(back[0])
	s.kill()

	if err := os.RemoveAll(filepath.Join(s.dir, "usher-data")); err != nil {
		t.Fatal(err)
	}
	destroy(s)
	s.secrets(`["` + newSecret + `"]`)
	if out, err := s.command(parts[1]).CombinedOutput(); err == nil {
		t.Errorf("a backup is restored without the secret of its day:\n%s", out)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "usher-data")); err != nil {
		t.Fatal(err)
	}
	destroy(s)
	s.secrets(`["` + newSecret + `", "` + oldSecret + `"]`)
	s.run(parts[1])
	if out := s.run(then[0]); !strings.Contains(out, "intact") {
		t.Errorf("%s= %s, want intact", then[0], out)
	}
	s.start()

	if status := s.login("ann"); status != http.StatusOK {
		t.Errorf("the login of who was backed up: %d, want 200", status)
	}
	if status := s.login("late"); status == http.StatusOK {
		t.Error("who came after the backup can sign in: nothing was destroyed")
	}
	if s.login("gone") != http.StatusOK || s.login("blocked") != http.StatusOK || s.whoami(ended) != http.StatusOK {
		t.Error("the restore brings nobody back: the document says that it does")
	}
	s.run(back[1])
	if out := s.run("SINCE=" + since + "\n" + back[2]); out != blocked+"\n" {
		t.Errorf("whose state was changed after the backup = %q, want %s", out, blocked)
	}
	s.run(block(blocked))
	if s.login("gone") == http.StatusOK || s.login("blocked") == http.StatusOK || s.whoami(ended) == http.StatusOK {
		t.Error("who was deleted, blocked or signed out is still there")
	}
	if status := s.whoami(stays); status != http.StatusOK {
		t.Errorf("a session that nobody ended: %d, want 200", status)
	}
	s.run(back[4])
	if status := s.whoami(stays); status != http.StatusUnauthorized {
		t.Errorf("after the end of all sessions: %d, want 401", status)
	}
	before := s.times(ann)
	s.run(last[0])
	s.until("the replay reached the webhook", func() bool { return s.times(ann) > before })
	bob := s.register("bob")
	s.until("the webhook got bob", func() bool { return s.times(bob) > 0 })
	if out := s.run(then[0]); !strings.Contains(out, "intact") {
		t.Errorf("after another registration: %s= %s, want intact", then[0], out)
	}
}

// former sees that a backup which fails on its way leaves the one before.
func (s *system) former(block string) {
	s.t.Helper()
	look := func() string {
		return s.run("find backup ! -name '*.new' ! -path '*.new/*' -type f | sort | xargs cksum")
	}
	before := look()
	if out, err := s.command("cp() { return 1; }\n" + block).CombinedOutput(); err == nil {
		s.t.Errorf("a backup on a full disk is taken for one:\n%s", out)
	}
	if after := look(); after != before {
		s.t.Errorf("after a backup that failed there is\n%s, want that before it\n%s", after, before)
	}
}

// TestRefused: who is refused, or finds nobody, is told so, and loses nothing; with the
// token it goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	back := blocks(t, "What a restore brings back", 5)
	const event = `{"record":{"event":{"type":"identity.deleted","subject":"0193600d-7d8b-7000-8000-000000000001"}}}` + "\n"
	const session = `[{"id":"0193600d-7d8b-7000-8000-000000000002","active":true}]`
	var ended atomic.Bool
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer right":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodDelete:
			ended.Store(true)
			w.WriteHeader(http.StatusNoContent)
		case ended.Load():
			_, _ = io.WriteString(w, "[]")
		default:
			_, _ = io.WriteString(w, session)
		}
	}))
	t.Cleanup(admin.Close)
	for _, c := range []struct {
		name, admin, auth string
		well              bool
	}{
		{"without a token", admin.URL, "", false},
		{"with another token", admin.URL, "Authorization: Bearer wrong", false},
		{"where nobody is", "http://" + free(t), "Authorization: Bearer right", false},
		{"with the token", admin.URL, "Authorization: Bearer right", true},
		{"with the token in a file", admin.URL, "@header", true},
	} {
		s := &system{t: t, dir: t.TempDir(), environment: append(os.Environ(), "ADMIN="+c.admin, "AUTH="+c.auth)}
		for name, text := range map[string]string{"events.jsonl": event, "export.cursor": "1\n", "header": "Authorization: Bearer right\n"} {
			if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, block := range []string{back[1], back[4]} {
			ended.Store(false)
			out, err := s.command(block).CombinedOutput()
			if (err == nil) != c.well || ended.Load() != c.well || (len(out) == 0) != c.well {
				t.Errorf("%s: %v, ended: %t, want %t; it says %q for\n%s", c.name, err, ended.Load(), c.well, out, block)
			}
		}
		if _, err := os.Stat(filepath.Join(s.dir, "export.cursor")); (err != nil) != c.well {
			t.Errorf("%s: the cursor of the export: %v", c.name, err)
		}
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	tried(t, "", "SQLite", func(*system) {})
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	dsn := startPostgreSQL(t)
	tried(t, dsn, "PostgreSQL", func(s *system) {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/postgres"
		s.run(fmt.Sprintf("psql -qd '%s' -c 'DROP DATABASE usher WITH (FORCE)' -c 'CREATE DATABASE usher'", u))
	})
}

// postgresPath is where Debian has the programs of PostgreSQL that are in no path.
func postgresPath() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1] + ":"
}

// startPostgreSQL starts one for the test, and gives the DSN of an empty database.
// It refuses to run as root: there it runs as nobody.
func startPostgreSQL(t *testing.T) string {
	t.Helper()
	if len(postgresPath()) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no PostgreSQL: make test installs it")
		}
		t.Skip("no PostgreSQL on this machine")
	}
	dir, err := os.MkdirTemp("", "usher-backup-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address := free(t)
	as := ""
	if os.Geteuid() == 0 {
		as = "setpriv --reuid=nobody --regid=nogroup --clear-groups "
		if out, err := exec.Command("chown", "nobody:nogroup", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	script := func(text string) *exec.Cmd {
		c := exec.Command("sh", "-ec", text)
		c.Dir, c.Env = dir, append(os.Environ(), "PATH="+postgresPath()+os.Getenv("PATH"), "LC_ALL=C")
		return c
	}
	if out, err := script(as + "initdb -D data -U usher -A trust -N").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := script("exec " + as + "postgres -D data -h 127.0.0.1 -p " + port(address) + " -k ''")
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
	})
	dsn := "postgres://usher@" + address + "/usher?sslmode=disable"
	for range 200 {
		if script("createdb -h 127.0.0.1 -p "+port(address)+" -U usher usher").Run() == nil {
			return dsn
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("PostgreSQL does not start:\n%s", said.String())
	return ""
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
