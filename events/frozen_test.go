//go:build unix

package events_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// busDir makes this program a bus in a folder: one that can be frozen.
const busDir = "USHER_TEST_BUS_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(busDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := serveBus(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveBus serves until nobody holds standard input.
func serveBus(dir string) error {
	config, err := os.ReadFile(filepath.Join(dir, "nats-server.conf"))
	if err != nil {
		return err
	}
	s, err := natsserver.Start(context.Background(), string(config), natsserver.Options{Log: (&lines{}).logger()})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.ClientURL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startBusProcess starts a server in a process of its own.
func startBusProcess(t *testing.T) (url string, creds []byte, process *os.Process) {
	t.Helper()
	dir := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Write(dir, events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "store"), Name: "test"}); err != nil {
		t.Fatal(err)
	}
	if creds, err = keys.Credentials(events.UserAPIEvents); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), busDir+"="+dir), os.Stderr
	hold, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Signal(syscall.SIGCONT)
		_ = hold.Close()
		_ = child.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), creds, child.Process
}

// TestAFrozenServerIsLeft: its host answers, and it does not. Two seconds are said;
// the client's own way is four minutes, and a minute for a write that goes nowhere.
func TestAFrozenServerIsLeft(t *testing.T) {
	t.Parallel()
	for name, sends := range map[string]bool{"in silence": false, "while much is sent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, creds, server := startBusProcess(t)
			nc, err := events.Connect(t.Context(), events.ConnectOptions{
				URL: url, Credentials: creds, User: events.UserAPIEvents, Log: (&lines{}).logger(),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			kicks, err := nc.SubscribeSync(events.SubjectOutboxKick)
			if err != nil {
				t.Fatal(err)
			}
			flush(t, nc)
			away := nc.StatusChanged(nats.RECONNECTING)
			if err := server.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for payload := make([]byte, 64<<10); sends; {
					select {
					case <-stop:
						return
					default:
						_ = nc.Publish(events.SubjectOutboxKick, payload)
					}
				}
			}()
			select {
			case <-away:
			case <-time.After(15 * time.Second):
				t.Error("the frozen server is not left within 15 s")
			}
			close(stop)
			if err := server.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			<-stopped
			eventually(t, "the server is used again, and has the subscription", func() bool {
				if nc.Publish(events.SubjectOutboxKick, []byte("thawed")) != nil {
					return false
				}
				for m, err := kicks.NextMsg(100 * time.Millisecond); err == nil; m, err = kicks.NextMsg(100 * time.Millisecond) {
					if string(m.Data) == "thawed" {
						return true
					}
				}
				return false
			})
		})
	}
}
