package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheckWorker checks a worker that is right, one that fails and one that does
// not run. Nothing of it stays, and no other worker sees it.
func TestCheckWorker(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{"sqlite", "parts"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, hooks(sessionHook))
			right, wrong := s.newWorker(t, "right", "shell"), s.newWorker(t, "wrong", "shell")
			s.newWorker(t, "away", "shell")
			write(t, filepath.Join(wrong.dir, "worker.sh"), "echo the CRM knows nobody >&2; exit 75\n")
			right.start()
			wrong.start()
			id := newApp(t, s.apis[0]).register(newAddress()).Identity.ID
			right.prints(1, `"subject":"`+id)

			for name, want := range map[string]struct {
				code  int
				cases []string // verdicts
				text  string
			}{
				"right": {0, []string{"ok", "ok", "ok", "ok", "ok", "ok"}, "it is no event"},
				"wrong": {1, []string{"failed", "failed", "failed", "failed", "ok", "ok"}, "the CRM knows nobody"},
				"away":  {1, []string{"absent"}, "does not run"},
			} {
				began := time.Now()
				out, errOut, code := usher(t, nil, "worker", "check", name, "--json", "--admin", s.admins[0])
				var got struct{ Cases []struct{ Verdict string } }
				if err := json.Unmarshal([]byte(out), &got); err != nil || code != want.code || !strings.Contains(out, want.text) {
					t.Errorf("usher worker check %s = %d %s%s", name, code, out, errOut)
				}
				var verdicts []string
				for _, c := range got.Cases {
					verdicts = append(verdicts, c.Verdict)
				}
				if a, b := strings.Join(verdicts, " "), strings.Join(want.cases, " "); a != b {
					t.Errorf("usher worker check %s says %s, want %s:\n%s", name, a, b, out)
				}
				t.Logf("usher worker check %s took %s", name, time.Since(began).Round(time.Millisecond))
			}

			if out := s.usher(t, "worker", "list"); strings.Count(out, "1 (0.0.0)") != 2 || !strings.Contains(out, "away") {
				t.Errorf("usher worker list does not see the two that run:\n%s", out)
			}
			if n := strings.Count(right.output(), "/usher/check"); n != 25 { // an event, one twice, twenty, and two of which only the head is right
				t.Errorf("the worker has printed %d events of a check, want its own 25", n)
			}
			if out := s.usher(t, "dlq", "list", "--state", "discarded"); strings.Contains(out, "right") || strings.Contains(out, "wrong") {
				t.Errorf("the checks have left something behind:\n%s", out)
			}
			if n := s.state(t, "wrong").Failures; n.Dead != 0 || n.Waiting != 1 {
				t.Errorf("failures = %+v, want that of the registration alone", n)
			}
			if out := s.usher(t, "events", "export"); strings.Contains(out, "/usher/check") || strings.Count(out, "hook.check") != 6+6+1 {
				t.Errorf("the event log holds something else than who checked:\n%s", out)
			}
		})
	}
}
