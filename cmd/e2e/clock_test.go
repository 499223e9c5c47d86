package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// wrongClocks are faults of a host whose clock is wrong: one of two api and one
// of two session processes are on it, so that each asks the other's as well.
func wrongClocks() []fault {
	wrong := func(name, by string) fault {
		return fault{
			name: name, hold: 3 * time.Second,
			prepare: func(f *field) {
				for _, name := range []string{"api-1", "session-1", "hooks-1"} {
					p := f.processes[name]
					p.bin, p.env = clockedBin(f.t), append(p.env, "USHER_TEST_CLOCK="+by)
				}
			},
			inflict: func(*field) {}, // it was wrong from the start
		}
	}
	return []fault{wrong("clock of a host 5 minutes ahead", "5m"), wrong("clock of a host 5 minutes behind", "-5m")}
}

// clockedBin is the program with a clock that is wrong by USHER_TEST_CLOCK: it is
// built with a changed package time, so every clock in it is.
func clockedBin(t *testing.T) string {
	t.Helper()
	path, err := buildClocked()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildClocked = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(text), read, read+"\tsec += testSkew\n", 1)
	if changed == string(text) {
		return "", os.ErrInvalid // this Go reads its clock in another way
	}
	changed = strings.Replace(changed, "import (\n", "import (\n\t\"syscall\"\n", 1) + `
// The monotonic clock stays right, as that of a host does.
var testSkew = func() int64 {
	text, _ := syscall.Getenv("USHER_TEST_CLOCK")
	d, _ := ParseDuration(text)
	return int64(d / Second)
}()
`
	dir := filepath.Dir(usherBin)
	replaced, overlay, bin := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "usher-clocked")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {source: replaced}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(replaced, []byte(changed), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-tags", "crash", "-o", bin, "github.com/usher-auth/usher/cmd/usher")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", &os.PathError{Op: "go build -overlay", Path: string(out), Err: err}
	}
	return bin, nil
})
