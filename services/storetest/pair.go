package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Pair is a PostgreSQL primary with a standby that has each commit before it is
// acknowledged. After [Pair.Promote] the two have changed places, and
// [Pair.Rejoin] makes the former primary the standby. It is for one goroutine.
type Pair struct {
	Primary, Standby *Node

	dir  string
	made int // folders
	dsn  string
}

// StartPair starts a pair in dir, which must be empty, on free ports of the
// loopback address. It ends, and dir with it, by [Pair.Stop] or with this
// process. [ErrNoPostgreSQL] says that there is none to start.
func StartPair(dir string) (*Pair, error) {
	p := &Pair{dir: dir}
	if _, err := owner(dir); err != nil {
		return nil, err
	}
	var err error
	if p.Primary, err = p.folder(0); err == nil {
		err = errors.Join(p.Primary.initialize(), p.Primary.start())
	}
	if err == nil {
		err = p.join(0)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	p.dsn = fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable", p.Primary.port, p.Standby.port)
	return p, nil
}

// DSN names both servers, the first primary first, whatever has become of them.
func (p *Pair) DSN() string { return p.dsn }

// Promote makes the standby the primary and returns when it may be written. It
// waits for no standby then, until [Pair.Rejoin]. The former primary, unless it
// was killed, is not told.
func (p *Pair) Promote() error {
	if err := p.Standby.run("pg_ctl", "promote", "-D", p.Standby.data(), "-w", "-t", "30", "-s"); err != nil {
		return err
	}
	p.Primary, p.Standby = p.Standby, p.Primary
	return nil
}

// Rejoin makes the former primary the standby of what is the primary now, with
// a new copy of its data, on the port that it had.
func (p *Pair) Rejoin() error {
	port := p.Standby.port
	if err := p.Standby.Kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(p.Standby.dir); err != nil {
		return err
	}
	return p.join(port)
}

// Stop ends both, and their folders.
func (p *Pair) Stop() {
	for _, n := range []*Node{p.Standby, p.Primary} {
		if n != nil {
			_ = n.Kill()
		}
	}
	_ = os.RemoveAll(p.dir)
}

// folder gives a server with a folder of its own; port 0 takes a free one.
func (p *Pair) folder(port int) (*Node, error) {
	p.made++
	dir := filepath.Join(p.dir, strconv.Itoa(p.made))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	s, err := newNode(dir)
	if err != nil {
		return nil, err
	}
	if port != 0 {
		s.port = port
	}
	// Else a promotion takes five seconds now and then.
	s.settings = []string{"wal_retrieve_retry_interval=200ms"}
	return s, nil
}

// join starts a new standby, and has the primary wait for it with each commit.
func (p *Pair) join(port int) (err error) {
	if p.Standby, err = p.folder(port); err != nil {
		return err
	}
	err = p.Standby.run("pg_basebackup", "-D", p.Standby.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync",
		"-h", "127.0.0.1", "-p", strconv.Itoa(p.Primary.port), "-U", "postgres")
	if err == nil {
		err = p.Standby.start()
	}
	if err != nil {
		return err
	}
	return p.wait()
}

// wait has the primary wait for the standby, and waits until it does.
func (p *Pair) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := sql.Open("postgres", p.Primary.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	for _, query := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	for {
		var n int
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'`).Scan(&n)
		if err != nil || n > 0 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// processes are the server's, its main one first.
func (s *Node) processes() (pids []int, err error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return nil, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	pids = append(pids, pid)
	for child := range strings.FieldsSeq(string(children)) {
		if id, err := strconv.Atoi(child); err == nil {
			pids = append(pids, id)
		}
	}
	return pids, err
}

// Freeze stops all processes of the server without ending them: connections to
// it stay, and the kernel accepts new ones.
func (s *Node) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze. A former primary still believes then that it is the primary.
func (s *Node) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Node) signal(what syscall.Signal) error {
	pids, err := s.processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, what) // one may have ended meanwhile
	}
	return nil
}

// Kill ends all processes of the server with kill -9, if it runs.
func (s *Node) Kill() error {
	if s.watch == nil {
		return nil
	}
	pids, err := s.processes()
	if err != nil {
		return err
	}
	// Whoever watches it would remove the folder.
	_ = s.watch.Process.Kill()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.watch.Wait()
	s.alive.Close()
	s.watch = nil
	return nil
}
