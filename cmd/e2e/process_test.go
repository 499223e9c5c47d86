package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process is one process that a test started, and may kill, freeze and start again.
type process struct {
	name string
	args []string
	env  []string
	bin  string
	log  string // file that takes what it prints, over all its lives

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start starts the process, which must not be running.
func (p *process) start(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(p.bin, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	go func() {
		p.err = cmd.Wait()
		close(done)
	}()
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// kill ends the process with kill -9 and waits until it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks the process to end, and tells how it did.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.signal(syscall.SIGQUIT)
		<-p.done
		t.Errorf("%s did not stop within 30s of SIGTERM; its log: %s", p.name, p.tail())
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) output() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

// tail is the end of what it printed, behind the warnings and errors before that.
func (p *process) tail() string {
	said := p.output()
	end := max(0, len(said)-4000)
	var warned strings.Builder
	for line := range strings.Lines(said[:end]) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			warned.WriteString(line)
		}
	}
	w := warned.String()
	return w[max(0, len(w)-4000):] + "…\n" + said[end:]
}

// waitReady waits until the URL answers 200.
func (p *process) waitReady(t *testing.T, url string) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		if !p.running() {
			t.Fatalf("%s ended at its start: %v\n%s", p.name, p.err, p.tail())
		}
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	})
}

// eventually asks again and again until f gives nil, or fails after the limit. It
// asks less often the longer it has waited: the processes need the machine too.
func eventually(t *testing.T, limit time.Duration, f func() error) {
	t.Helper()
	for began := time.Now(); ; {
		err := f()
		if err == nil {
			return
		}
		waited := time.Since(began)
		if waited > limit {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(min(max(waited/20, 10*time.Millisecond), 100*time.Millisecond))
	}
}

// lastPort is the last that freePort gave. Its ports are below those that the
// system gives to connections that go out, one of which could take a port that
// is free now, before the process that is told to listen there.
var lastPort atomic.Int64

func init() { lastPort.Store(10_000 + rand.Int64N(15_000)) }

// freePort gives a port that nobody listens on, and nobody else in these tests gets.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := int(lastPort.Add(1))
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// usher runs a command of the program to its end.
func usher(t testing.TB, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(usherBin, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("usher %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
