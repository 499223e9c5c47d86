package events_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

// threeServers are one bus with TLS, each in a zone of its own.
type threeServers struct {
	t         *testing.T
	out       string
	keys      *events.Keys
	authority *events.CertificateAuthority
	servers   []*natsserver.Server
	urls      []string
}

// startThree starts a cluster from what "usher bus config --tls-make" writes.
// Clients need a certificate.
func startThree(t *testing.T) *threeServers {
	t.Helper()
	c := &threeServers{t: t, out: t.TempDir()}
	var err error
	if c.keys, err = events.LoadOrMakeKeys(filepath.Join(c.out, "keys")); err != nil {
		t.Fatal(err)
	}
	if c.authority, err = events.LoadOrMakeAuthority(filepath.Join(c.out, "keys")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.authority.WriteClient(filepath.Join(c.out, "tls")); err != nil {
		t.Fatal(err)
	}
	routes := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	for n, zone := range []string{"a", "b", "c"} {
		name := "n" + zone
		tls, err := c.authority.WriteServer(filepath.Join(c.out, "tls"), name, []string{"127.0.0.1", name})
		if err != nil {
			t.Fatal(err)
		}
		tls.Verify = true
		o := events.ServerOptions{
			Listen: "127.0.0.1:-1", Monitor: "127.0.0.1:-1", StoreDir: filepath.Join(c.out, name), Name: name,
			Tags: []string{"zone:" + zone, "region:eu"}, UniqueTag: "zone:", TLS: tls,
			Cluster: events.Cluster{Listen: routes[n], Routes: routes},
		}
		if err := c.keys.Write(c.out, o); err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(filepath.Join(c.out, o.File()))
		if err != nil {
			t.Fatal(err)
		}
		s, err := natsserver.Start(t.Context(), string(config), natsserver.Options{Log: (&lines{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		c.servers, c.urls = append(c.servers, s), append(c.urls, s.ClientURL())
	}
	return c
}

// options are those of a part: it has a certificate and follows its credential.
func (c *threeServers) options(user string) events.ConnectOptions {
	tls := filepath.Join(c.out, "tls")
	return events.ConnectOptions{
		URL: strings.Join(c.urls, ","), CredentialsFile: filepath.Join(c.out, "creds", user+".creds"), User: user,
		TLS:  events.ClientTLS{CA: filepath.Join(tls, "ca.pem"), Cert: filepath.Join(tls, "client.pem"), Key: filepath.Join(tls, "client.key")},
		Name: "test", Log: (&lines{}).logger(),
	}
}

func (c *threeServers) connect(o events.ConnectOptions) *nats.Conn {
	c.t.Helper()
	nc, err := events.Connect(c.t.Context(), o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

// TestAClusterWithTLS is all that three servers are together: who is let in, what
// the servers are asked, and where the stream is.
func TestAClusterWithTLS(t *testing.T) {
	t.Parallel()
	c := startThree(t)
	t.Run("who is let in", c.admits)
	t.Run("how the servers are", c.reports)
	t.Run("a stream grows", c.grows)
}

// admits has strangers knock.
func (c *threeServers) admits(t *testing.T) {
	nc := c.connect(c.options(events.UserAPIEvents))
	if state, err := nc.TLSConnectionState(); err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("the connection has TLS %x, %v, want 1.3", state.Version, err)
	}
	refuse := func(what, want string, change func(o *events.ConnectOptions)) {
		o := c.options(events.UserAPIEvents)
		change(&o)
		if nc, err := events.Connect(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: connected (%v), %v, want a refusal with %q", what, nc != nil, err, want)
		}
	}
	refuse("whoever knows no CA", "unknown authority", func(o *events.ConnectOptions) { o.TLS.CA = "" })
	refuse("whoever has no certificate", "tls", func(o *events.ConnectOptions) { o.TLS.Cert, o.TLS.Key = "", "" })
	for what, address := range map[string]string{"clients": strings.TrimPrefix(c.urls[0], "tls://"), "servers": c.route(0)} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if what == "clients" { // it is told of TLS in clear, servers begin with it
			if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		old := tls.Client(conn, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // it is to be refused
		if err := old.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("TLS 1.2 of %s: %v, want a refusal", what, err)
		}
	}
}

// route is the address of a server for the others.
func (c *threeServers) route(n int) string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.out, []string{"na", "nb", "nc"}[n]+".conf"))
	if err != nil {
		c.t.Fatal(err)
	}
	return regexp.MustCompile(`(?s)cluster \{.*?listen: "([^"]+)"`).FindStringSubmatch(string(text))[1]
}

// reports asks all servers with the credential of who watches, which can do no more.
func (c *threeServers) reports(t *testing.T) {
	o := c.options(events.UserSystem)
	o.CredentialsFile = filepath.Join(c.out, "system.creds")
	nc := c.connect(o)
	names := map[string]bool{}
	eventually(t, "all three answer", func() bool {
		inbox, err := nc.SubscribeSync(nc.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = inbox.Unsubscribe() }()
		if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", inbox.Subject, nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			m, err := inbox.NextMsg(time.Second)
			if err != nil {
				return false
			}
			var report struct {
				Server struct{ Name string }
				Data   struct {
					Tags []string
				}
			}
			if err := json.Unmarshal(m.Data, &report); err != nil {
				t.Fatal(err)
			}
			names[report.Server.Name] = true
		}
		return len(names) == 3
	})
}

// grows has a stream of one server become one of three, with its durable, while
// somebody publishes, and says so. No two copies are in one zone; a place that no
// server has is refused.
func (c *threeServers) grows(t *testing.T) {
	nc := c.connect(c.options(events.UserProvision))
	durable := events.Durable{Name: "crm", Types: []string{"identity.created"}}
	provision := func(o events.StreamOptions) ([]string, error) {
		return events.Provision(t.Context(), nc, o, []events.Durable{durable})
	}
	within(t, time.Minute, "the servers have found each other", func() bool {
		_, err := provision(events.StreamOptions{})
		return err == nil
	})
	publisher, err := events.NewPublisher(c.connect(c.options(events.UserAPIEvents)))
	if err != nil {
		t.Fatal(err)
	}
	publish := func(from int) { // as the relay does: again what is not acknowledged
		t.Helper()
		within(t, time.Minute, "the stream takes events", func() bool {
			return !slices.ContainsFunc(publisher.Publish(t.Context(), messages(from, from+99)), func(a events.Ack) bool { return a.Err != nil })
		})
	}
	publish(1)
	want := events.StreamOptions{Replicas: 3, Placement: events.Placement{Tags: []string{"region:eu"}}}
	changes, err := provision(want)
	if said := strings.Join(changes, "\n"); err != nil || !strings.Contains(said, "num_replicas is 1, want 3; its placement follows") {
		t.Fatalf("growing says %q, %v, want from what to what", changes, err)
	}
	publish(101)
	within(t, time.Minute, "the stream may move", func() bool {
		changes, err := provision(want)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(changes, "\n"), "region:eu")
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "three servers have stream and durable", func() bool {
		stream, err := js.Stream(t.Context(), events.Stream)
		if err != nil || stream.CachedInfo().Cluster == nil {
			return false
		}
		consumer, err := stream.Consumer(t.Context(), "crm")
		if err != nil || consumer.CachedInfo().Cluster == nil {
			return false
		}
		for _, replicas := range [][]*jetstream.PeerInfo{stream.CachedInfo().Cluster.Replicas, consumer.CachedInfo().Cluster.Replicas} {
			if len(replicas) != 2 || slices.ContainsFunc(replicas, func(p *jetstream.PeerInfo) bool { return !p.Current }) {
				return false
			}
		}
		return consumer.CachedInfo().NumPending == 200
	})
	if changes, err := provision(want); len(changes) != 0 || err != nil {
		t.Errorf("provisioned again: %q, %v, want nothing to do", changes, err)
	}
	within(t, time.Minute, "three copies in one zone are refused", func() bool {
		_, err := provision(events.StreamOptions{Placement: events.Placement{Tags: []string{"zone:a"}}})
		return err != nil && strings.Contains(err.Error(), "no suitable peers")
	})
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
