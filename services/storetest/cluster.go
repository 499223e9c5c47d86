package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// watch runs a command until its own standard input ends, which it does when
// the process that started it is gone, however it went. Then it stops the
// command and removes its folder.
const watch = `
"$@" </dev/null &
read -r _
kill -INT $!
wait $!
rm -rf "$DIR"
`

// StartPostgreSQL starts a cluster of its own in dir, which must be empty, on a
// free port of the loopback address, and gives the DSN of its superuser. It
// ends, and dir with it, by stop or with this process. [ErrNoPostgreSQL] says
// that there is none to start.
//
// The cluster syncs to the disk as a real one does.
func StartPostgreSQL(dir string) (dsn string, stop func(), err error) {
	s, err := newNode(dir)
	if err != nil {
		return "", nil, err
	}
	if err := errors.Join(s.initialize(), s.start()); err != nil {
		s.stop()
		return "", nil, err
	}
	return s.DSN(), s.stop, nil
}

// Node is one server: a folder, a port, and the process while it runs.
type Node struct {
	bin, dir string // of the programs; of this server
	port     int
	as       *syscall.SysProcAttr
	settings []string // NAME=VALUE

	watch *exec.Cmd // nil while it does not run
	alive io.Closer
}

// newNode gives a server that has no data yet.
func newNode(dir string) (*Node, error) {
	bin, err := findPostgreSQL()
	if err != nil {
		return nil, err
	}
	as, err := owner(dir)
	if err != nil {
		return nil, err
	}
	port, err := freePort(context.Background())
	return &Node{bin: bin, dir: dir, port: port, as: as}, err
}

func (s *Node) data() string { return filepath.Join(s.dir, "data") }

// DSN is that of the superuser.
func (s *Node) DSN() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// run runs one of PostgreSQL's programs to its end.
func (s *Node) run(program string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, program), args...)
	cmd.SysProcAttr, cmd.Dir = s.as, s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

func (s *Node) initialize() error {
	return s.run("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
}

// start starts the server on its data and waits until it answers.
func (s *Node) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-c", watch, "sh", filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	// The server outlives whoever asks for it.
	server := exec.CommandContext(context.Background(), "/bin/sh", args...)
	server.SysProcAttr, server.Dir = s.as, s.dir
	server.Env = append(os.Environ(), "DIR="+s.dir)
	server.Stdout, server.Stderr = log, log
	alive, err := server.StdinPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.watch, s.alive = server, alive
	if err := waitFor(context.Background(), s.DSN()); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("postgres does not answer: %w: %s", err, said)
	}
	return nil
}

// stop ends the server, and its folder with it.
func (s *Node) stop() {
	if s.watch != nil {
		s.alive.Close()
		_ = s.watch.Wait() // it was told to end
		s.watch = nil
	}
	_ = os.RemoveAll(s.dir)
}

// findPostgreSQL gives the folder of the server's programs.
func findPostgreSQL() (string, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		initdb, err = filepath.EvalSymlinks(initdb) // its neighbours may have none
		return filepath.Dir(initdb), err
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrNoPostgreSQL
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 is the oldest
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// owner gives dir to whom the server is to run as, since it refuses root.
func owner(dir string) (*syscall.SysProcAttr, error) {
	// A group of its own: an interrupt at the terminal is not meant for it.
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("whom to run postgres as: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, nil
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// waitFor waits until the server answers.
func waitFor(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
