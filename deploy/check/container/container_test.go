package container_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/container"
)

const file = "deploy/Containerfile"

func TestContainerfile(t *testing.T) {
	t.Parallel()
	if err := container.Check([]byte(checkout.Read(t, file))); err != nil {
		t.Error(err)
	}
}

// TestBuild runs the line that builds the program, here and not in a container,
// and looks at what it makes.
func TestBuild(t *testing.T) {
	t.Parallel()
	parsed, err := parser.Parse(strings.NewReader(checkout.Read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	built := false
	for _, run := range container.Runs(stages[0]) {
		if !strings.Contains(run, "go build") {
			continue
		}
		built = true
		c := exec.Command("sh", "-ec", strings.ReplaceAll(run, "/out/", out+"/"))
		c.Dir = checkout.Root(t)
		c.Env = append(os.Environ(), "GOFLAGS=", "VERSION=7.8.9")
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", run, err, text)
		}
	}
	if !built {
		t.Fatal("the first stage builds nothing")
	}
	program := filepath.Join(out, "usr/bin/usher")
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program wants a dynamic linker, which scratch has not")
		}
	}
	if text, err := exec.Command(program, "version").CombinedOutput(); err != nil || string(text) != "usher 7.8.9\n" {
		t.Errorf("usher version: %v\n%s, want that of the build", err, text)
	}
	// What the HEALTHCHECK runs is a command of it.
	if text, err := exec.Command(program, "health", "--help").CombinedOutput(); err != nil || !bytes.Contains(text, []byte("usher health")) {
		t.Errorf("usher health --help: %v\n%s", err, text)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	good := checkout.Read(t, file)
	for _, broken := range []struct{ name, from, to, want string }{
		{"an image without a version", "golang:1.26.8-bookworm\n", "golang:latest\n", "exact version"},
		{"an image with half a version", "ARG GO_IMAGE=golang:1.26.8-bookworm\n", "ARG GO_IMAGE=golang:1\n", "exact version"},
		{"root", "USER 65532:65532\n# 4433", "# 4433", `USER ""`},
		{"root by number", "USER 65532:65532\n# 4433", "USER 0:0\n# 4433", `USER "0:0"`},
		{"a user by name", "USER 65532:65532\n# 4433", "USER usher\n# 4433", `USER "usher"`},
		{"root in what sets up", "USER 65532:65532\nHEALTHCHECK NONE", "HEALTHCHECK NONE", `USER ""`},
		{"no health check", "HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD [\"/usr/bin/usher\", \"health\"]\n", "", "HEALTHCHECK"},
		{"a health check that needs a shell", `CMD ["/usr/bin/usher", "health"]`, "CMD curl -f http://127.0.0.1:4434/health/ready", "HEALTHCHECK"},
		{"cgo", "CGO_ENABLED=0 go build", "go build", "CGO_ENABLED=0"},
		{"paths of the machine in the program", "-trimpath ", "", "-trimpath"},
		{"a base with more than the program", "FROM scratch\n", "FROM debian:12.11-slim\n", "want scratch"},
		{"an entry through a shell", `ENTRYPOINT ["/usr/bin/usher"]`, "ENTRYPOINT /usr/bin/usher", "ENTRYPOINT"},
		{"a secret among the variables", "ENV USHER_DATA_DIR=", "ENV USHER_ADMIN_TOKEN=abc\nENV USHER_DATA_DIR=", "SecretsUsedInArgOrEnv"},
		{"an unknown stage", "COPY --from=build /out/ /", "COPY --from=builder /out/ /", "COPY --from=builder"},
		{"an unknown instruction", "STOPSIGNAL", "STOPSIGNALS", "unknown instruction"},
		{"no volume", "VOLUME [\"/var/lib/usher\"]\n", "", "VOLUME"},
		{"an undefined variable", "WORKDIR /var/lib/usher", "WORKDIR ${HOME_OF_USHER}", "UndefinedVar"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, broken.from) {
				t.Fatalf("%s has no %q any more", file, broken.from)
			}
			err := container.Check([]byte(strings.Replace(good, broken.from, broken.to, 1)))
			if err == nil || !strings.Contains(err.Error(), broken.want) {
				t.Errorf("Check = %v, want one with %q", err, broken.want)
			}
		})
	}
}
