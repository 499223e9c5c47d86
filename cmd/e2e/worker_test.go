package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// written is a worker that "usher worker new" has written.
type written struct {
	s    *system
	name string
	dir  string
	process
}

// newWorker writes a worker and starts it by the command that was printed.
func (s *system) newWorker(name, lang string, flags ...string) *written {
	s.t.Helper()
	w := &written{s: s, name: name, dir: filepath.Join(s.dir, "worker-"+name)}
	stdout, stderr, code := usher(s.t, nil, append([]string{"worker", "new", name, "--lang", lang, "--dir", w.dir, "--admin", s.admins[0]}, flags...)...)
	if code != 0 {
		s.t.Fatalf("worker new = %d: %s", code, stderr)
	}
	if info, err := os.Stat(filepath.Join(w.dir, name+".creds")); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("the credential = %v, %v, want a file for its owner only", info, err)
	}
	// Of a shell's command line the last command takes its place.
	at := strings.LastIndex(stdout, "&& ")
	w.process = process{name: name, bin: "/bin/sh", log: filepath.Join(s.dir, name+".log"),
		args: []string{"-c", stdout[:at] + "&& exec env " + strings.TrimSpace(stdout[at+3:])}}
	w.start(s.t)
	s.t.Cleanup(w.kill)
	return w
}

// got waits until the worker has said something about so many events.
func (w *written) got(n int, what string) {
	w.s.t.Helper()
	eventually(w.s.t, 60*time.Second, func() error {
		if got := strings.Count(w.output(), what); got < n {
			return fmt.Errorf("worker %s said %q %d times, want %d; it said: %s", w.name, what, got, n, w.tail())
		}
		return nil
	})
}

// does replaces the program of a worker in a shell.
func (w *written) does(script string) {
	w.s.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "worker.sh"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		w.s.t.Fatal(err)
	}
}

// letters are the dead letters of a hook.
func (s *system) letters(hook string) (all []struct {
	EventID string `json:"event_id"`
	Reason  string `json:"reason"`
}) {
	s.t.Helper()
	stdout, stderr, code := usher(s.t, nil, "dlq", "list", "--hook", hook, "--json", "--admin", s.admins[0])
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || code != 0 {
		s.t.Fatalf("dlq list = %d: %s%s (%v)", code, stdout, stderr, err)
	}
	return all
}

// TestWorkerFromNothing is what somebody does who has never seen a worker: write
// one, run it, let it be away, let it fail, and mend it.
func TestWorkerFromNothing(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, hooks(sessionHook))
			app := newApp(t, s.api(0))
			app.register(newAddress()) // before the worker was declared
			w := s.newWorker("hello", "shell")
			w.got(1, "runs ./worker.sh")
			app.register(newAddress())
			w.got(1, "identity.created: {")

			w.kill()
			app.register(newAddress())
			app.register(newAddress())
			w.start(t)
			w.got(3, "identity.created: {")

			w.does("cat >/dev/null; echo 'the crm says no' >&2; exit 65")
			app.register(newAddress())
			eventually(t, 20*time.Second, func() error {
				if all := s.letters("hello"); len(all) != 1 || !strings.Contains(all[0].Reason, "the crm says no") {
					return fmt.Errorf("dead letters = %+v, want one with the reason", all)
				}
				return nil
			})
			id := s.letters("hello")[0].EventID
			w.does(`cat >/dev/null; echo "mended $USHER_EVENT_ID"`)
			if _, stderr, code := usher(t, nil, "dlq", "redeliver", "hello", id, "--admin", s.admins[0]); code != 0 {
				t.Fatalf("dlq redeliver = %d: %s", code, stderr)
			}
			w.got(1, "mended "+id)
			if all := s.letters("hello"); len(all) != 0 {
				t.Errorf("dead letters = %+v, want none", all)
			}

			// Again later, by the ladder: the next try is in some seconds.
			w.does(`cat >/dev/null; [ "$USHER_ATTEMPT" -ge 2 ] && echo "second try" && exit 0; exit 75`)
			app.register(newAddress())
			w.got(1, "second try")

			if _, stderr, code := usher(t, nil, "events", "replay", "--hook", "hello", "--since", "1h", "--admin", s.admins[0]); code != 0 {
				t.Fatalf("events replay = %d: %s", code, stderr)
			}
			w.got(6, "second try\n") // replayed ones are first tries: see the ladder
			if _, stderr, code := usher(t, nil, "worker", "remove", "hello", "--admin", s.admins[0]); code != 0 {
				t.Fatalf("worker remove = %d: %s", code, stderr)
			}
			eventually(t, 20*time.Second, func() error {
				if w.running() {
					return fmt.Errorf("the worker runs on after its removal: %s", w.tail())
				}
				return nil
			})
			if !strings.Contains(w.tail(), "hello") || strings.Contains(w.tail(), "goroutine") {
				t.Errorf("a removed worker ends with %q", w.tail())
			}
		})
	}
}

// TestWorkersInLanguages runs what is written for each language as it is.
func TestWorkersInLanguages(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", hooks(sessionHook))
	workers := map[string]*written{}
	for lang, needs := range map[string]string{"python": "python3", "go": "go"} {
		if _, err := exec.LookPath(needs); err != nil {
			t.Logf("%s is not on this machine", needs)
			continue
		}
		workers[lang] = s.newWorker("in-"+lang, lang)
	}
	id := newApp(t, s.api(0)).register(newAddress()).Identity.ID
	for _, w := range workers {
		w.got(1, id)
	}
}

// TestWorkerWithLines keeps a program running, which decides about each event.
func TestWorkerWithLines(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not on this machine")
	}
	s := newSystem(t, "sqlite", hooks(sessionHook))
	w := s.newWorker("lines", "python")
	w.kill()
	program := `
import json, os, sys
for n, line in enumerate(sys.stdin):
    e = json.loads(line)
    print(f"pid {os.getpid()} got {e['id']}", file=sys.stderr, flush=True)
    r = {"id": e["id"], "ok": True}
    if n == 1: r = {"id": e["id"], "error": "not this one", "permanent": True}
    if n == 3: sys.exit(1)
    print(json.dumps(r), flush=True)
`
	write(t, filepath.Join(w.dir, "worker.py"), program)
	w.args[1] = strings.Replace(w.args[1], "worker run lines --", "worker run lines --lines --", 1)
	w.start(t)
	app := newApp(t, s.api(0))
	for range 3 {
		app.register(newAddress())
	}
	w.got(3, "got ")
	if all := s.letters("lines"); len(all) != 1 || !strings.Contains(all[0].Reason, "not this one") {
		t.Errorf("dead letters = %+v, want one with its reason", all)
	}
	app.register(newAddress()) // at which the program ends, and which comes again to another
	w.got(5, "got ")
}
