package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/store"
)

// statusOf is the worst that was found.
func statusOf(f findings) Status {
	worst := Green
	for _, one := range f {
		if one.Status.Worse(worst) {
			worst = one.Status
		}
	}
	return worst
}

func TestClocksApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ahead, within time.Duration
		want          Status
	}{
		{0, 0, Green},
		{900 * time.Millisecond, 0, Green},
		{2 * time.Second, 0, Yellow},
		{-2 * time.Second, 0, Yellow},
		{6 * time.Second, 0, Red},
		{-6 * time.Second, 0, Red},
		{1500 * time.Millisecond, time.Second, Green}, // it may be half a second
	} {
		var f findings
		judgeClock(&f, checkClockBus, "it", c.ahead, c.within)
		if got := statusOf(f); got != c.want {
			t.Errorf("judgeClock(%s within %s) = %s, want %s", c.ahead, c.within, got, c.want)
		}
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		used, most uint64
		want       Status
		says       string
	}{
		{0, 0, Green, ""},
		{1 << 30, 0, Green, ""}, // no limit
		{79 << 20, 100 << 20, Green, ""},
		{80 << 20, 100 << 20, Yellow, "80 %"},
		{999 << 20, 1000 << 20, Yellow, "99 %"}, // room for a thousand events and more
		{1<<30 - 64<<10, 1 << 30, Yellow, "99 %"},
		{1<<30 - 63<<10, 1 << 30, Red, "none is lost"},
		{3 << 20, 1 << 20, Red, "wait in the database"}, // a limit that came later
	} {
		var f findings
		judgeRoom(&f, "it", c.used, c.most, "more")
		if got := statusOf(f); got != c.want || got != Green && (f[0].Mend != "more" || !strings.Contains(f[0].Seen, c.says)) {
			t.Errorf("judgeRoom(%d of %d) = %+v, want %s with %q", c.used, c.most, f, c.want, c.says)
		}
	}
}

func TestCertificatesEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d := Doctor{Now: func() time.Time { return now }}
	day := 24 * time.Hour
	for _, c := range []struct {
		begins, ends time.Duration
		host         string
		want         Status
	}{
		{-day, 60 * day, "", Green},
		{-day, 29 * day, "", Yellow},
		{-day, 6 * day, "", Red},
		{-day, -time.Second, "", Red},
		{day, 60 * day, "", Red},
		{-day, 60 * day, "id.example.com", Green},
		{-day, 60 * day, "other.example.com", Red},
	} {
		leaf := &x509.Certificate{NotBefore: now.Add(c.begins), NotAfter: now.Add(c.ends), DNSNames: []string{"id.example.com"}}
		var f findings
		d.judgeCertificate(&f, checkBusCerts, "it", leaf, c.host)
		if got := statusOf(f); got != c.want || f[0].Mend == "" && got != Green {
			t.Errorf("judgeCertificate from %s to %s for %q = %+v, want %s", c.begins, c.ends, c.host, f, c.want)
		}
	}
}

// TestPostgresSettings changes one thing after another of a server that is well.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	judges := []func(*findings, store.PostgresFacts, *store.InspectedDSN){version, durability, primary, replication, connections, timeLimit, encryption, vacuum}
	for _, c := range []struct {
		name   string
		change func(*store.PostgresFacts, *store.InspectedDSN)
		want   string // the one check that is not green
		status Status
	}{
		{"well", func(*store.PostgresFacts, *store.InspectedDSN) {}, "", Green},
		{"old", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.VersionNumber = 120_005 }, checkVersion, Red},
		{"no fsync", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.Fsync = false }, checkDurable, Red},
		{"no full pages", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.FullPageWrites = false }, checkDurable, Red},
		{"commits do not wait", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.SynchronousCommit = "off" }, checkDurable, Red},
		{"standby", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.Standby = true }, checkPrimary, Red},
		{"read-only", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.ReadOnly = true }, checkPrimary, Red},
		{"no synchronous standby", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.SynchronousStandbys = "b" }, checkReplicas, Red},
		{"asynchronous", func(p *store.PostgresFacts, _ *store.InspectedDSN) {
			p.Replicas = []store.Replica{{Name: "b", State: "streaming", Sync: "async"}}
		}, checkReplicas, Yellow},
		{"may not see standbys", func(p *store.PostgresFacts, _ *store.InspectedDSN) {
			p.Monitors, p.SynchronousStandbys, p.Replicas = false, "b", []store.Replica{{}}
		}, checkReplicas, Skipped},
		{"late standby", func(p *store.PostgresFacts, _ *store.InspectedDSN) {
			p.SynchronousStandbys, p.Replicas = "b", []store.Replica{{Name: "b", State: "streaming", Sync: "sync", Lag: time.Minute}}
		}, checkReplicas, Yellow},
		{"pool too large", func(_ *store.PostgresFacts, d *store.InspectedDSN) { d.Conns = 500 }, checkConnections, Red},
		{"nearly all in use", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.Connections = 95 }, checkConnections, Yellow},
		{"no time limit", func(_ *store.PostgresFacts, d *store.InspectedDSN) { d.StatementTimeout = 0 }, checkLimit, Yellow},
		{"in the clear", func(_ *store.PostgresFacts, d *store.InspectedDSN) { d.Loopback = false }, checkEncrypted, Red},
		{"no vacuum", func(p *store.PostgresFacts, _ *store.InspectedDSN) { p.Autovacuum = false }, checkVacuum, Red},
	} {
		p := store.PostgresFacts{Version: "15.4", VersionNumber: 150_004, Fsync: true, FullPageWrites: true, SynchronousCommit: "on", Autovacuum: true, Monitors: true, MaxConnections: 100, Connections: 10}
		dsn := store.InspectedDSN{Conns: 8, Loopback: true, Hosts: 1, StatementTimeout: 5 * time.Second}
		c.change(&p, &dsn)
		var f findings
		for _, judge := range judges {
			judge(&f, p, &dsn)
		}
		var bad findings
		for _, one := range f {
			if one.Status != Green {
				bad = append(bad, one)
			}
		}
		if c.want == "" && len(bad) > 0 || c.want != "" && (len(bad) != 1 || bad[0].Check != c.want || bad[0].Status != c.status || bad[0].Mend == "" && c.status != Skipped) {
			t.Errorf("%s: %+v, want %s %s alone", c.name, bad, c.status, c.want)
		}
	}
}

func TestCopiesOfTheStream(t *testing.T) {
	t.Parallel()
	three := "nats://a:1,nats://b:1,nats://c:1"
	for _, c := range []struct {
		url   string
		state events.StreamState
		want  Status
	}{
		{"", events.StreamState{Replicas: 1, Peers: 1}, Green},
		{three, events.StreamState{Replicas: 3, Peers: 3, Leader: "a"}, Green},
		{three, events.StreamState{Replicas: 3, Peers: 3, Leader: "a", Behind: []string{"b is away"}}, Yellow},
		{three, events.StreamState{Replicas: 3, Peers: 3}, Red},
		{three, events.StreamState{Replicas: 1, Peers: 1, Leader: "a"}, Yellow},
	} {
		d := Doctor{Config: &config.Config{}}
		d.Config.Bus.URL = c.url
		var f findings
		d.judgeCopies(&f, c.state)
		if got := statusOf(f); got != c.want {
			t.Errorf("judgeCopies(%+v) = %s, want %s", c.state, got, c.want)
		}
	}
}

// away is a bus of which the first servers do not answer.
func away(t *testing.T, gone, all int, why error) *Doctor {
	t.Helper()
	keys, err := events.LoadOrMakeKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bus{servers: map[string]error{}, creds: map[string][]byte{}}
	for _, user := range events.Users() {
		if b.creds[user], err = keys.Credentials(user); err != nil {
			t.Fatal(err)
		}
	}
	for n := range all {
		b.servers[fmt.Sprintf("tls://n%d:4222", n)] = nil
		if n < gone {
			b.servers[fmt.Sprintf("tls://n%d:4222", n)] = why
		}
	}
	d := &Doctor{Config: &config.Config{}, Now: time.Now}
	d.Config.Bus.URL = "tls://n0:4222"
	if _, err := d.bus.get(t.Context(), func(context.Context) (*bus, error) { return b, nil }); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMostServersAreAway is one cause: nothing that streams do is another finding.
func TestMostServersAreAway(t *testing.T) {
	t.Parallel()
	refused := errors.New("nats: connection refused")
	for _, c := range []struct {
		gone, all int
		want      Status
	}{{0, 3, Green}, {1, 3, Yellow}, {2, 3, Red}, {3, 3, Red}, {1, 2, Yellow}} {
		d := away(t, c.gone, c.all, refused)
		f := d.lookBus(t.Context())
		if got := statusOf(f); got != c.want {
			t.Errorf("%d of %d are away: %s, want %s", c.gone, c.all, got, c.want)
		}
		if c.gone != 2 {
			continue
		}
		if !strings.Contains(f[0].Seen, "1 of 3 servers answer") || !strings.HasPrefix(f[0].Mend, "start") {
			t.Errorf("2 of 3 are away: %+v, want it to say so", f[0])
		}
		for _, look := range []func(context.Context) findings{d.lookStream, d.lookMinting} {
			for _, one := range look(t.Context()) {
				if one.Status != Skipped || !strings.Contains(one.Seen, checkBus) {
					t.Errorf("2 of 3 are away: %+v, want it to be skipped", one)
				}
			}
		}
	}
}

func TestCredentialsThatNobodyTried(t *testing.T) {
	t.Parallel()
	f := away(t, 1, 1, errors.New("nats: connection refused")).lookCredentials(t.Context())
	if len(f) != 1 || f[0].Status != Green || !strings.Contains(f[0].Seen, "not tried") {
		t.Errorf("credentials without a server are %+v, want them to be not tried", f)
	}
}

func TestServersWithAnUnknownCertificate(t *testing.T) {
	t.Parallel()
	unknown := fmt.Errorf("connect: %w", x509.UnknownAuthorityError{})
	d := away(t, 1, 1, unknown)
	if f := d.lookBus(t.Context()); !strings.HasPrefix(f[0].Mend, "set bus.tls.ca to the ca.pem") {
		t.Errorf("without bus.tls.ca: %+v, want it to be asked for", f)
	}
	d.Config.Bus.TLS.CA = "other.pem"
	if f := d.lookBus(t.Context()); !strings.HasPrefix(f[0].Mend, "put into bus.tls.ca") {
		t.Errorf("with another authority: %+v, want it to be named", f)
	}
}

func TestHostsOfTheDatabase(t *testing.T) {
	t.Parallel()
	writer := func(name, system string, timeline uint64, used int) store.Host {
		return store.Host{Name: name, Writes: true, System: system, Timeline: timeline, Used: used, LastEvent: int64(used) * 100}
	}
	const (
		writes = " take writes at once: what is written to one the others lack, and people who registered are unknown there"
		steps  = ". Step by step: deploy/RUNBOOK.md#two-databases-take-writes"
	)
	standby := store.Host{Name: "b", System: "1"}
	for _, c := range []struct {
		name  string
		hosts []store.Host
		want  Status
		seen  string // what the one finding begins with, with what is to be done
		mend  string
	}{
		{"a pair", []store.Host{writer("a", "1", 1, 3), standby}, Green, "a takes writes", ""},
		{"promoted", []store.Host{{Name: "a", System: "1"}, writer("b", "1", 2, 3)}, Green, "b takes writes", ""},
		{"no standby", []store.Host{writer("a", "1", 1, 3), {Name: "b", Err: errors.New("connection refused")}}, Yellow, "b: connection refused", "start it"},
		{"no password there", []store.Host{writer("a", "1", 1, 3), {Name: "b", Err: &store.Refusal{Code: "28P01"}}}, Yellow, "b:", "password"},
		{"another cluster", []store.Host{writer("a", "1", 1, 3), {Name: "b", System: "2"}}, Red, "b has the data of another", "pg_basebackup from a"},
		{
			"a former primary",
			[]store.Host{writer("a", "1", 1, 9), writer("b", "1", 2, 3)},
			Red, "b (timeline 2, event log up to 300, 3 connections) and a (timeline 1, event log up to 900, 9 connections)" + writes,
			"keep b, which was promoted last: stop a now, and keep what is there. Then make it a standby (pg_rewind, or pg_basebackup)" + steps,
		},
		{
			"two on one timeline",
			[]store.Host{writer("a", "1", 2, 1), writer("b", "1", 2, 3)},
			Red, "b (timeline 2, event log up to 300, 3 connections) and a (timeline 2, event log up to 100, 1 connections)" + writes,
			"choose one, by the event log: stop the other now, and keep what is there. Then make it a standby anew (pg_basebackup; pg_rewind sees no difference on one timeline)" + steps,
		},
		{
			"two clusters",
			[]store.Host{writer("a", "1", 1, 9), writer("b", "2", 1, 3)},
			Red, "a (timeline 1, event log up to 900, 9 connections) and b (timeline 1, event log up to 300, 3 connections) take writes at once, and are of different clusters",
			"take out of dsn those that are not Usher's, before a process writes there",
		},
		{"nobody", []store.Host{{Name: "a", System: "1"}, standby}, Red, "none takes writes", "pg_promote"},
		{"one by two names", []store.Host{
			{Name: "a", System: "1", Started: "12:00", Writes: true, Timeline: 1}, {Name: "b", System: "1", Started: "12:00", Writes: true, Timeline: 1},
		}, Yellow, "b and a are one server", "take one out of dsn"},
	} {
		var f findings
		judgeHosts(&f, c.hosts)
		if len(f) != 1 || f[0].Status != c.want || !strings.Contains(f[0].Seen, c.seen) || !strings.Contains(f[0].Mend, c.mend) {
			t.Errorf("%s: %+v, want one, %s, with %q → %q", c.name, f, c.want, c.seen, c.mend)
		}
		if strings.Contains(c.seen, "at once") && (f[0].Seen != c.seen || f[0].Mend != c.mend) {
			t.Errorf("%s: %+v, want %q → %q and no more", c.name, f, c.seen, c.mend)
		}
	}
}

// TestALookThatNeverEnds is left alone when its time is over, and one that keeps to
// its context is heard.
func TestALookThatNeverEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, end <-chan struct{}) findings
		took time.Duration
		seen string
	}{
		{"frozen", func(_ context.Context, end <-chan struct{}) findings { <-end; return nil }, 6 * time.Second, "no answer within 5s"},
		{"patient", func(ctx context.Context, _ <-chan struct{}) (f findings) {
			<-ctx.Done()
			f.add(Red, checkBus, "late", "x")
			return f
		}, 5 * time.Second, "late"},
		{"broken", func(context.Context, <-chan struct{}) findings { panic("at the disco") }, 0, "broke off: at the disco"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				defer close(end)
				began := time.Now()
				f := new(Doctor).within(t.Context(), look{names: []Check{{checkBus, ""}}, run: func(_ *Doctor, ctx context.Context) findings { return c.run(ctx, end) }})
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				if len(f) != 1 || f[0].Status != Red || f[0].Check != checkBus || !strings.Contains(f[0].Seen, c.seen) || f[0].Mend == "" {
					t.Errorf("findings are %+v, want one that says %q", f, c.seen)
				}
			})
		})
	}
}

func TestDatabaseThatRefuses(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"28P01": "password", "28000": "createuser", "3D000": "createdb", "53300": "max_connections", "53100": "make room", "57P03": "log"} {
		if got := mendRefused(fmt.Errorf("open: %w", &store.Refusal{Code: code})); !strings.Contains(got, want) {
			t.Errorf("mendRefused(%s) = %q, want %q in it", code, got, want)
		}
	}
	if got := mendRefused(errors.New("connection refused")); !strings.Contains(got, "start it") {
		t.Errorf("mendRefused without a code = %q", got)
	}
}

func TestProcessOfAnotherBus(t *testing.T) {
	t.Parallel()
	d := Doctor{Config: &config.Config{}}
	d.Config.Bus.URL = "nats://a:1,nats://b:1"
	for uses, want := range map[string]Status{"nats://b:1,nats://a:1": Green, "nats://c:1": Yellow} {
		name := "servers"
		info := &dto.MetricFamily{Metric: []*dto.Metric{{Label: []*dto.LabelPair{{Name: &name, Value: &uses}}}}}
		var f findings
		if d.judgeBus(&f, info); len(f) != 1 || f[0].Status != want {
			t.Errorf("judgeBus of %s = %+v, want %s", uses, f, want)
		}
	}
	var f findings
	if d.judgeBus(&f, nil); len(f) != 1 || f[0].Status != Skipped {
		t.Errorf("judgeBus without that metric = %+v, want it to be skipped", f)
	}
}
