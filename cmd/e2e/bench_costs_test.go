package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// split compares a registration in parts (two api, session and hooks processes each, a
// bus of its own) with one in the one process, in turns.
func (b *bench) split() {
	one := newSystem(b.t, "postgres", hooks(sessionHook))
	defer one.stop()
	parts := newSystem(b.t, "parts", hooks(sessionHook))
	defer parts.stop()
	hash := hashCPU(4)
	one.registrations(500, 8) // warm
	parts.registrations(500, 8)
	var together, apart []load
	for range 3 {
		together = append(together, one.registrations(3000, 8))
		apart = append(apart, parts.registrations(3000, 8))
	}
	o, p := median(together), median(apart)
	b.row("registration in parts, PostgreSQL, 8 in flight: CPU beyond the hash", ms(p.server-hash),
		fmt.Sprintf("one process %s, hash %s", ms(o.server-hash), ms(hash)), fmt.Sprintf("%.2f ×", (p.server-hash).Seconds()/(o.server-hash).Seconds()), "≤ 1.5 ×")
	b.row("  throughput", fmt.Sprintf("%.0f/s, p50 %s, p99 %s", p.rate, ms(p.p50), ms(p.p99)), fmt.Sprintf("%.0f/s, p50 %s, p99 %s", o.rate, ms(o.p50), ms(o.p99)), fmt.Sprintf("%.2f ×", p.rate/o.rate), "")
}

// costs measures what each kind of request costs each part of a system in parts: CPU,
// what the database writes and syncs, and what goes over the bus.
func (b *bench) costs() {
	b.row("hash of a password", "Argon2id, 19 MiB, 2 iterations: "+ms(defaultHashCPU()), "bcrypt 12: "+ms(hashCPU(12)), "", "")
	plain := b.newCounted(hooks(sessionHook))
	defer plain.stop()
	const n = 3000
	registration := plain.spent(n, func() { plain.registrations(n, 8) })
	b.spentRow("registration with session", registration, plain.hash)
	app := newApp(b.t, plain.apis[0])
	people := make([]string, 256)
	var token string
	for i := range people {
		people[i] = newAddress()
		token = app.register(people[i]).SessionToken
	}
	b.spentRow("login", plain.spent(n, func() { plain.logins(people, n, 8) }), plain.hash)
	b.spentRow("whoami, from memory", plain.spent(10*n, func() { plain.whoami(token, 10*n) }), 0)

	hooked := b.newCounted(hooks(sessionHook))
	defer hooked.stop()
	sink := newEndpoint(b.t)
	hooked.webhook("add", "customers", sink.URL, "--events", "identity.created")
	b.spentRow("one webhook more", hooked.spent(n, func() { hooked.registrations(n, 8) }).minus(registration), 0)

	mailing := b.newCounted(verifying(settings{"hook": "show_verification_ui"}, sessionHook))
	defer mailing.stop()
	b.spentRow("one verification mail more, development mailbox", mailing.spent(n, func() { mailing.registrations(n, 8) }).minus(registration), 0)
}

// spender is a system whose bus and database tell what they have done.
type spender struct {
	*system
	d       *database
	hash    time.Duration
	monitor string
}

func (b *bench) newCounted(extra settings) *spender {
	d := newDatabase(b.t)
	c := &spender{system: newSystem(b.t, "parts", merge(extra, settings{"dsn": d.dsn})), d: d, hash: hashCPU(4)}
	port := freePort(b.t)
	c.monitor = fmt.Sprintf("http://127.0.0.1:%d", port)
	bus := c.processes["nats"]
	bus.args = append(bus.args, "-m", fmt.Sprint(port))
	bus.stop(b.t)
	bus.start(b.t)
	bus.waitReady(b.t, c.monitor+"/healthz")
	c.signsIn()
	c.registrations(500, 8) // warm
	return c
}

// spending is what a system has spent until now, or for one operation.
type spending struct {
	cpu                                       map[string]float64 // seconds by part
	wal, walSyncs, commits, messages, traffic float64            // of the bus: in and out
}

func (s spending) minus(former spending) spending { return s.plus(former, -1) }

func (s spending) plus(o spending, times float64) spending {
	sum := spending{
		cpu: map[string]float64{}, wal: s.wal + times*o.wal, walSyncs: s.walSyncs + times*o.walSyncs, commits: s.commits + times*o.commits,
		messages: s.messages + times*o.messages, traffic: s.traffic + times*o.traffic,
	}
	for _, part := range spenders {
		sum.cpu[part] = s.cpu[part] + times*o.cpu[part]
	}
	return sum
}

func (s spending) over(n int) spending { return spending{}.plus(s, 1/float64(n)) }

var spenders = []string{"api", "session", "hooks", "nats", "database"}

// spent is what each of n operations costs, with what follows from it.
func (c *spender) spent(n int, run func()) spending {
	before := c.until()
	run()
	eventually(c.t, 60*time.Second, func() error {
		if waiting := c.metric("usher_outbox_depth"); waiting > 0 {
			return fmt.Errorf("%.0f events wait", waiting)
		}
		return nil
	})
	return c.until().minus(before).over(n)
}

// until is what was spent until now, when all is quiet.
func (c *spender) until() spending {
	time.Sleep(3 * time.Second) // the last hooks; and connections tell what they did once a second
	s := spending{cpu: map[string]float64{"database": c.databaseCPU().Seconds()}}
	for name, p := range c.processes {
		part, _, _ := strings.Cut(name, "-")
		s.cpu[part] += procCPU(p.cmd.Process.Pid, false).Seconds()
	}
	for text, into := range map[string]*float64{
		`SELECT wal_bytes FROM pg_stat_wal`:                                           &s.wal,
		`SELECT wal_sync FROM pg_stat_wal`:                                            &s.walSyncs,
		`SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`: &s.commits,
	} {
		if err := c.query(text, into); err != nil {
			c.t.Fatal(err)
		}
	}
	var varz struct {
		InMsgs   float64 `json:"in_msgs"`
		OutMsgs  float64 `json:"out_msgs"`
		InBytes  float64 `json:"in_bytes"`
		OutBytes float64 `json:"out_bytes"`
	}
	resp, err := http.Get(c.monitor + "/varz")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&varz); err != nil {
		c.t.Fatal(err)
	}
	s.messages, s.traffic = varz.InMsgs+varz.OutMsgs, varz.InBytes+varz.OutBytes
	return s
}

// whoami is a closed loop with one session.
func (c *spender) whoami(token string, n int) load {
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	app := newApp(c.t, c.apis[0])
	app.http.Transport = transport
	return c.closedLoop(n, 8, func(int, int) error {
		a, err := app.do("GET", "/sessions/whoami", map[string]string{"X-Session-Token": token}, nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("whoami: %d", a.status)
		}
		return err
	})
}

// spentRow prints what one operation costs; the hash of a password stands apart.
func (b *bench) spentRow(what string, s spending, hash time.Duration) {
	var parts []string
	for _, part := range spenders {
		cpu := s.cpu[part]
		if part == "api" {
			cpu -= hash.Seconds()
		}
		parts = append(parts, fmt.Sprintf("%s %.3f", part, 1e3*cpu))
	}
	b.row("cost of "+what+": CPU in ms", strings.Join(parts, ", "), "hash "+ms(hash), "", "")
	b.row("  database, bus", fmt.Sprintf("%.1f kB of WAL, %.2f commits, %.2f syncs; %.1f messages, %.1f kB", s.wal/1e3, s.commits, s.walSyncs, s.messages, s.traffic/1e3), "", "", "")
}
