package compose

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
)

// Volumes runs what the service setup runs, and gives the folder that holds the
// volumes: setup.sh with the program in its path, and openssl.
func Volumes(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	SetUp(t, root)
	return root
}

// SetUp runs the service setup again on the volumes that are there, as an update does.
func SetUp(t testing.TB, root string) {
	t.Helper()
	c := exec.Command("sh", checkout.Path(t, "deploy/compose/setup.sh"))
	c.Env = append(os.Environ(), "ROOT="+root, "PATH="+filepath.Dir(checkout.Usher(t))+":"+os.Getenv("PATH"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("setup.sh: %v\n%s", err, out)
	}
}

// Server gives the configuration of the nth NATS server, as a file whose paths are
// those of its volume here.
func Server(t testing.TB, root string, n int) string {
	t.Helper()
	path := filepath.Join(root, fmt.Sprintf("nats-%d", n), fmt.Sprintf("nats-%d.conf", n))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mounted := strings.ReplaceAll(string(text), filepath.Join(root, "bus")+"/", filepath.Dir(path)+"/")
	if err := os.WriteFile(path, []byte(mounted), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
