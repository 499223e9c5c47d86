package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/storetest"
)

// TestTheDatabaseIsDown stops a PostgreSQL of its own under a running system.
func TestTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "frozen"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s, background, database := newSystemWithDatabase(t)
			if status, _ := registerOnce(t, s.apis[0]); status != http.StatusOK {
				t.Fatalf("registration = %d, want 200", status)
			}
			app := newApp(t, s.apis[0])
			f, err := app.initAPI()
			if err != nil {
				t.Fatal(err)
			}
			restore := database.stop
			if how == "frozen" {
				restore = database.freeze
			}
			back := restore()
			at := time.Now()
			a, err := app.submit(f.ID, submission("", newAddress(), goodPassword))
			if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
				t.Errorf("submit without a database = %v %+v, want 503 with Retry-After", err, a)
			}
			t.Logf("%s: answered after %v", how, time.Since(at))
			back()
			eventually(t, 30*time.Second, func() error {
				if status, with := registerOnce(t, s.apis[0]); status != http.StatusOK || !with {
					return fmt.Errorf("registration with the database back = %d, session %t", status, with)
				}
				return nil
			})
			s.whole(background)
		})
	}
}

// database is a PostgreSQL server that a test may stop and freeze.
type database struct {
	t   *testing.T
	dir string
	dsn string
}

func newSystemWithDatabase(t *testing.T) (*system, *endpoint, *database) {
	t.Helper()
	d := newDatabase(t)
	background := newEndpoint(t)
	over := signInAndTell(background)
	over["dsn"] = d.dsn
	return newSystem(t, "postgres", over), background, d
}

// newDatabase starts a PostgreSQL of the test's own.
func newDatabase(t *testing.T) *database {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the server is another user's
		t.Fatal(err)
	}
	dsn, stop, err := storetest.StartPostgreSQL(dir)
	if err != nil {
		leftOut(t, "no PostgreSQL on this machine: "+err.Error())
	}
	t.Cleanup(stop)
	return &database{t: t, dir: dir, dsn: dsn}
}

// postmaster is the server's main process.
func (d *database) postmaster() (pid int, data string) {
	d.t.Helper()
	found, err := filepath.Glob(filepath.Join(d.dir, "*", "postmaster.pid"))
	if more, _ := filepath.Glob(filepath.Join(d.dir, "postmaster.pid")); len(more) > 0 {
		found = more
	}
	if err != nil || len(found) != 1 {
		d.t.Fatalf("postmaster.pid below %s: %v %v", d.dir, found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		d.t.Fatal(err)
	}
	return pid, filepath.Dir(found[0])
}

// freeze stops all processes of the server without ending them.
func (d *database) freeze() (back func()) {
	pid, _ := d.postmaster()
	each := func(s syscall.Signal) {
		_ = syscall.Kill(pid, s)
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for child := range strings.FieldsSeq(string(children)) {
			var id int
			if _, err := fmt.Sscan(child, &id); err == nil {
				_ = syscall.Kill(id, s)
			}
		}
	}
	each(syscall.SIGSTOP)
	d.t.Cleanup(func() { each(syscall.SIGCONT) })
	return func() { each(syscall.SIGCONT) }
}

// stop shuts the server down at once and starts it again.
func (d *database) stop() (back func()) {
	pid, data := d.postmaster()
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		d.t.Fatal(err)
	}
	var owner syscall.Stat_t
	if err := syscall.Stat(data, &owner); err != nil {
		d.t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGQUIT) // an immediate shutdown
	eventually(d.t, 10*time.Second, func() error {
		if syscall.Kill(pid, 0) == nil {
			if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(state), ") Z ") {
				return fmt.Errorf("PostgreSQL %d is still there", pid)
			}
		}
		return nil
	})
	return func() {
		args := strings.Split(strings.TrimRight(string(command), "\x00"), "\x00")
		again := exec.Command(args[0], args[1:]...)
		if os.Geteuid() == 0 {
			again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
		}
		if err := again.Start(); err != nil {
			d.t.Fatal(err)
		}
		d.t.Cleanup(func() { _ = again.Process.Signal(syscall.SIGQUIT); _ = again.Wait() })
	}
}

// TestTheDiskIsFull fills the disk under SQLite and the embedded bus: what
// cannot be stored is refused, what was acknowledged is there, and when there
// is room again all goes on.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	background := newEndpoint(t)
	over := signInAndTell(background)
	over["data_dir"] = filepath.Join(dir, "data")
	s := newSystem(t, "sqlite", over)
	acknowledged := 0
	for range 20 {
		if status, _ := registerOnce(t, s.apis[0]); status == http.StatusOK {
			acknowledged++
		}
	}
	filler := fill(t, dir)
	refused := 0
	for range 30 {
		switch status, _ := registerOnce(t, s.apis[0]); status {
		case http.StatusOK:
			acknowledged++
		case http.StatusServiceUnavailable, 0:
			refused++
		default:
			t.Errorf("registration on a full disk = %d, want 200 or 503", status)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused: the disk was not full")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, func() error {
		if !s.processes["serve"].running() {
			s.restart("serve") // it may end itself, for whoever watches it to start it again
		}
		if status, with := registerOnce(t, s.apis[0]); status != http.StatusOK || !with {
			return fmt.Errorf("registration with room again = %d, session %t", status, with)
		}
		acknowledged++
		return nil
	})
	s.whole(background)
	if stored := len(s.identities()); stored < acknowledged {
		t.Errorf("%d identities are stored, %d were acknowledged", stored, acknowledged)
	}
	t.Logf("%d acknowledged, %d refused while the disk was full", acknowledged, refused)
}

// TestTheDiskOfTheBusIsFull fills the disk under the embedded bus alone: people
// register and are signed in all the same, and their events come when there is
// room again, although the bus stays silent after a full disk by itself.
func TestTheDiskOfTheBusIsFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	background := newEndpoint(t)
	over := signInAndTell(background)
	over["data_dir"] = filepath.Join(dir, "data")
	s := newSystem(t, "postgres", over)
	registerOnce(t, s.apis[0])
	filler := fill(t, dir)
	for range 20 {
		if status, with := registerOnce(t, s.apis[0]); status != http.StatusOK || !with {
			t.Errorf("registration while the bus has no disk = %d, session %t, want 200 and one", status, with)
		}
	}
	waiting := s.metric("usher_outbox_depth")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.whole(background)
	t.Logf("%.0f events waited for room", waiting)
}

// smallDisk is a folder on a file system of its own that is soon full.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		leftOut(t, "a small file system cannot be mounted here: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes a file until there is no room.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return path
}
