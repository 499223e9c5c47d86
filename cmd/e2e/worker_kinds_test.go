package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAWorkerOfLines keeps one program running, which takes an event a line.
func TestAWorkerOfLines(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", hooks(sessionHook))
	w := s.newWorker(t, "lines", "shell")
	write(t, filepath.Join(w.dir, "worker.sh"), `echo "begun" >&2
while IFS= read -r event; do
	echo "took $event" >&2
	id=$(printf %s "$event" | sed 's/.*[{,]"id":"\([^"]*\)".*/\1/')
	echo "{\"id\":\"$id\",\"ok\":true}"
done
`)
	if w.command = strings.Replace(w.command, "worker run lines --", "worker run lines --lines --", 1); !strings.Contains(w.command, "--lines") {
		t.Fatalf("the printed command is %s", w.command)
	}
	w.start()
	for range 3 {
		w.prints(1, `"subject":"`+newApp(t, s.apis[0]).register(newAddress()).Identity.ID)
	}
	t.Log(s.usher(t, "worker", "check", "lines"))
	if n := strings.Count(w.output(), "begun"); n != 1 {
		t.Errorf("the program was started %d times, want once:\n%s", n, w.output())
	}
	if out := s.usher(t, "worker", "list"); !strings.Contains(out, "1 (") {
		t.Errorf("usher worker list does not see the worker:\n%s", out)
	}
}

// TestAnAnsweringWorkerFromNothing asks what "usher worker new --kind answer" writes.
func TestAnAnsweringWorkerFromNothing(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		leftOut(t, "an answering worker needs go")
	}
	for _, shape := range []string{"sqlite", "parts"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, hooks(asks("vet", "2s", "refuse"), sessionHook))
			if out := s.usher(t, "hooks", "plan", "--live"); !strings.Contains(out, "worker vet is asked") {
				t.Errorf("the plan of the server does not warn of the worker that nobody has declared:\n%s", out)
			}
			w := s.newWorker(t, "vet", "go", "--kind", "answer")
			if out := s.usher(t, "hooks", "plan", "--live"); strings.Contains(out, "worker vet is asked") {
				t.Errorf("the plan of the server warns of a worker that is declared:\n%s", out)
			}
			if out := s.usher(t, "worker", "list"); !strings.Contains(out, "not seen") {
				t.Errorf("usher worker list sees a worker that does not run:\n%s", out)
			}
			if a := registerApp(t, s.apis[0], newAddress()); a.status != http.StatusBadGateway {
				t.Errorf("registration without the worker = %d %s, want 502", a.status, a.body)
			}
			w.start()
			eventually(t, 60*time.Second, func() error { return registersInAllShapes(t, s.apis[0]) })
			w.prints(1, "asked")
			if out := s.usher(t, "worker", "list"); !strings.Contains(out, "running") {
				t.Errorf("usher worker list does not see the worker:\n%s", out)
			}

			program := filepath.Join(w.dir, "main.go")
			text, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			refusing := strings.Replace(string(text), "workers.Reply{}, nil", `workers.Refuse("#/traits/email", 4999001, "not you"), nil`, 1)
			w.kill()
			write(t, program, refusing)
			w.start()
			eventually(t, 60*time.Second, func() error {
				if a := registerApp(t, s.apis[0], newAddress()); a.status != http.StatusBadRequest {
					return fmt.Errorf("registration = %d %s, want the refusal", a.status, a.body)
				}
				return nil
			})
			refusesInAllShapes(t, s.apis[0])
		})
	}
}
