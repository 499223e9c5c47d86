package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/usher-auth/usher/services/storetest"
)

// TestPowerCut takes the power from a volume while people register: what the
// file system had not been told to keep is gone. Once in "make test", twenty
// times in "make soak", with everything in one process, and with parts on one
// NATS server and PostgreSQL. What was acknowledged before is there afterwards:
// the identity, its event, its hook, and its session.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	cuts := 1
	if os.Getenv("USHER_TEST_SOAK") != "" {
		cuts = 20
	}
	forms := map[string]func(*testing.T, *volume) *powered{"embedded": embeddedOn, "apart": apartOn}
	for form, start := range forms {
		t.Run(form, func(t *testing.T) {
			if form == "apart" && os.Getenv("USHER_TEST_SOAK") == "" {
				t.Skip("in make soak only")
			}
			t.Parallel()
			p := start(t, newVolume(t))
			for n := range cuts {
				p.cutOff(n + 1)
			}
			p.report(form, cuts)
		})
	}
}

// powered is a system that has what it must keep on one volume.
type powered struct {
	*system
	volume       *volume
	background   *endpoint
	postgres     *cutDatabase // nil with SQLite
	acknowledged map[string]string
}

// embeddedOn has everything in one process.
func embeddedOn(t *testing.T, v *volume) *powered {
	t.Helper()
	background := newEndpoint(t)
	over := signInAndTell(background)
	over["data_dir"] = filepath.Join(v.dir, "data")
	return &powered{newSystem(t, "sqlite", over), v, background, nil, map[string]string{}}
}

// apartOn has parts in processes of their own; one NATS server and PostgreSQL
// keep what there is.
func apartOn(t *testing.T, v *volume) *powered {
	t.Helper()
	d := startDatabase(t, filepath.Join(v.dir, "postgres"))
	background := newEndpoint(t)
	over := signInAndTell(background)
	over["dsn"] = d.dsn
	s := declareSystem(t, "parts", over)
	store := filepath.Join(v.dir, "nats")
	for _, err := range []error{os.Mkdir(store, 0o700), os.Symlink(store, filepath.Join(s.dir, "nats"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.launch()
	// The cluster was made without waiting for the disk, which nobody does in earnest.
	if out, err := exec.Command("sync", "-f", v.dir).CombinedOutput(); err != nil {
		t.Fatalf("sync: %v: %s", err, out)
	}
	return &powered{s, v, background, d, map[string]string{}}
}

// cutOff cuts once under load, starts all again and looks.
func (p *powered) cutOff(n int) {
	p.t.Helper()
	l := startLoop(newBalancer(p.t, p.apis, p.admins), faultRate(p.t, 50))
	l.untilRegistered(p.t)
	time.Sleep(rand.N(time.Second))
	killDatabase, startDatabase := func() {}, func() {}
	if p.postgres != nil {
		killDatabase, startDatabase = p.postgres.ready()
	}
	before := time.Now() // what comes later, no person would have got
	p.volume.powerOff()
	p.each((*process).kill)
	killDatabase()
	p.volume.powerOn()
	startDatabase()
	if p.postgres != nil { // nothing starts without it
		defer func() {
			if p.t.Failed() {
				said, _ := os.ReadFile(filepath.Join(p.postgres.dir, "log"))
				p.t.Logf("PostgreSQL says: …%s", said[max(0, len(said)-2000):])
			}
		}()
		eventually(p.t, 30*time.Second, func() error {
			db, err := p.database(p.t.Context())
			if err == nil {
				db.Close()
			}
			return err
		})
	}
	p.each(func(one *process) { one.start(p.t) })
	p.each(func(one *process) { p.waitReady(one.name) })
	acknowledged := 0
	for _, v := range l.end() {
		if v.registered() && v.sent.Add(v.took).Before(before) {
			p.acknowledged[v.id] = v.token
			acknowledged++
		}
	}
	p.look(n)
	if acknowledged == 0 {
		p.t.Errorf("cut %d: nobody had registered before", n)
	}
}

// report says what came of all cuts, also at the end of the table of faults.
func (p *powered) report(form string, cuts int) {
	p.t.Helper()
	text := fmt.Sprintf("Power cut, %s: %d cuts while people registered, %d registrations acknowledged before them, %d identities stored, 0 lost.",
		form, cuts, len(p.acknowledged), len(p.identities()))
	p.t.Log(text)
	path := os.Getenv("USHER_TEST_FAULTS_OUT")
	if path == "" || p.t.Failed() {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("\n" + text + "\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *powered) each(do func(*process)) {
	for _, name := range p.order {
		do(p.processes[name])
	}
}

// look holds what was acknowledged, in all cuts so far, against what is there.
func (p *powered) look(n int) {
	p.t.Helper()
	p.whole(p.background)
	stored := map[string]bool{}
	for _, id := range p.identities() {
		stored[id] = true
	}
	app := newApp(p.t, p.apis[0])
	for id, token := range p.acknowledged {
		if !stored[id] {
			p.t.Errorf("cut %d: identity %s was acknowledged and is lost", n, id)
		}
		if token == "" {
			continue
		}
		if status, s := app.whoami(token); status != 200 || s.Identity.ID != id {
			p.t.Errorf("cut %d: the session of %s was handed out and is lost: %d", n, id, status)
		}
	}
	for id := range p.background.bodies() {
		if !stored[id] {
			p.t.Errorf("cut %d: a hook was told of %s, who does not exist", n, id)
		}
	}
}

// volume is a file system of its own, on a file.
type volume struct {
	t                  *testing.T
	dir, image, device string
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 1<<30); err != nil { // it takes what is written
		t.Fatal(err)
	}
	v := &volume{t: t, dir: filepath.Join(dir, "volume"), image: image}
	if err := os.Mkdir(v.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := v.attach(); err != nil {
		leftOut(t, "no loop device for a volume of its own: "+err.Error())
	}
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", v.device).Run() })
	if out, err := exec.Command("mkfs.ext4", "-q", v.device).CombinedOutput(); err != nil {
		leftOut(t, "no ext4 for a volume of its own: "+string(out))
	}
	if err := v.mount(); err != nil {
		leftOut(t, "a volume of its own cannot be mounted: "+err.Error())
	}
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) { // PostgreSQL is another user
		_ = os.Chmod(at, 0o755)
	}
	t.Cleanup(func() { _ = syscall.Unmount(v.dir, syscall.MNT_DETACH) })
	return v
}

// attach makes the file a device.
func (v *volume) attach() error {
	device, err := exec.Command("losetup", "--find", "--show", v.image).Output()
	v.device = strings.TrimSpace(string(device))
	return err
}

func (v *volume) mount() error { return syscall.Mount(v.device, v.dir, "ext4", 0, "") }

// powerOff shuts the file system down without flushing anything, its journal
// included. Whatever is written from now on fails.
func (v *volume) powerOff() {
	v.t.Helper()
	f, err := os.Open(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	const shutdown, noFlush = 0x8004587d, 2
	how := uint32(noFlush)
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); e != 0 {
		v.t.Fatalf("shut the volume down: %v", e)
	}
}

// powerOn mounts it again, which replays the journal. Nobody may use it any more.
// It is another device: the former one stays shut down as long as some other
// mount namespace, where it was copied to, holds it.
func (v *volume) powerOn() {
	v.t.Helper()
	eventually(v.t, 10*time.Second, func() error { return syscall.Unmount(v.dir, 0) })
	_ = exec.Command("losetup", "-d", v.device).Run()
	if err := v.attach(); err != nil {
		v.t.Fatal(err)
	}
	if err := v.mount(); err != nil {
		v.t.Fatal(err)
	}
}

// cutDatabase is a PostgreSQL on a volume.
type cutDatabase struct {
	*database
	runs *exec.Cmd // nil as long as the one runs that was started at first
}

// startDatabase starts a PostgreSQL in a folder that is not there yet.
func startDatabase(t *testing.T, dir string) *cutDatabase {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dsn, stop, err := storetest.StartPostgreSQL(dir)
	if err != nil {
		leftOut(t, "no PostgreSQL on this machine: "+err.Error())
	}
	d := &cutDatabase{database: &database{t: t, dir: dir, dsn: dsn}}
	t.Cleanup(func() {
		if d.runs == nil {
			stop()
			return
		}
		_ = d.runs.Process.Signal(syscall.SIGQUIT)
		_ = d.runs.Wait()
	})
	return d
}

// ready looks at the server while its files can be read, and gives what ends all
// its processes at once, and what starts it again.
func (d *cutDatabase) ready() (kill, start func()) {
	d.t.Helper()
	pid, data := d.postmaster()
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		d.t.Fatal(err)
	}
	var owner syscall.Stat_t
	if err := syscall.Stat(data, &owner); err != nil {
		d.t.Fatal(err)
	}
	watch := 0
	if d.runs == nil { // the shell that watches it would remove the folder
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		if _, err := fmt.Sscan(rest, &state, &watch); err != nil || watch < 2 || watch == os.Getpid() {
			d.t.Fatalf("the shell that watches PostgreSQL is not found: %v, %s", err, stat)
		}
	}
	kill = func() {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if watch != 0 {
			_ = syscall.Kill(watch, syscall.SIGKILL)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for child := range strings.FieldsSeq(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(id, syscall.SIGKILL)
			}
		}
		if d.runs != nil {
			_ = d.runs.Wait()
		}
	}
	args := strings.Split(strings.TrimRight(string(command), "\x00"), "\x00")
	start = func() {
		d.t.Helper()
		// After a real cut nobody has its number; here it may be a zombie still.
		_ = os.Remove(filepath.Join(data, "postmaster.pid"))
		d.runs = exec.Command(args[0], args[1:]...)
		if os.Geteuid() == 0 {
			d.runs.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
		}
		log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			d.t.Fatal(err)
		}
		defer log.Close()
		d.runs.Stdout, d.runs.Stderr = log, log
		if err := d.runs.Start(); err != nil {
			d.t.Fatal(err)
		}
	}
	return kill, start
}
