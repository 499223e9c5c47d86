package workers_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// busDir makes this program a bus in a folder: benchmarks measure a process
// without the server.
const busDir = "USHER_TEST_BUS_DIR"

func TestMain(m *testing.M) {
	if name := os.Getenv(poisonedName); name != "" {
		runPoisoned(name)
		os.Exit(1) // Run has told why
	}
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
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "streams"), Name: "test"})
	if err != nil {
		return err
	}
	server, err := natsserver.Start(context.Background(), config, natsserver.Options{Log: discard})
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Println(server.ClientURL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// newBusProcess is newBus with the server in a process of its own.
func newBusProcess(t testing.TB) *bus {
	t.Helper()
	dir := t.TempDir()
	b := &bus{t: t, dir: dir}
	var err error
	if b.keys, err = events.LoadOrMakeKeys(filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), busDir+"="+dir)
	child.Stderr = os.Stderr
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
		_ = hold.Close()
		_ = child.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	b.url = strings.TrimSpace(line)
	if err := b.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, nc := range b.parts {
			nc.Close()
		}
	})
	return b
}
