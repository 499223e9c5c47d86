package e2e_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
)

// roles are what a server of the bus may be when it is lost.
var roles = []string{"stream leader", "meta leader", "most clients"}

// TestNodes loses one server of three, killed and frozen, in each role, three times
// each, while people register. No registration may fail: only sessions may miss, for
// three seconds. What "make test" has of it is in [TestFaults].
func TestNodes(t *testing.T) {
	if os.Getenv("USHER_TEST_SOAK") == "" {
		t.Skip("in make soak only")
	}
	table := "| server | people | failed | without a session | for | normal after | slowest | no event for |\n|---|---|---|---|---|---|---|---|\n"
	for _, role := range roles {
		for _, how := range []string{"killed", "frozen"} {
			name := role + " " + how
			var runs []lossResult
			for n := range 3 {
				t.Run(fmt.Sprintf("%s/%d", name, n+1), func(t *testing.T) {
					f := newField(t, faultRate(t, 100), fault{})
					r := f.lose(f.losing(role, how, 8*time.Second), 3*time.Second, 5*time.Second)
					f.account()
					t.Log(r)
					runs = append(runs, r)
				})
			}
			if len(runs) == 3 {
				table += lossRow(name, runs)
			}
		}
	}
	t.Log("\n" + table)
}

// loseNodes is the short form: two losses, and a server with an empty disk. Machines
// that run all tests at once are slow: they have three times as long.
func (f *field) loseNodes() {
	f.t.Helper()
	for role, how := range map[string]string{"most clients": "frozen", "meta leader": "killed"} {
		one := f.losing(role, how, 3*time.Second)
		one.goal *= 3
		f.t.Log(one.name + ": " + f.lose(one, 500*time.Millisecond, 2*time.Second).String())
	}
	f.replaceServer("nats-1")
}

// replaceServer has another machine with an empty disk take the place of a server.
func (f *field) replaceServer(name string) {
	f.t.Helper()
	f.processes[name].kill()
	if err := os.RemoveAll(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
	f.restart(name)
	f.streamInSync()
}

// losing is the loss of the server that has a role now.
func (f *field) losing(role, how string, hold time.Duration) fault {
	name := f.serverWith(role)
	if how == "killed" {
		return fault{
			name: role + " killed", goal: goalNATS, hold: hold,
			inflict: func(f *field) { f.processes[name].kill() },
			mend:    func(f *field) { f.restart(name) },
		}
	}
	return fault{
		name: role + " frozen", goal: goalNATS, hold: hold,
		inflict: func(f *field) { f.processes[name].signal(syscall.SIGSTOP) },
		mend:    func(f *field) { f.processes[name].signal(syscall.SIGCONT) },
	}
}

// lossResult is what people saw, and the longest time in which no event was published.
type lossResult struct {
	result
	silence time.Duration
}

func (r lossResult) String() string {
	return r.result.String() + "; no event was published for " + round(r.silence).String()
}

// lose is suffer, with an eye on the stream.
func (f *field) lose(one fault, before, after time.Duration) lossResult {
	f.t.Helper()
	began := time.Now()
	r := lossResult{result: f.suffer(one, before, after)}
	r.silence = f.silence(began.Add(before))
	return r
}

// silence is the longest time, from the given one on, between two events in the
// event log, where the relay puts them when the stream has them.
func (f *field) silence(from time.Time) (longest time.Duration) {
	f.t.Helper()
	db, err := f.database(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	eventually(f.t, 30*time.Second, func() error {
		waiting, err := db.Pending(f.t.Context(), 1)
		if err == nil && len(waiting) > 0 {
			err = errors.New("events wait to be published")
		}
		return err
	})
	logged, err := db.Events(f.t.Context(), audit.Query{Since: from, Limit: 100_000})
	if err != nil {
		f.t.Fatal(err)
	}
	last := from
	for _, r := range logged {
		longest, last = max(longest, r.LoggedAt.Sub(last)), r.LoggedAt
	}
	return longest
}

// serverWith tells which server has a role now.
func (f *field) serverWith(role string) string {
	f.t.Helper()
	nc := f.watchBus()
	defer nc.Close()
	switch role {
	case "stream leader":
		return f.streamInSync()
	case "meta leader":
		var leader string
		for _, r := range f.ask3(nc, "JSZ", "{}") {
			var jsz struct {
				Meta struct{ Leader string } `json:"meta_cluster"`
			}
			if err := json.Unmarshal(r, &jsz); err != nil {
				f.t.Fatal(err)
			}
			leader = cmp.Or(leader, jsz.Meta.Leader)
		}
		return leader
	}
	clients := map[string]int{}
	for name, r := range f.ask3(nc, "CONNZ", "{}") {
		var connz struct{ Connections []struct{ Name string } }
		if err := json.Unmarshal(r, &connz); err != nil {
			f.t.Fatal(err)
		}
		for _, c := range connz.Connections {
			if strings.HasPrefix(c.Name, "usher ") {
				clients[name]++
			}
		}
	}
	return slices.MaxFunc(slices.Sorted(maps.Keys(clients)), func(a, b string) int { return clients[a] - clients[b] })
}

// watchBus connects as who watches the servers does.
func (f *field) watchBus() *nats.Conn {
	f.t.Helper()
	nc, err := events.Connect(f.t.Context(), events.ConnectOptions{
		URL: f.busURL, CredentialsFile: filepath.Join(f.dir, "bus", events.UserSystem+".creds"), User: events.UserSystem,
		Name: "test", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return nc
}

// ask3 asks all three servers for a report, and gives each by the server's name.
func (f *field) ask3(nc *nats.Conn, report, options string) map[string]json.RawMessage {
	f.t.Helper()
	all := map[string]json.RawMessage{}
	inbox, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING."+report, inbox.Subject, []byte(options)); err != nil {
		f.t.Fatal(err)
	}
	for range 3 {
		m, err := inbox.NextMsg(5 * time.Second)
		if err != nil {
			f.t.Fatalf("%s of %d servers of three: %v", report, len(all), err)
		}
		var r struct {
			Server struct{ Name string }
			Data   json.RawMessage
		}
		if err := json.Unmarshal(m.Data, &r); err != nil {
			f.t.Fatal(err)
		}
		all[r.Server.Name] = r.Data
	}
	return all
}

// lossRow is median and worst of three.
func lossRow(name string, runs []lossResult) string {
	var all []result
	var waited []lossResult
	for _, r := range runs {
		all, waited = append(all, r.result), append(waited, r)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", name,
		figures(all, func(r result) int { return r.people }),
		figures(all, func(r result) int { return r.failed }),
		figures(all, func(r result) int { return r.degraded }),
		times(all, func(r result) time.Duration { return r.degradedFor }),
		times(all, func(r result) time.Duration { return r.normal }),
		times(all, func(r result) time.Duration { return r.slowest }),
		timesOf(waited))
}

func timesOf(runs []lossResult) string {
	slices.SortFunc(runs, func(a, b lossResult) int { return cmp.Compare(a.silence, b.silence) })
	return fmt.Sprintf("%.1f s (%.1f s)", runs[len(runs)/2].silence.Seconds(), runs[len(runs)-1].silence.Seconds())
}
