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
func (s *system) newWorker(t *testing.T, name, lang string, more ...string) *ownWorker {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	out := s.usher(t, append([]string{"worker", "new", name, "--lang", lang, "--dir", dir, "--quiet"}, more...)...)
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

// story is a system with two workers that "usher worker new" made: what befalls
// hello must not touch other.
type story struct {
	*system
	t            *testing.T
	app          *client
	hello, other *ownWorker
	script       string // the program of hello, as it was written
	first        string // whose registration they got first
}

// beginStory goes from nothing to the first event.
func beginStory(t *testing.T, s *system) *story {
	t.Helper()
	began := time.Now()
	y := &story{system: s, t: t, app: newApp(t, s.api(0))}
	y.hello, y.other = s.newWorker(t, "hello", "shell"), s.newWorker(t, "other", "shell")
	script, err := os.ReadFile(filepath.Join(y.hello.dir, "worker.sh"))
	if err != nil {
		t.Fatal(err)
	}
	y.script = string(script)
	y.hello.start()
	y.other.start()
	y.first = y.register()
	y.hello.prints(1, created(y.first))
	t.Logf("shell: from nothing to the first event: %s", time.Since(began).Round(time.Millisecond))
	return y
}

func (y *story) register() (id string) {
	y.t.Helper()
	return y.app.register(newAddress()).Identity.ID
}

// created is in what a worker prints of somebody's registration.
func created(id string) string { return `"subject":"` + id }

// helloDoes changes the program of hello while it runs.
func (y *story) helloDoes(script string) {
	y.t.Helper()
	write(y.t, filepath.Join(y.hello.dir, "worker.sh"), script)
}

// has waits until hello has so many events that wait for their next try and are dead.
func (y *story) has(waiting, dead int64) {
	y.t.Helper()
	eventually(y.t, 30*time.Second, func() error {
		if f := y.state(y.t, "hello").Failures; f.Waiting != waiting || f.Dead != dead {
			return fmt.Errorf("failures %+v, want %d waiting, %d dead", f, waiting, dead)
		}
		return nil
	})
}

// missNothing: what is registered while a worker is away waits for it.
func (y *story) missNothing() {
	y.t.Helper()
	y.hello.kill()
	missed := []string{y.register(), y.register()}
	y.other.prints(1, created(missed[1])) // the bus has them
	y.hello.start()
	for _, id := range missed {
		y.hello.prints(1, created(id))
	}
}

// failOnce: what fails comes again by itself, on the first step of the ladder.
func (y *story) failOnce() {
	y.t.Helper()
	y.helloDoes("echo the CRM is away >&2; exit 1\n")
	id := y.register()
	y.has(1, 0)
	y.helloDoes(y.script)
	y.hello.prints(1, created(id))
	y.has(0, 0)
}

// failAndRedeliver: what is dead comes again when an operator says so.
func (y *story) failAndRedeliver() {
	y.t.Helper()
	y.helloDoes("echo the CRM knows nobody >&2; exit 65\n")
	id := y.register()
	y.has(0, 1)
	if out := y.usher(y.t, "dlq", "list", "--hook", "hello"); !strings.Contains(out, "permanent: the CRM knows nobody") {
		y.t.Errorf("usher dlq list does not say why:\n%s", out)
	}
	y.helloDoes(y.script)
	y.other.prints(1, created(id))
	if out := y.usher(y.t, "dlq", "redeliver", "--hook", "hello"); out != "redelivered 1\n" {
		y.t.Errorf("usher dlq redeliver says %q", out)
	}
	y.hello.prints(1, created(id))
	eventually(y.t, 30*time.Second, func() error {
		if out := y.usher(y.t, "dlq", "list", "--hook", "hello", "--state", "done"); !strings.Contains(out, "hello") {
			return fmt.Errorf("the letter is not done:\n%s", out)
		}
		return nil
	})
	if n := strings.Count(y.other.output(), created(id)); n != 1 {
		y.t.Errorf("the worker that did not fail got the event %d times, want once", n)
	}
}

// replay gives hello all registrations once more, and other none.
func (y *story) replay(registrations int) {
	y.t.Helper()
	if out := y.usher(y.t, "events", "replay", "--hook", "hello", "--since", "1h"); out != fmt.Sprintf("replayed %d\n", registrations) {
		y.t.Errorf("usher events replay says %q, want all %d registrations", out, registrations)
	}
	y.hello.prints(2, created(y.first))
	if n := strings.Count(y.other.output(), created(y.first)); n != 1 {
		y.t.Errorf("the worker that nothing was replayed for got the event %d times, want once", n)
	}
}

// pauseAndResume: a paused worker gets its events when it is resumed.
func (y *story) pauseAndResume() {
	y.t.Helper()
	y.usher(y.t, "worker", "pause", "hello", "--for", "10m")
	if out := y.usher(y.t, "worker", "list"); !strings.Contains(out, "paused") {
		y.t.Errorf("usher worker list shows no pause:\n%s", out)
	}
	id := y.register()
	y.other.prints(1, created(id))
	if strings.Contains(y.hello.output(), id) {
		y.t.Error("the paused worker got an event")
	}
	y.usher(y.t, "worker", "resume", "hello")
	y.hello.prints(1, created(id))
}

// discardAndRemove ends what an operator wants no more.
func (y *story) discardAndRemove() {
	y.t.Helper()
	y.usher(y.t, "worker", "rotate", "hello", "--creds", filepath.Join(y.hello.dir, "hello.creds"))
	y.helloDoes("echo never >&2; exit 65\n")
	y.register()
	y.has(0, 1)
	var letters []struct {
		EventID string `json:"event_id"`
	}
	if err := json.Unmarshal([]byte(y.usher(y.t, "dlq", "list", "--json")), &letters); err != nil || len(letters) != 1 {
		y.t.Fatalf("dlq list: %+v, %v, want one letter", letters, err)
	}
	if out := y.usher(y.t, "dlq", "show", "hello", letters[0].EventID); !strings.Contains(out, "identity.created") {
		y.t.Errorf("usher dlq show does not show the event:\n%s", out)
	}
	y.usher(y.t, "dlq", "discard", "hello", letters[0].EventID, "--reason", "a test")
	y.has(0, 0)
	y.usher(y.t, "worker", "remove", "hello", "--yes")
	if out, _, code := usher(y.t, nil, "worker", "show", "hello", "--admin", y.admins[0]); code == 0 {
		y.t.Errorf("the removed worker is shown: %s", out)
	}
}

// TestAWorkerFromNothing is the first thing that somebody does who writes a
// worker, and the first that goes wrong: nothing is lost, and what failed comes
// again when an operator says so, to this worker alone.
func TestAWorkerFromNothing(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			y := beginStory(t, newSystem(t, shape, hooks(sessionHook)))
			y.missNothing()
			y.failOnce()
			y.failAndRedeliver()
			y.replay(5)
			y.pauseAndResume()
			y.discardAndRemove()
		})
	}
}

// TestWorkersInEveryLanguage runs what "usher worker new" writes, which prints
// each registration.
func TestWorkersInEveryLanguage(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", hooks(sessionHook))
	for _, lang := range []string{"go", "node", "python"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			w := s.newWorker(t, lang+"-worker", lang)
			if lacks := w.lacks(lang); lacks != "" {
				leftOut(t, lacks)
			}
			w.start()
			id := newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			w.prints(1, "identity.created "+id)
			t.Logf("%s: from nothing to the first event: %s", lang, time.Since(began).Round(time.Millisecond))
			t.Logf("what it does:\n%s", s.usher(t, "worker", "check", lang+"-worker")) // fails if something is not as it should be
			s.usher(t, "worker", "remove", w.name, "--yes")
			why := "it was never declared, or is removed"
			if lang == "node" { // it went on silently
				why = "consumer deleted"
			}
			w.ends(why)
		})
	}
}

// lacks says what the worker's language lacks on this machine, empty if nothing.
func (w *ownWorker) lacks(lang string) string {
	needs := map[string]string{"go": "go", "node": "npm", "python": "python3", "shell": "sh"}[lang]
	if _, err := exec.LookPath(needs); err != nil {
		return "a worker in " + lang + " needs " + needs
	}
	if lang != "node" {
		return ""
	}
	install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund")
	install.Dir = w.dir
	if out, err := install.CombinedOutput(); err != nil {
		return "the packages of a worker in Node cannot be had: " + strings.TrimSpace(string(out))
	}
	return ""
}
