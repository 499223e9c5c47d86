package compose_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/commands"
	"github.com/usher-auth/usher/deploy/check/compose"
)

const file = "deploy/compose.yaml"

// natsVersion is that of the server that the tests run, which Usher has in itself.
func natsVersion(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^\tgithub.com/nats-io/nats-server/v2 v(\S+)`).FindStringSubmatch(checkout.Read(t, "go.mod"))
	if found == nil {
		t.Fatal("go.mod names no nats-server")
	}
	return found[1]
}

func TestCompose(t *testing.T) {
	t.Parallel()
	usher, err := commands.Of(checkout.Usher(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := compose.Check(checkout.Path(t, file), []byte(checkout.Read(t, file)), usher, natsVersion(t)); err != nil {
		t.Error(err)
	}
}

// made are secrets such as README.md says how to make.
var made = map[string]string{
	"default":          "5f0c6d1a94b3e7820d4c1b6a9e8f7032415263748596a7b8c9d0e1f2a3b4c5d6",
	"dsn":              "postgres://usher:secret@postgres:5432/usher?sslmode=verify-full&sslrootcert=/run/usher/postgres.pem",
	"prometheus_token": "usher_at_0123456789abcdefghijklmnopqrstuvwxyzABCD",
}

// TestConfigurations checks the configuration of each service that runs Usher,
// with its own environment.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	secrets, volumes := t.TempDir(), compose.Volumes(t)
	for name, text := range made {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	project, err := compose.Load(checkout.Path(t, file), []byte(checkout.Read(t, file)), compose.Profiles...)
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]bool{}
	for _, s := range project.Services {
		if !compose.Ours(s) {
			continue
		}
		for _, v := range s.Volumes {
			if v.Target != "/etc/usher" {
				continue
			}
			checked[v.Source] = true
			c := exec.Command(checkout.Usher(t), "config", "check", "-c", here(t, filepath.Join(v.Source, "usher.yaml"), volumes, s))
			c.Env = []string{"USHER_DATA_DIR=" + t.TempDir()}
			for key, value := range s.Environment {
				c.Env = append(c.Env, key+"="+strings.Replace(*value, "/run/secrets", secrets, 1))
			}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", s.Name, err, out)
			}
		}
		// A process that drains must not be killed meanwhile.
		if grace := s.StopGracePeriod; grace == nil || time.Duration(*grace) < 20*time.Second {
			t.Errorf("%s: stop_grace_period %v, want more than drain_delay and the longest request", s.Name, grace)
		}
	}
	if len(checked) != 2 {
		t.Errorf("configurations checked: %v, want two", checked)
	}
}

// TestCredentials: setup gives each part what the program says that it uses, and no more.
func TestCredentials(t *testing.T) {
	t.Parallel()
	parts, err := commands.Credentials(checkout.Usher(t))
	if err != nil {
		t.Fatal(err)
	}
	volumes := compose.Volumes(t)
	for part, want := range parts {
		files, err := os.ReadDir(filepath.Join(volumes, part, "creds"))
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, f := range files {
			got = append(got, f.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s gets %v, want %v", part, got, want)
		}
	}
}

// here gives a configuration with the paths of this machine.
func here(t *testing.T, path, volumes string, s types.ServiceConfig) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mounted := string(text)
	for _, v := range s.Volumes {
		if v.Target == "/run/usher" {
			mounted = strings.ReplaceAll(mounted, "/run/usher", filepath.Join(volumes, v.Source))
		}
	}
	copied := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(copied, []byte(mounted), 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestRefused(t *testing.T) {
	t.Parallel()
	usher, err := commands.Of(checkout.Usher(t))
	if err != nil {
		t.Fatal(err)
	}
	good, nats := checkout.Read(t, file), natsVersion(t)
	for _, broken := range []struct{ name, from, to, want string }{
		{"an unknown key", "    shm_size: 128m\n", "    shmsize: 128m\n", "shmsize"},
		{"an undeclared volume", "  grafana:\n  small:\n", "  small:\n", "undefined volume grafana"},
		{"an unset variable", "prom/prometheus:v3.5.0", "prom/prometheus:${VERSION}", "${VERSION}"},
		{"an image without a version", "nats:2.15.2-alpine", "nats:alpine", "exact version"},
		{"the newest image", "grafana/grafana:12.1.0", "grafana/grafana:latest", "exact version"},
		{"no memory limit", "    mem_limit: 1g\n", "", "postgres: it lacks mem_limit"},
		{"a root that can be written to", "  read_only: true\n  cap_drop", "  cap_drop", "read_only"},
		{"capabilities", "  cap_drop: [ALL]\n", "", "cap_drop"},
		{"a capability more", "    user: \"472:0\"\n", "    user: \"472:0\"\n    cap_add: [NET_ADMIN]\n", "grafana: it lacks cap_drop"},
		{"root", "    user: \"472:0\"\n", "    user: root\n", "grafana: it lacks user"},
		{"no health check", "    healthcheck: *healthy\n  small-migrate:", "    healthcheck: {disable: true}\n  small-migrate:", "small: it lacks a healthcheck"},
		{"a health check that the image cannot run", "test: [CMD, /usr/bin/usher, health, -c, /etc/usher/usher.yaml]", "test: [CMD-SHELL, curl localhost]", "the program alone"},
		{"a port for everybody", "127.0.0.1:9090:9090", "9090:9090", "open to other machines"},
		{"a secret in the environment", "      POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password\n", "      POSTGRES_PASSWORD: secret\n", "POSTGRES_PASSWORD has a secret"},
		{"a secret that is not given", "    secrets: [grafana_password]\n", "", "grafana_password is not given"},
		{"a secret in the file", "{file: ./secrets/grafana_password}", "{environment: HOME}", "want file"},
		{"a folder that is not there", "./compose/nginx:", "./compose/nginks:", "nginks"},
		{"a folder that can be written to", "./compose/nginx:/etc/usher:ro", "./compose/nginx:/etc/usher", "can be written to"},
		{"a file of its own", "./compose/nginx:/etc/usher:ro", "./compose/nginx/nginx.conf:/etc/usher/nginx.conf:ro", "mount its folder"},
		{"a tag that is the newest", "usher:${USHER_TAG:-0.1.0-dev}", "usher:${USHER_TAG:-latest}", "exact version"},
		{"an unknown command", "[serve, session,", "[serve, sessions,", `no command "sessions"`},
		{"an unknown flag", "--from, /run/secrets/prometheus_token, -c", "--form, /run/secrets/prometheus_token, -c", "no flag --form"},
		{"waiting for the end of what runs", "nats-1: {condition: service_healthy}", "nats-1: {condition: service_completed_successfully}", "does not end"},
		{"not waiting for health", "      api-1: {condition: service_healthy}", "      api-1: {condition: service_started}", "not for its health"},
		{"an unknown dependency", "      prometheus: {condition: service_healthy}", "      prometheuz: {condition: service_healthy}", "prometheuz"},
		{"the keys of the bus for a part", "    - session:/run/usher:ro", "    - bus:/run/usher:ro", "setup alone"},
		{"the credentials of another part", "    - session:/run/usher:ro", "    - api:/run/usher:ro", "not its own"},
		{"no way to webhooks", "  networks: [back, bus, out]\n  volumes:\n    - ./compose/full:/etc/usher:ro\n    - hooks:", "  networks: [back, bus]\n  volumes:\n    - ./compose/full:/etc/usher:ro\n    - hooks:", "hooks-1: it has no way out"},
		{"no way to identity providers", "bus: {}, out: {}}", "bus: {}}", "api-1: it has no way out"},
		{"a way out for the session workers", "  networks: [back, bus]\n  volumes:\n    - ./compose/full:/etc/usher:ro\n    - session:", "  networks: [back, bus, out]\n  volumes:\n    - ./compose/full:/etc/usher:ro\n    - session:", "session-1: nothing of it goes out"},
		{"memory that is not known", "    GOMEMLIMIT: 435MiB #", "    #", "GOMEMLIMIT"},
		{"more memory than there is", "GOMEMLIMIT: 435MiB #", "GOMEMLIMIT: 512MiB #", "GOMEMLIMIT"},
		{"another NATS than the tests'", "nats:2.15.2-alpine", "nats:2.12.1-alpine", "the tests run 2.15.2"},
		{"a service of every profile", "    image: prom/prometheus:v3.5.0\n    profiles: [full]\n", "    image: prom/prometheus:v3.5.0\n", "prometheus: no profile"},
		{"a network that nobody declares", "    networks: [front, out]", "    networks: [font, out]", "font"},
		{"the machine's network", "    networks: [front, out]\n    ports: [\"127.0.0.1:8443:8443\"]", "    network_mode: host", "namespace"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, broken.from) {
				t.Fatalf("%s has no %q any more", file, broken.from)
			}
			err := compose.Check(checkout.Path(t, file), []byte(strings.Replace(good, broken.from, broken.to, 1)), usher, nats)
			if err == nil || !strings.Contains(err.Error(), broken.want) {
				t.Errorf("Check = %v, want one with %q", err, broken.want)
			}
		})
	}
}
