package system_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/compose"
)

// hosts are the services' addresses; one of two is what the name stands for.
var hosts = map[string]string{
	"nats-1": "10.213.7.11", "nats-2": "10.213.7.12", "nats-3": "10.213.7.13", "postgres": "10.213.7.20",
	"api-1": "10.213.7.31", "api-2": "10.213.7.32", "session-1": "10.213.7.41", "session-2": "10.213.7.42",
	"hooks-1": "10.213.7.51", "hooks-2": "10.213.7.52", "console": "10.213.7.60",
}

// TestCompose runs itself again inside the namespaces.
func TestCompose(t *testing.T) {
	if os.Getenv("USHER_CHECK_INSIDE") != "" {
		inside(t)
		return
	}
	if err := exec.Command("unshare", "-mn", "true").Run(); os.Geteuid() != 0 || err != nil {
		lacks(t, "root, or namespaces for the network and for mounts")
	}
	for _, program := range []string{"nginx", "openssl", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks(t, program)
		}
	}
	if postgresBin() == "" {
		lacks(t, "PostgreSQL")
	}
	checkout.Usher(t) // needs modules, which are not to be had inside
	file := filepath.Join(t.TempDir(), "hosts")
	text := "127.0.0.1 localhost\n"
	for name, address := range hosts {
		text += address + " " + name + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("unshare", "-mn", "sh", "-ec", `ip link set lo up; ip addr add 10.213.7.1/24 dev lo; mount --bind "$0" /etc/hosts; exec "$@"`, file, self, "-test.run=^TestCompose$", "-test.v")
	c.Env = append(os.Environ(), "USHER_CHECK_INSIDE=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func lacks(t *testing.T, program string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s: the pipeline is to have it", program)
	}
	t.Skipf("no %s on this machine", program)
}

// machine is where all of it runs.
type machine struct {
	*testing.T
	project         *types.Project
	volumes, places string // volumes, and what else is made
	postgresDir     string
	taking          map[string]*exec.Cmd // PostgreSQL and nginx, which take files at SIGHUP
	logs            map[string]*bytes.Buffer
	running         map[string]*exec.Cmd
}

func inside(t *testing.T) {
	path := checkout.Path(t, "deploy/compose.yaml")
	project, err := compose.Load(path, []byte(checkout.Read(t, "deploy/compose.yaml")), "full")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{T: t, project: project, volumes: compose.Volumes(t), places: t.TempDir(), logs: map[string]*bytes.Buffer{}, running: map[string]*exec.Cmd{}, taking: map[string]*exec.Cmd{}}
	m.secrets()
	for n := 1; n <= 3; n++ {
		m.nats(n)
	}
	m.postgres()
	m.once("migrate")
	m.once("token")
	for _, name := range []string{"api-1", "api-2", "session-1", "session-2", "hooks-1", "hooks-2", "console"} {
		m.start(name)
	}
	for name := range m.running {
		m.healthy(name)
	}
	m.nginx()
	m.owner()
	m.update()
	m.use()
	for name, log := range m.logs {
		for _, bad := range []string{"Permissions Violation", "no credential", "panic", `"level":"ERROR"`} {
			if strings.Contains(log.String(), bad) {
				t.Errorf("%s says %q:\n%s", name, bad, log)
			}
		}
	}
}

// once runs a service that ends.
func (m *machine) once(name string) {
	m.Helper()
	if out, err := m.command(name, name, m.project.Services[name].Command...).CombinedOutput(); err != nil {
		m.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// owner sets up the first operator with the command that README.md says.
func (m *machine) owner() {
	m.Helper()
	said := regexp.MustCompile(`docker compose --profile full exec console /usr/bin/usher (console user .*?)(?: #.*)?\n`).FindStringSubmatch(checkout.Read(m, "deploy/README.md"))
	if said == nil {
		m.Fatal("deploy/README.md does not say how the first operator is set up")
	}
	out, err := m.command("console", "console", strings.Fields(said[1])...).CombinedOutput()
	base := *m.project.Services["console"].Environment["USHER_SERVE__ADMIN__BASE_URL"]
	if err != nil || !strings.Contains(string(out), base+"console/") {
		m.Errorf("usher %s: %v\n%s\nwant a link to %s", said[1], err, out, base)
	}
}

// update runs what upgrade.md says up to the services: the set-up once more, and the
// migration, while PostgreSQL goes on with the certificate that it has; then it and
// nginx take the new ones.
func (m *machine) update() {
	m.Helper()
	former := m.certificate("localhost:8443")
	compose.SetUp(m, m.volumes)
	m.once("migrate")
	tls := filepath.Join(m.postgresDir, "tls")
	if out, err := exec.Command("sh", "-ec", fmt.Sprintf("cp %s/postgres/* %s; chown nobody:nogroup %[2]s/*", m.volumes, tls)).CombinedOutput(); err != nil {
		m.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"postgres", "nginx"} {
		if err := m.taking[name].Process.Signal(syscall.SIGHUP); err != nil {
			m.Fatal(err)
		}
	}
	m.until("nginx with the new certificate", func() bool { return !bytes.Equal(m.certificate("localhost:8443"), former) })
	m.once("migrate")
}

// certificate gives that of who listens at an address.
func (m *machine) certificate(address string) []byte {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is only looked at
	if err != nil {
		return nil
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Raw
}

// use is what people, an operator and Prometheus do, also when half of it is gone.
func (m *machine) use() {
	ca, err := os.ReadFile(filepath.Join(m.volumes, "front/ca.pem"))
	if err != nil {
		m.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	people := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	for range 4 { // both of the APIs
		m.register(people)
	}
	token, err := os.ReadFile(filepath.Join(m.places, "prometheus_token"))
	if err != nil {
		m.Fatal(err)
	}
	for _, name := range []string{"api-1", "session-1", "hooks-1", "console"} {
		at := "http://" + name + ":4434/metrics"
		if status, text := m.ask(http.DefaultClient, "GET", at, "", "Authorization", "Bearer "+strings.TrimSpace(string(token))); status != 200 || !strings.Contains(text, "usher_") {
			m.Errorf("%s with Prometheus's token: %d", at, status)
		}
		if status, _ := m.ask(http.DefaultClient, "GET", at, ""); status != 401 {
			m.Errorf("%s without a token: %d, want 401", at, status)
		}
	}
	if status, _ := m.ask(http.DefaultClient, "GET", "http://console:4434/console/", ""); status != 200 {
		m.Errorf("the console: %d, want its page", status)
	}
	for _, name := range []string{"api-1", "session-1", "hooks-1"} {
		m.stop(name)
	}
	for range 4 {
		m.register(people)
	}
}

// register registers an app over nginx, and asks whoami with what it got.
func (m *machine) register(people *http.Client) {
	m.Helper()
	const public = "https://localhost:8443"
	var flow struct{ UI struct{ Action string } }
	status, text := m.ask(people, "GET", public+"/self-service/registration/api", "")
	if err := json.Unmarshal([]byte(text), &flow); err != nil || !strings.HasPrefix(flow.UI.Action, public+"/") {
		m.Fatalf("begin: %d %s", status, text)
	}
	person := fmt.Sprintf(`{"method":"password","password":"correct horse battery","traits":{"email":"p%d@example.org"}}`, time.Now().UnixNano())
	var answer struct {
		SessionToken string `json:"session_token"`
	}
	if status, text = m.ask(people, "POST", flow.UI.Action, person); status != 200 || json.Unmarshal([]byte(text), &answer) != nil || answer.SessionToken == "" {
		m.Fatalf("register: %d %s, want a session", status, text)
	}
	if status, text = m.ask(people, "GET", public+"/sessions/whoami", "", "X-Session-Token", answer.SessionToken); status != 200 {
		m.Errorf("whoami: %d %s", status, text)
	}
}

func (m *machine) ask(c *http.Client, method, url, body string, header ...string) (int, string) {
	m.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		m.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	got, err := c.Do(r)
	if err != nil {
		m.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		m.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// secrets makes them as README.md says.
func (m *machine) secrets() {
	for name, text := range map[string]string{
		"default":           "5f0c6d1a94b3e7820d4c1b6a9e8f7032415263748596a7b8c9d0e1f2a3b4c5d6",
		"postgres_password": "0a1b2c3d4e5f60718293a4b5",
		"prometheus_token":  "usher_at_0123456789abcdef0123456789abcdef01234567",
		"dsn":               "postgres://usher:0a1b2c3d4e5f60718293a4b5@postgres:5432/usher?sslmode=verify-full&sslrootcert=" + m.volumes + "/api/postgres.pem",
	} {
		if err := os.WriteFile(filepath.Join(m.places, name), []byte(text+"\n"), 0o600); err != nil {
			m.Fatal(err)
		}
	}
}

// nats starts one server of the cluster, at its own address.
func (m *machine) nats(n int) {
	name := fmt.Sprintf("nats-%d", n)
	o, err := server.ProcessConfigFile(compose.Server(m, m.volumes, n))
	if err != nil {
		m.Fatal(err)
	}
	o.Host, o.Cluster.Host, o.HTTPHost = hosts[name], hosts[name], hosts[name]
	o.NoLog, o.NoSigs = true, true
	s, err := server.NewServer(o)
	if err != nil {
		m.Fatal(err)
	}
	s.Start()
	m.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		m.Fatalf("%s is not ready", name)
	}
}

func postgresBin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// sameMajor: compose.yaml names the PostgreSQL that the tests run.
func (m *machine) sameMajor() {
	m.Helper()
	_, tag, _ := strings.Cut(m.project.Services["postgres"].Image, ":")
	major, _, _ := strings.Cut(tag, ".")
	if here := filepath.Base(filepath.Dir(postgresBin())); here != major {
		m.Errorf("compose.yaml starts PostgreSQL %s, and the tests run %s", major, here)
	}
}

// postgres starts it as nobody, with the certificate of its volume.
func (m *machine) postgres() {
	dir, err := os.MkdirTemp("", "usher-system-") // others than root have to get there
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = os.RemoveAll(dir) })
	m.postgresDir = dir
	m.sameMajor()
	as := "setpriv --reuid=nobody --regid=nogroup --clear-groups " + postgresBin()
	for _, line := range []string{
		fmt.Sprintf("cp -r %s/postgres tls; cp %s/postgres_password password; chmod 755 .; chown -R nobody:nogroup .", m.volumes, m.places),
		as + "/initdb -D data -U usher --auth-host=scram-sha-256 --auth-local=reject --pwfile=password -N >/dev/null",
		"echo host all all all scram-sha-256 >>data/pg_hba.conf", // as the image does
	} {
		c := exec.Command("sh", "-ec", line)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			m.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	// What the service is started with, but for where it is.
	args := strings.Join(m.project.Services["postgres"].Command[1:], " ")
	c := exec.Command("sh", "-ec", fmt.Sprintf("exec %s/postgres -D data -k '' -h %s %s", as, hosts["postgres"], strings.ReplaceAll(args, "/tls/", dir+"/tls/")))
	c.Dir = dir
	m.begin("postgres", c)
	m.until("PostgreSQL", func() bool {
		create := exec.Command(filepath.Join(postgresBin(), "createdb"), "-h", hosts["postgres"], "-U", "usher", "usher")
		create.Env = append(os.Environ(), "PGPASSWORD=0a1b2c3d4e5f60718293a4b5", "PGSSLMODE=require")
		return create.Run() == nil
	})
}

// command is one of Usher's, as a service runs it; at is whose address it has.
func (m *machine) command(service, at string, args ...string) *exec.Cmd {
	s := m.project.Services[service]
	home := filepath.Join(m.places, at)
	if err := os.MkdirAll(home, 0o700); err != nil {
		m.Fatal(err)
	}
	var given []string
	for _, arg := range args {
		given = append(given, m.here(s, home, arg))
	}
	c := exec.Command(checkout.Usher(m), given...)
	c.Env = []string{"USHER_DATA_DIR=" + home}
	for key, value := range s.Environment {
		c.Env = append(c.Env, key+"="+m.here(s, home, *value))
	}
	if address := hosts[at]; address != "" {
		c.Env = append(c.Env, "USHER_SERVE__PUBLIC__HOST="+address, "USHER_SERVE__ADMIN__HOST="+address)
	}
	return c
}

// here gives the path of this machine for one of a container.
func (m *machine) here(s types.ServiceConfig, home, text string) string {
	text = strings.ReplaceAll(text, "/run/secrets", m.places)
	for _, v := range s.Volumes {
		switch v.Target {
		case "/run/usher":
			text = strings.ReplaceAll(text, v.Target, filepath.Join(m.volumes, v.Source))
		case "/etc/usher":
			const named = "/etc/usher/usher.yaml"
			if !strings.Contains(text, named) {
				continue
			}
			config, err := os.ReadFile(filepath.Join(v.Source, "usher.yaml"))
			if err != nil {
				m.Fatal(err)
			}
			copied := filepath.Join(home, "usher.yaml")
			if err := os.WriteFile(copied, []byte(m.here(s, home, string(config))), 0o600); err != nil {
				m.Fatal(err)
			}
			text = strings.ReplaceAll(text, named, copied)
		}
	}
	return text
}

func (m *machine) start(name string) {
	m.begin(name, m.command(name, name, m.project.Services[name].Command...))
}

func (m *machine) begin(name string, c *exec.Cmd) {
	m.logs[name] = &bytes.Buffer{}
	c.Stdout, c.Stderr = m.logs[name], m.logs[name]
	if err := c.Start(); err != nil {
		m.Fatal(err)
	}
	if name != "postgres" && name != "nginx" {
		m.running[name] = c
	} else {
		m.taking[name] = c
	}
	m.Cleanup(func() {
		if name == "nginx" {
			_ = c.Process.Signal(syscall.SIGTERM) // its workers end with it
		} else {
			_ = c.Process.Kill()
		}
		_ = c.Wait()
		if m.Failed() {
			m.Logf("%s:\n%s", name, m.logs[name])
		}
	})
}

// stop ends a service as Compose does.
func (m *machine) stop(name string) {
	c := m.running[name]
	_ = c.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			m.Errorf("%s ended with %v", name, err)
		}
	case <-time.After(time.Duration(*m.project.Services[name].StopGracePeriod)):
		m.Errorf("%s did not end within its stop_grace_period", name)
	}
}

// healthy waits until the service's own health check says so.
func (m *machine) healthy(name string) {
	m.until(name, func() bool {
		return m.command(name, name, m.project.Services[name].HealthCheck.Test[2:]...).Run() == nil
	})
}

func (m *machine) nginx() {
	text := strings.NewReplacer("/run/front", filepath.Join(m.volumes, "front"), "/tmp/", m.places+"/").Replace(checkout.Read(m, "deploy/compose/nginx/nginx.conf"))
	path := filepath.Join(m.places, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
	m.begin("nginx", exec.Command("nginx", "-p", m.places, "-e", "stderr", "-c", path, "-g", "daemon off;"))
	unverified := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // as its health check does
	m.until("nginx", func() bool {
		r, err := unverified.Get("https://127.0.0.1:8443/nginx-health")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusNoContent
	})
}

func (m *machine) until(what string, is func() bool) {
	m.Helper()
	for range 300 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	m.Fatalf("%s: not within 30 seconds", what)
}
