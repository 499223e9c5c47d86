package app

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// changes waits until a change concerns what is followed, or a short time.
func changes(w *watch) bool {
	limit := time.After(500 * time.Millisecond)
	for {
		select {
		case e := <-w.events():
			if w.concerns(e.Name) {
				return true
			}
		case <-limit:
			return false
		}
	}
}

// Kubernetes writes a secret into a new folder and then replaces ..data, which what the
// configuration names is a link into.
func TestWatchSeesTheSecretsOfKubernetes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	update := func(version string) {
		must(os.Mkdir(filepath.Join(dir, version), 0o700))
		must(os.WriteFile(filepath.Join(dir, version, "tls.crt"), []byte(version), 0o600))
		must(os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		must(os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	update("..1")
	must(os.Symlink("..data/tls.crt", filepath.Join(dir, "tls.crt")))
	w := newWatch(slog.New(slog.DiscardHandler))
	defer w.close()
	w.follow([]string{filepath.Join(dir, "tls.crt")})
	update("..2")
	if !changes(w) {
		t.Error("another secret was not seen")
	}
}

func TestWatchFollowsOtherFiles(t *testing.T) {
	t.Parallel()
	former, now := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	w := newWatch(slog.New(slog.DiscardHandler))
	defer w.close()
	w.follow([]string{former})
	w.follow([]string{now})
	for file, want := range map[string]bool{former: false, now: true, now + "-other": false} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := changes(w); got != want {
			t.Errorf("a change of %s was seen: %t, want %t", filepath.Base(file), got, want)
		}
	}
}

// The watchdog must not be told of a process whose listener hangs.
func TestAnswersItself(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	p := configured(t, nil)
	p.certificates = &certificates{}
	if err := p.answersItself(t.Context(), hung.Addr(), 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("answersItself = %v, want that the time is over", err)
	}
}
