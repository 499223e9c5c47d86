package events_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// TestAClusterAdmitsOnlyItsOwnServers: who reaches the address of the routes and
// has not the keys is refused. That those who have them are one bus is shown by
// the tests of the whole program.
func TestAClusterAdmitsOnlyItsOwnServers(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(out, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	route := freeAddress(t)
	o := events.ServerOptions{
		Listen: "127.0.0.1:-1", StoreDir: filepath.Join(out, "store"), Name: "n1",
		Cluster: events.Cluster{Listen: route, Routes: []string{route, freeAddress(t)}},
	}
	if err := keys.Write(out, o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(out, "n1.conf")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
		t.Fatalf("%s: %v, %v, want it, for its owner alone: it holds a password", path, info, err)
	}
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := natsserver.Start(t.Context(), string(config), natsserver.Options{Log: (&lines{}).logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)

	conn, err := net.Dial("tcp", route)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "CONNECT {\"name\":\"stranger\",\"cluster\":\"usher\"}\r\nPING\r\n")
	for said := bufio.NewScanner(conn); said.Scan(); {
		if strings.Contains(said.Text(), "Authorization Violation") {
			return
		}
		if strings.HasPrefix(said.Text(), "PONG") {
			t.Fatal("a stranger is one of the cluster's servers")
		}
	}
	t.Fatal("a stranger is not told that it may not be one of the cluster's servers")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
