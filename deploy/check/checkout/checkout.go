// Package checkout gives the checks what they look at: the files of the
// repository, and the program that is built from them.
package checkout

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// module is what the go.mod at the root says.
const module = "module github.com/usher-auth/usher\n"

// Root is the folder of the repository.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), module) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod of Usher above the working directory: run the checks inside the repository")
		}
		dir = parent
	}
}

// Path is that of a file or folder of the repository, which must be there.
func Path(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(t), filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Read is the text of a file of the repository.
func Read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Usher is the path of the program, built as releases are: static, without cgo.
// All checks of a run share one file, which is linked again when the code has changed.
func Usher(t testing.TB) string {
	t.Helper()
	path, err := usher(Root(t))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	once    sync.Once
	program string
	problem error
)

func usher(root string) (string, error) {
	once.Do(func() { program, problem = build(root, filepath.Join(root, "bin", "check")) })
	return program, problem
}

func build(root, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Packages are tested side by side, and a file that runs cannot be written.
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, "lock")).Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(dir, "usher")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/usher")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
}
