package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// TestBench is "make bench": it measures the program against floors taken in
// the same run, and prints ratios, since machines and their moods differ.
// Client, server and database share the machine's cores.
func TestBench(t *testing.T) {
	if os.Getenv("USHER_BENCH") == "" {
		t.Skip("run by make bench")
	}
	b := &bench{t: t}
	began := loadAverage()
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"hop", b.hop},
		{"register", b.registration},
		{"sqlite", b.registrationSQLite},
		{"cost12", b.registrationCost12},
		{"whoami", b.whoami},
		{"deliver", b.delivery},
		{"kit", b.kit},
		{"backlog", b.backlog},
		{"outbox", b.outbox},
		{"age", b.outboxAge},
		{"log", b.eventLog},
		{"webhooks", b.webhooks},
		{"login", b.login},
		{"social", b.social},
		{"verify", b.verification},
		{"account", b.account},
		{"revoke", b.revocation},
		{"pages", b.pagesOfLists},
		{"ui-pages", b.uiPages},
		{"console", b.console},
		{"console-tabs", b.consoleTabs},
		{"growth", b.growth},
		{"import", b.imports},
		{"split", b.split},
		{"costs", b.costs},
		{"memory", b.memory},
	} {
		t.Run(part.name, func(t *testing.T) {
			b.t = t
			part.run()
		})
	}
	b.t = t
	b.print(began)
}

// bench collects rows.
type bench struct {
	t    *testing.T // of the part that runs
	rows [][5]string
}

// row is what was measured, the floor beside it, how the two compare, and the goal.
func (b *bench) row(what, measured, floor, ratio, goal string) {
	b.rows = append(b.rows, [5]string{what, measured, floor, ratio, goal})
	b.t.Logf("%s | %s | %s | %s | %s", what, measured, floor, ratio, goal)
}

func (b *bench) print(began string) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tFLOOR\tRATIO\tGOAL")
	for _, r := range b.rows {
		fmt.Fprintln(w, strings.Join(r[:], "\t"))
	}
	w.Flush()
	b.t.Logf("%d cores, load of the machine %s at the beginning, %s at the end\n%s", runtime.NumCPU(), began, loadAverage(), out.String())
}

// load is what a closed loop measured.
type load struct {
	n         int
	wall      time.Duration
	rate      float64       // per second
	server    time.Duration // CPU of server and database, per operation
	database  time.Duration // the database's part of it
	client    time.Duration // CPU of this process, per operation
	memory    int64         // of the program, at most
	p50, p99  time.Duration
	failed    int64
	firstFail string
}

// closedLoop runs n operations with so many in flight.
func (s *system) closedLoop(n, inFlight int, op func(worker, i int) error) load {
	took := make([]time.Duration, n)
	var next, failed atomic.Int64
	var first atomic.Value
	server, database, client := s.cpu(), s.databaseCPU(), ownCPU()
	began := time.Now()
	var wg sync.WaitGroup
	for worker := range inFlight {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				at := time.Now()
				if err := op(worker, i); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
				took[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	wall := time.Since(began)
	l := load{n: n, wall: wall, rate: float64(n) / wall.Seconds(), failed: failed.Load()}
	l.database = (s.databaseCPU() - database) / time.Duration(n)
	l.server = (s.cpu()-server)/time.Duration(n) + l.database
	l.client = (ownCPU() - client) / time.Duration(n)
	slices.Sort(took)
	l.p50, l.p99 = took[n/2], took[n*99/100]
	l.firstFail, _ = first.Load().(string)
	return l
}

// medianOf runs a load three times and gives the one with the median rate.
func medianOf(run func() load) load { return median([]load{run(), run(), run()}) }

func median(loads []load) load {
	slices.SortFunc(loads, func(a, b load) int { return int(a.rate - b.rate) })
	return loads[len(loads)/2]
}

// registrations is a closed loop of native registrations.
func (s *system) registrations(n, inFlight int) load { return s.registrationsEach(0, n, inFlight) }

// registrationsEach is registrations whose clients begin one every so often at most.
func (s *system) registrationsEach(every time.Duration, n, inFlight int) load {
	clients := make([]*client, inFlight)
	transport := &http.Transport{MaxIdleConnsPerHost: inFlight}
	for i := range clients {
		clients[i] = newApp(s.t, s.api(i))
		clients[i].http.Transport = transport
	}
	defer transport.CloseIdleConnections()
	next := make([]time.Time, inFlight)
	l := s.closedLoop(n, inFlight, func(worker, _ int) error {
		time.Sleep(time.Until(next[worker]))
		next[worker] = time.Now().Add(every)
		c := clients[worker]
		f, err := c.initAPI()
		if err != nil {
			return err
		}
		a, err := c.submit(f.ID, submission("", newAddress(), goodPassword))
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || !strings.Contains(string(a.body), `"session_token"`) {
			return fmt.Errorf("register: %d %s", a.status, a.body)
		}
		return nil
	})
	if l.failed > 0 {
		s.t.Errorf("%d of %d registrations failed: %s", l.failed, n, l.firstFail)
	}
	return l
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1e3) }

// registration measures native registrations with session on PostgreSQL,
// bcrypt cost 4, everything on.
func (b *bench) registration() {
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	hash := hashCPU(4)
	s.registrations(500, 8) // warm
	l := medianOf(func() load { return s.registrations(4000, 8) })
	cores := float64(runtime.NumCPU())
	ideal := cores / (hash + l.client).Seconds()
	beyond := l.server - hash
	b.row("registration, PostgreSQL, bcrypt 4, 8 in flight: CPU beyond the hash", ms(beyond), fmt.Sprintf("hash %s, database %s, client %s", ms(hash), ms(l.database), ms(l.client)), "", "≤ 2.00 ms, aim 1.50")
	b.row("  throughput", fmt.Sprintf("%.0f/s, p50 %s, p99 %s", l.rate, ms(l.p50), ms(l.p99)), fmt.Sprintf("cores ÷ (hash + client) = %.0f/s", ideal), fmt.Sprintf("%.0f %%", 100*l.rate/ideal), "≥ 40 %, aim 50")
	more := medianOf(func() load { return s.registrations(4000, 32) })
	b.row("  32 in flight", fmt.Sprintf("%.0f/s, p99 %s", more.rate, ms(more.p99)), fmt.Sprintf("at 8: %.0f/s", l.rate), fmt.Sprintf("%.2f ×", more.rate/l.rate), "not lower")
	commits := b.bareCommits(s.dsn, 8)
	b.row("  bare durable commits of the same database, 8 in flight", fmt.Sprintf("%.0f/s", commits), "", fmt.Sprintf("a registration per %.1f of them", commits/l.rate), "")
}

func (b *bench) registrationSQLite() {
	s := newSystem(b.t, "sqlite", hooks(sessionHook))
	defer s.stop()
	hash := hashCPU(4)
	s.registrations(500, 8)
	l := medianOf(func() load { return s.registrations(3000, 8) })
	sync := diskSync(b.t, s.dir)
	ideal := float64(runtime.NumCPU()) / (hash + l.client).Seconds()
	b.row("registration, SQLite, bcrypt 4, 8 in flight", fmt.Sprintf("%.0f/s, p50 %s, p99 %s", l.rate, ms(l.p50), ms(l.p99)), fmt.Sprintf("%.0f/s; a sync of this disk takes %s", ideal, ms(sync)), fmt.Sprintf("%.0f %%, CPU beyond the hash %s, %d errors, 2 syncs are %.0f %% of p50", 100*l.rate/ideal, ms(l.server-hash), l.failed, 200*sync.Seconds()/l.p50.Seconds()), "0 errors")
}

func (b *bench) registrationCost12() {
	over := hooks(sessionHook)
	over["hashers"] = settings{"algorithm": "bcrypt", "bcrypt": settings{"cost": 12}}
	s := newSystem(b.t, "postgres", over)
	defer s.stop()
	l := medianOf(func() load { return s.registrations(160, 8) })
	floor := float64(runtime.NumCPU()) / hashCPU(12).Seconds()
	b.row("registration, bcrypt 12, 8 in flight", fmt.Sprintf("%.2f/s", l.rate), fmt.Sprintf("the hash alone %.2f/s", floor), fmt.Sprintf("%.1f %%", 100*l.rate/floor), "≥ 97 %")
}

// whoami measures against a bare handler in a process of its own that writes
// the same bytes, asked by the same client.
func (b *bench) whoami() {
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	token := newApp(b.t, s.apis[0]).register(newAddress()).SessionToken
	body := newApp(b.t, s.apis[0]).must("GET", "/sessions/whoami", map[string]string{"X-Session-Token": token}, nil).body
	bare, stop := bareServer(b.t, body)
	defer stop()
	ask := func(base string) func() load {
		transport := &http.Transport{MaxIdleConnsPerHost: 32}
		c := newApp(b.t, base)
		c.http.Transport = transport
		header := map[string]string{"X-Session-Token": token}
		return func() load {
			return s.closedLoop(30000, 32, func(int, int) error {
				a, err := c.do("GET", "/sessions/whoami", header, nil)
				if err == nil && a.status != http.StatusOK {
					err = fmt.Errorf("whoami: %d", a.status)
				}
				return err
			})
		}
	}
	statements := b.statements(s.dsn)
	// In turns, since the machine's mood would count for one of them otherwise.
	askOurs, askBare := ask(s.apis[0]), ask(bare)
	var all, bares []load
	for range 3 {
		bares = append(bares, askBare())
		all = append(all, askOurs())
	}
	statements = b.statements(s.dsn) - statements
	ours, floor := median(all), median(bares)
	b.row("whoami, 32 in flight", fmt.Sprintf("%.0f/s, p99 %s", ours.rate, ms(ours.p99)), fmt.Sprintf("bare handler %.0f/s", floor.rate), fmt.Sprintf("%.0f %%", 100*ours.rate/floor.rate), "≥ 80 %")
	b.row("  transactions in the database meanwhile", fmt.Sprintf("%d for 90,000 whoami", statements), "", fmt.Sprintf("%.4f", float64(statements)/90000), "0 per cached whoami")
}

// delivery measures, open loop at 200 registrations a second, how long after
// the event's commit its background hook is called.
func (b *bench) delivery() {
	e := newEndpoint(b.t)
	e.answer = nil
	timed := e.webHook("timed", settings{"ignore": true})
	timed["config"].(settings)["body"] = "base64://ZnVuY3Rpb24oY3R4KSBjdHguaWRlbnRpdHkuY3JlYXRlZF9hdA==" // function(ctx) ctx.identity.created_at
	s := newSystem(b.t, "postgres", hooks(sessionHook, timed))
	defer s.stop()
	const rate, n, warm = 200, 4000, 400
	s.registrations(warm, 4) // the program and its database get to know their statements
	apps := make(chan *client, 64)
	for range cap(apps) {
		apps <- newApp(b.t, s.apis[0])
	}
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	for range n {
		<-tick.C
		wg.Go(func() {
			app := <-apps
			defer func() { apps <- app }()
			f, err := app.initAPI()
			if err == nil {
				_, err = app.submit(f.ID, submission("", newAddress(), goodPassword))
			}
			if err != nil {
				b.t.Error(err)
			}
		})
	}
	tick.Stop()
	wg.Wait()
	eventually(b.t, 30*time.Second, func() error {
		if got := e.called(); got < n+warm {
			return fmt.Errorf("%d hooks called, want %d", got, n+warm)
		}
		return nil
	})
	var after []time.Duration
	for _, c := range e.calls[warm:] {
		created, err := time.Parse(time.RFC3339Nano, c.body)
		if err != nil {
			b.t.Fatal(err)
		}
		after = append(after, c.at.Sub(created))
	}
	slices.Sort(after)
	sync := diskSync(b.t, s.dir)
	b.row("event's time → background hook called, 200/s open loop", fmt.Sprintf("p50 %s, p99 %s", ms(after[len(after)/2]), ms(after[len(after)*99/100])), fmt.Sprintf("a sync takes %s", ms(sync)), "", "p99 ≤ 10 ms where a sync takes 0.3 ms")
}

// memory measures start to ready, and memory after 100,000 registrations.
func (b *bench) memory() {
	n := 100_000
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	var ready []time.Duration
	for range 3 {
		s.processes["serve"].stop(b.t)
		at := time.Now()
		s.restart("serve")
		ready = append(ready, time.Since(at))
	}
	slices.Sort(ready)
	b.row("start to ready", ms(ready[1]), "", "", "≤ 500 ms")
	s.registrations(n, 16)
	rss := s.processes["serve"].memory(b.t)
	heap := s.metric("go_memstats_heap_alloc_bytes")
	live := s.metric("go_gc_heap_live_bytes")
	b.row(fmt.Sprintf("memory after %d registrations", n), fmt.Sprintf("%d MiB resident, live heap %.0f MiB, heap in use %.0f MiB", rss>>20, live/(1<<20), heap/(1<<20)), "", "", "≤ 200 MiB resident, ≤ 60 MiB live")
}
