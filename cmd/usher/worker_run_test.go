package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// shell is a program that runs a script.
func shell(script string) (p *program, out *bytes.Buffer) {
	out = &bytes.Buffer{}
	return &program{command: []string{"sh", "-c", script}, out: out, errOut: &bytes.Buffer{}}, out
}

// try gives an event of id to a handler, and tells what would become of it.
func try(t *testing.T, handle func(context.Context, events.Event, int) error, id string, timeout time.Duration) workers.Attempt {
	t.Helper()
	w := workers.New("hello", workers.Timeout(timeout), workers.Logger(slog.New(slog.DiscardHandler)))
	workers.OnAny(w, func(ctx context.Context, e events.Event) error { return handle(ctx, e, workers.AttemptNumber(ctx)) })
	message, err := json.Marshal(events.Event{ID: id, SpecVersion: "1.0", Type: "identity.created", Data: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	return w.Try(t.Context(), workers.Delivery{Message: message, Attempt: 3})
}

func TestExitStatusDecides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		want   workers.Outcome
		reason string
	}{
		"done":       {"exit 0", workers.Done, ""},
		"later":      {"echo 'CRM is away' >&2; exit 75", workers.Retry, "error: CRM is away"},
		"dead":       {"echo first >&2; echo 'never for a@example.org' >&2; exit 65", workers.Dead, "permanent: never for [address]"},
		"failed":     {"echo no; exit 1", workers.Retry, "error: exit status 1"},
		"killed":     {"kill -9 $$", workers.Retry, "error: signal: killed"},
		"long words": {"yes x | tr -d '\\n' | head -c 200000 >&2; exit 3", workers.Retry, "error: " + strings.Repeat("x", 192) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := shell(c.script)
			a := try(t, p.once, "1", time.Minute)
			reason := ""
			if a.Report != nil {
				reason = a.Report.Reason
			}
			if a.Outcome != c.want || reason != c.reason {
				t.Errorf("%s = %s, %q, want %s, %q", c.script, a.Outcome, reason, c.want, c.reason)
			}
		})
	}
}

func TestCommandGetsTheEvent(t *testing.T) {
	t.Parallel()
	p, out := shell(`cat; echo "$USHER_EVENT_ID $USHER_EVENT_TYPE $USHER_ATTEMPT"`)
	if a := try(t, p.once, "e1", time.Minute); a.Outcome != workers.Done {
		t.Fatal(a.Err)
	}
	line, rest, _ := strings.Cut(out.String(), "\n")
	if e, err := events.Decode([]byte(line)); err != nil || e.ID != "e1" || string(e.Data) != `{"a":1}` || rest != "e1 identity.created 3\n" {
		t.Errorf("the command was given %s, %q, %v, want the event and its environment", line, rest, err)
	}
}

// A command that was declared with traits had no way to ask for them.
func TestCommandGetsTheIdentity(t *testing.T) {
	t.Parallel()
	ada := events.IdentityGetReply{IdentityID: "ada", SchemaID: "default", State: "active", Traits: map[string]json.RawMessage{"email": []byte(`"ada@example.org"`)}}
	for name, c := range map[string]struct {
		subject string
		found   events.IdentityGetReply
		err     error
		want    string // in the input; empty if the command is not run
	}{
		"found":        {"ada", ada, nil, `"identity":{"identity_id":"ada","schema_id":"default","state":"active","traits":{"email":"ada@example.org"}}`},
		"gone":         {"ada", ada, fmt.Errorf("ada: %w", workers.ErrGone), `"identity":null`},
		"about nobody": {"", ada, nil, `"identity":null`},
		"nobody tells": {"ada", ada, workers.ErrUnavailable, ""},
	} {
		for _, lines := range []bool{false, true} {
			got := filepath.Join(t.TempDir(), "input")
			p, _ := shell(`read -r line; echo "$line" >"` + got + `"; echo '{"id":"1","ok":true}'`)
			p.identity = true
			handle := p.once
			if lines {
				k := newKept(p, 1)
				defer k.end()
				handle = k.handle
			}
			w := workers.New("hello", workers.Logger(slog.New(slog.DiscardHandler)))
			workers.OnAny(w, func(ctx context.Context, e events.Event) error { return handle(ctx, e, 1) })
			message, err := json.Marshal(events.Event{ID: "1", SpecVersion: "1.0", Type: "identity.created", Subject: c.subject, Data: []byte(`{}`)})
			if err != nil {
				t.Fatal(err)
			}
			a := w.Try(t.Context(), workers.Delivery{Message: message, Identity: func(context.Context, string) (events.IdentityGetReply, error) { return c.found, c.err }})
			text, _ := os.ReadFile(got)
			if !strings.Contains(string(text), c.want) || (len(text) > 0) != (c.want != "") || (a.Outcome == workers.Done) != (c.want != "") {
				t.Errorf("%s, lines %t: %s, the command was given %s, want %s", name, lines, a.Outcome, text, c.want)
			}
		}
	}
}

// A flood is cut, and the end of it is shown.
func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	p, out := shell("yes | head -c 300000; echo end")
	if a := try(t, p.once, "1", time.Minute); a.Outcome != workers.Done || out.Len() != maxOutput || !strings.HasSuffix(out.String(), "end\n") {
		t.Errorf("%s and %d bytes, want done and the last %d", a.Outcome, out.Len(), maxOutput)
	}
}

// gone waits for the end of the process that wrote its id in a file.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) || zombie(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

// zombie tells whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestTimeoutKillsAllThatTheCommandStarted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	p, _ := shell("sleep 1000 & echo $! >" + file + "; wait")
	a := try(t, p.once, "1", 200*time.Millisecond)
	if a.Outcome != workers.Retry || a.Report.Reason != "timeout: no outcome within 200ms" {
		t.Errorf("attempt = %s, %v, want a failure for the time", a.Outcome, a.Err)
	}
	gone(t, file)
}

// What has left the process group, and lost its parent, ends too.
func TestTimeoutKillsWhatHasLeftTheGroup(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("what a command has started is found on Linux only")
	}
	const leave = `setsid sh -c 'sh -c "echo \$\$ >$0; exec sleep 1000" "$0" >/dev/null 2>&1 &' "$0"; `
	for name, handle := range map[string]func(p *program) func(context.Context, events.Event, int) error{
		"once":  func(p *program) func(context.Context, events.Event, int) error { return p.once },
		"lines": func(p *program) func(context.Context, events.Event, int) error { return newKept(p, 1).handle },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			p := &program{command: []string{"sh", "-c", leave + "sleep 1000", file}, out: &bytes.Buffer{}, errOut: &bytes.Buffer{}}
			if a := try(t, handle(p), "1", time.Second); a.Outcome != workers.Retry {
				t.Errorf("attempt = %s, %v, want a failure for the time", a.Outcome, a.Err)
			}
			gone(t, file)
		})
	}
}

// TestRunsUntilKilled is no test: [TestCommandEndsWithItsParent] runs it as a process.
func TestRunsUntilKilled(t *testing.T) {
	file := os.Getenv("USHER_TEST_PID_FILE")
	if file == "" {
		t.Skip("runs for another test only")
	}
	p, _ := shell("echo $$ >" + file + ".new; mv " + file + ".new " + file + "; exec sleep 1000")
	try(t, p.once, "1", time.Minute)
}

func TestCommandEndsWithItsParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a command with its parent")
	}
	file := filepath.Join(t.TempDir(), "pid")
	parent := exec.Command(os.Args[0], "-test.run=^TestRunsUntilKilled$")
	parent.Env = append(os.Environ(), "USHER_TEST_PID_FILE="+file)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := os.Stat(file); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	gone(t, file)
}

func TestWhatACommandLeavesBehindEnds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	p, _ := shell("sleep 1000 & echo $! >" + file)
	if a := try(t, p.once, "1", time.Minute); a.Outcome != workers.Done {
		t.Errorf("attempt = %s, %v, want done", a.Outcome, a.Err)
	}
	gone(t, file)
}

// answering is a command that goes on running and answers each line by the id in it.
const answering = `echo started >>"$0"; while read -r line; do
case $line in
*'"id":"good"'*) echo '{"id":"good","ok":true}' ;;
*'"id":"bad"'*) echo '{"id":"bad","error":"no","after":7}' ;;
*'"id":"never"'*) echo '{"id":"never","error":"never","permanent":true}' ;;
*'"id":"other"'*) echo '{"id":"good","ok":true}' ;;
*'"id":"nonsense"'*) echo hello ;;
*'"id":"slow"'*) sleep 1000 ;;
*) exit 1 ;;
esac; done`

func TestLinesAnswerEvents(t *testing.T) {
	t.Parallel()
	starts := filepath.Join(t.TempDir(), "starts")
	k := newKept(&program{command: []string{"sh", "-c", answering, starts}, out: &bytes.Buffer{}, errOut: &bytes.Buffer{}}, 1)
	defer k.end()
	for _, c := range []struct {
		id     string
		want   workers.Outcome
		reason string
		starts int // so far
	}{
		{"good", workers.Done, "", 1},
		{"bad", workers.Retry, "error: no", 1},
		{"never", workers.Dead, "permanent: never", 1},
		{"ends", workers.Retry, "error: the command ended at the event", 1},
		{"good", workers.Done, "", 2},
		{"other", workers.Retry, "error: the command's line is about another event", 2},
		{"nonsense", workers.Retry, "error: the command's line is no result in JSON", 3},
		{"slow", workers.Retry, "timeout: no outcome within 2s", 4},
		{"good", workers.Done, "", 5},
	} {
		a := try(t, k.handle, c.id, 2*time.Second)
		reason := ""
		if a.Report != nil {
			reason = a.Report.Reason
		}
		if a.Outcome != c.want || reason != c.reason {
			t.Errorf("%s = %s, %q, want %s, %q", c.id, a.Outcome, reason, c.want, c.reason)
		}
		if c.id == "bad" && a.Next != 7*time.Second {
			t.Errorf("comes again in %s, want the 7s that the command asked for", a.Next)
		}
		text, _ := os.ReadFile(starts)
		if n := strings.Count(string(text), "started"); n != c.starts {
			t.Errorf("%s: the command was started %d times, want %d", c.id, n, c.starts)
		}
	}
}
