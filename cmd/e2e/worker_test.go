package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownWorker is a worker that "usher worker new" made, with the command that it printed.
type ownWorker struct {
	t            *testing.T
	name         string
	dir, command string
	log          string
	cmd          *exec.Cmd
}

// newWorker makes a worker of the test's own, in a language.
func (s *system) newWorker(t *testing.T, name, lang string) *ownWorker {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	out := s.usher(t, "worker", "new", name, "--lang", lang, "--dir", dir, "--quiet")
	w := &ownWorker{t: t, name: name, dir: dir, command: out, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(func() {
		if w.cmd != nil {
			w.kill()
		}
		if t.Failed() {
			t.Logf("output of worker %s:\n%s", name, w.output())
		}
	})
	return w
}

// usher runs a command against the system that must succeed.
func (s *system) usher(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, code := usher(t, nil, append(args, "--admin", s.admins[0])...)
	if code != 0 {
		t.Fatalf("usher %s = %d %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// start runs the printed command, as the leader of a process group.
func (w *ownWorker) start() {
	w.t.Helper()
	out, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	w.cmd = exec.Command("sh", "-c", w.command)
	w.cmd.Stdout, w.cmd.Stderr = out, out
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// kill ends all that the command has started with kill -9.
func (w *ownWorker) kill() {
	_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	_ = w.cmd.Wait()
	w.cmd = nil
}

func (w *ownWorker) output() string {
	text, _ := os.ReadFile(w.log)
	return string(text)
}

// prints waits until the worker has printed something n times or more.
func (w *ownWorker) prints(n int, what string) {
	w.t.Helper()
	eventually(w.t, 60*time.Second, func() error {
		if got := strings.Count(w.output(), what); got < n {
			return fmt.Errorf("worker %s has printed %q %d times, want %d", w.name, what, got, n)
		}
		return nil
	})
}

// state is how "usher worker show" sees the worker.
func (s *system) state(t *testing.T, name string) (h struct {
	Consumer struct{ Pending uint64 }
	Failures struct{ Waiting, Dead int64 }
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.usher(t, "worker", "show", name, "--json")), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestAWorkerFromNothing is the first thing that somebody does who writes a
// worker, and the first that goes wrong: nothing is lost, and what failed comes
// again when an operator says so, to this worker alone.
func TestAWorkerFromNothing(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{"sqlite", "parts"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, hooks(sessionHook))
			app := newApp(t, s.apis[0])
			began := time.Now()
			w, other := s.newWorker(t, "hello", "shell"), s.newWorker(t, "other", "shell")
			w.start()
			other.start()
			first := app.register(newAddress()).Identity.ID
			w.prints(1, first)
			t.Logf("from nothing to the first event: %s", time.Since(began).Round(time.Millisecond))

			w.kill()
			missed := []string{app.register(newAddress()).Identity.ID, app.register(newAddress()).Identity.ID}
			other.prints(1, `"subject":"`+missed[1]) // the bus has them
			w.start()
			for _, id := range missed {
				w.prints(1, `"subject":"`+id)
			}

			script := filepath.Join(w.dir, "worker.sh")
			whole, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			write(t, script, "echo the CRM knows nobody >&2; exit 65\n")
			failed := app.register(newAddress()).Identity.ID
			eventually(t, 30*time.Second, func() error {
				if n := s.state(t, "hello").Failures.Dead; n != 1 {
					return fmt.Errorf("%d dead letters, want 1", n)
				}
				return nil
			})
			if out := s.usher(t, "dlq", "list", "--hook", "hello"); !strings.Contains(out, "permanent: the CRM knows nobody") {
				t.Errorf("usher dlq list does not say why:\n%s", out)
			}
			write(t, script, string(whole))
			other.prints(1, `"subject":"`+failed)
			if out := s.usher(t, "dlq", "redeliver", "--hook", "hello"); out != "redelivered 1\n" {
				t.Errorf("usher dlq redeliver says %q", out)
			}
			w.prints(1, `"subject":"`+failed)
			eventually(t, 30*time.Second, func() error {
				if out := s.usher(t, "dlq", "list", "--hook", "hello", "--state", "done"); !strings.Contains(out, "hello") {
					return fmt.Errorf("the letter is not done:\n%s", out)
				}
				return nil
			})

			if out := s.usher(t, "events", "replay", "--hook", "hello", "--since", "1h"); out != "replayed 4\n" {
				t.Errorf("usher events replay says %q, want all four registrations", out)
			}
			w.prints(2, `"subject":"`+first)
			if n := strings.Count(other.output(), `"subject":"`+failed); n != 1 {
				t.Errorf("the worker that did not fail got the event %d times, want once", n)
			}

			s.usher(t, "worker", "pause", "hello", "--for", "10m")
			if out := s.usher(t, "worker", "list"); !strings.Contains(out, "paused") {
				t.Errorf("usher worker list shows no pause:\n%s", out)
			}
			paused := app.register(newAddress()).Identity.ID
			other.prints(1, `"subject":"`+paused)
			if strings.Contains(w.output(), paused) {
				t.Error("the paused worker got an event")
			}
			s.usher(t, "worker", "resume", "hello")
			w.prints(1, `"subject":"`+paused)
			s.usher(t, "worker", "rotate", "hello", "--creds", filepath.Join(w.dir, "hello.creds"))

			write(t, script, "echo never >&2; exit 65\n")
			app.register(newAddress())
			eventually(t, 30*time.Second, func() error {
				if n := s.state(t, "hello").Failures.Dead; n != 1 {
					return fmt.Errorf("%d dead letters, want 1", n)
				}
				return nil
			})
			var letters []struct {
				EventID string `json:"event_id"`
			}
			if err := json.Unmarshal([]byte(s.usher(t, "dlq", "list", "--json")), &letters); err != nil || len(letters) != 1 {
				t.Fatalf("dlq list: %+v, %v, want one letter", letters, err)
			}
			if out := s.usher(t, "dlq", "show", "hello", letters[0].EventID); !strings.Contains(out, "identity.created") {
				t.Errorf("usher dlq show does not show the event:\n%s", out)
			}
			s.usher(t, "dlq", "discard", "hello", letters[0].EventID, "--reason", "a test")
			if n := s.state(t, "hello").Failures.Dead; n != 0 {
				t.Errorf("%d dead letters after the discard, want none", n)
			}

			s.usher(t, "worker", "remove", "hello")
			if out, _, code := usher(t, nil, "worker", "show", "hello", "--admin", s.admins[0]); code == 0 {
				t.Errorf("the removed worker is shown: %s", out)
			}
		})
	}
}

// TestWorkersInEveryLanguage runs what "usher worker new" writes, which prints
// each registration.
func TestWorkersInEveryLanguage(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", hooks(sessionHook))
	for lang, needs := range map[string]string{"go": "go", "node": "npm", "python": "python3"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(needs); err != nil {
				leftOut(t, "a worker in "+lang+" needs "+needs)
			}
			began := time.Now()
			w := s.newWorker(t, lang+"-worker", lang)
			if lang == "node" {
				install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
				install.Dir = w.dir
				if out, err := install.CombinedOutput(); err != nil {
					leftOut(t, "the packages of a worker in Node cannot be had: "+strings.TrimSpace(string(out)))
				}
			}
			w.start()
			id := newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			w.prints(1, "identity.created "+id)
			t.Logf("from nothing to the first event: %s", time.Since(began).Round(time.Millisecond))
		})
	}
}
