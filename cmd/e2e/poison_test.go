package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// poisons are what a command does with the first events, one each; an event that
// comes again is done. With --lines it answers, without it exits.
var poisons = map[string]string{
	"--lines=false": `[ "$USHER_ATTEMPT" = 1 ] || { echo "again $USHER_EVENT_ID"; exit 0; }
for poison in panic exit loop flood; do mkdir "$1/$poison" 2>&- || continue
case $poison in
panic) echo 'panic: something is nil' >&2; exit 2 ;;
exit) kill -9 $$ ;;
loop) while :; do sleep 1; done ;;
flood) head -c 10485760 /dev/zero | tr '\0' x; exit 65 ;;
esac; done
echo "well $USHER_EVENT_ID"
`,
	"--lines": `while read -r line; do
id=$(echo "$line" | sed 's/.*"id":"\([^"]*\)".*/\1/'); did=
for poison in panic exit loop flood nonsense; do mkdir "$1/$poison" 2>&- || continue
did=1; case $poison in
panic) echo 'panic: something is nil' >&2; exit 2 ;;
exit) kill -9 $$ ;;
loop) while :; do sleep 1; done ;;
flood) head -c 10485760 /dev/zero | tr '\0' x; echo ;;
nonsense) echo '{"id":' ;;
esac; break; done
[ -n "$did" ] || { echo "well $id" >&2; echo "{\"id\":\"$id\",\"ok\":true}"; }
done
`,
}

// poisonReasons are the reasons that operators see.
var poisonReasons = map[string][]string{
	"--lines=false": {
		"error: panic: something is nil", "error: signal: killed", "timeout: no outcome within 2s", "permanent: exit status 65",
	},
	"--lines": {
		"error: the command ended at the event", "error: the command ended at the event", "timeout: no outcome within 2s",
		"error: the command's line is over 65536 bytes", "error: the command's line is no result in JSON",
	},
}

// TestPoison gives commands in another language what kills them: each such event
// is a failure or a dead letter with its reason, and the others are done. When
// the worker is removed while it runs, it ends and says why.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", hooks(sessionHook))
	for name, script := range map[string]string{"lines": poisons["--lines"], "each": poisons["--lines=false"]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mode := map[string]string{"lines": "--lines", "each": "--lines=false"}[name]
			w := s.command(t, name, script, mode, "--timeout", "2s")
			app := newApp(t, s.apis[0])
			reasons := poisonReasons[mode]
			for range reasons {
				app.register(newAddress())
			}
			well := app.register(newAddress()).Identity.ID
			eventually(t, 60*time.Second, func() error { return s.failedAs(t, name, reasons) })
			w.prints(1, s.events("type=identity.created&subject=" + well)[0].ID)

			s.usher(t, "worker", "remove", name, "--yes")
			w.ends("it was never declared, or is removed")
		})
	}
}

// command starts a declared worker as a script whose argument is a folder.
func (s *system) command(t *testing.T, name, script string, flags ...string) *ownWorker {
	t.Helper()
	var made struct {
		Credential string `json:"credential"`
		BusURL     string `json:"nats_url"`
	}
	a := newApp(t, s.admins[0]).must("POST", "/admin/hooks", asJSON, fmt.Appendf(nil, `{"name":%q,"kind":"worker","events":["identity.created"]}`, name))
	a.json(t, &made)
	dir := t.TempDir()
	creds, file := write(t, filepath.Join(dir, name+".creds"), made.Credential), write(t, filepath.Join(dir, "worker.sh"), script)
	args := append([]string{usherBin, "worker", "run", name, "--url", made.BusURL, "--creds", creds}, flags...)
	w := &ownWorker{
		t: t, name: name, dir: dir, log: filepath.Join(dir, "log"),
		command: "exec " + strings.Join(append(args, "--", "sh", file, dir), " "),
	}
	t.Cleanup(func() {
		if w.cmd != nil {
			w.kill()
		}
		if t.Failed() {
			out := w.output()
			t.Logf("output of worker %s: …%s", name, out[max(0, len(out)-4000):])
		}
	})
	w.start()
	return w
}

// failedAs tells which of the reasons no event of a hook has failed for yet.
func (s *system) failedAs(t *testing.T, hook string, reasons []string) error {
	t.Helper()
	db, err := s.database(t.Context())
	if err != nil {
		return err
	}
	defer db.Close()
	found, err := db.Failures(t.Context(), delivery.FailureQuery{Hook: hook})
	if err != nil {
		return err
	}
	left := map[string]int{}
	for _, reason := range reasons {
		left[reason]++
	}
	for _, f := range found {
		if dead := strings.HasPrefix(f.Reason, "permanent: "); dead != (f.State == delivery.Dead) {
			return fmt.Errorf("%q is %s", f.Reason, f.State)
		}
		if left[f.Reason]--; left[f.Reason] == 0 {
			delete(left, f.Reason)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("of the reasons these are too few or too many: %v", left)
	}
	return nil
}

// ends waits until the worker has ended by itself and has said why.
func (w *ownWorker) ends(why string) {
	w.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- w.cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil || strings.Count(w.output(), why) != 1 {
			w.t.Errorf("worker %s ended with %v, want an error and one line with %q", w.name, err, why)
		}
		w.cmd = nil
	case <-time.After(20 * time.Second):
		w.t.Errorf("worker %s goes on", w.name)
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		w.cmd = nil
	}
}
