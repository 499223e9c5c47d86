package e2e_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/storetest"
)

// console measures the first byte of each page with a million people, and ten times
// as many events.
func (b *bench) console() {
	const people = 1_000_000
	began := time.Now()
	s, operator := newFilledSystem(b.t, people)
	defer s.stop()
	b.t.Logf("%d people and %d events are made in %s", people, eventsOfPerson*people, time.Since(began).Round(time.Second))
	for _, page := range consolePages(s.somebody()) {
		took := operator.firstBytes(page[1], 30)
		b.row(fmt.Sprintf("console, %s: first byte, %d people, %d events", page[0], people, eventsOfPerson*people),
			fmt.Sprintf("p50 %s, most %s", ms(took[len(took)/2]), ms(took[len(took)-1])), "", "", "≤ 50 ms")
	}
}

// newFilledSystem is a system with so many people, and an operator who is signed in.
func newFilledSystem(t *testing.T, people int) (*system, *client) {
	t.Helper()
	dsn := storetest.PostgreSQL(t)
	fillConsole(t, dsn, people, nil)
	s := newSystem(t, "postgres", merge(verifying(settings{"hook": "show_verification_ui"}, sessionHook), settings{"dsn": dsn}))
	for range 60 { // a page of mails whose recipients are sealed as the program does it
		newApp(t, s.apis[0]).register(newAddress())
	}
	operator := signInOperator(t, s.admins[0], s.setUpLink())
	eventually(t, 60*time.Second, func() error {
		a, err := operator.do("GET", "/console/mail", nil, nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("GET /console/mail = %d", a.status)
		}
		return err
	})
	return s, operator
}

// TestTheConsoleOfMany is the short form of "make bench PART=console", without times:
// each page comes, and none shows that something is missing.
func TestTheConsoleOfMany(t *testing.T) {
	t.Parallel()
	s, operator := newFilledSystem(t, 10_000)
	for _, page := range consolePages(s.somebody()) {
		if text := operator.page(page[1]); strings.Contains(text, "cannot be shown") {
			t.Errorf("page %s says %q", page[0], notes(text))
		}
	}
}

// somebody is the id of one of those that [fillConsole] made.
func (s *system) somebody() (id string) {
	s.t.Helper()
	if err := s.query(`SELECT md5('person 4711')::uuid::text`, &id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

// firstBytes opens a page n times and tells how long its first byte took, the
// shortest first.
func (c *client) firstBytes(path string, n int) (took []time.Duration) {
	c.t.Helper()
	for range n {
		var began, first time.Time
		ctx := httptrace.WithClientTrace(c.t.Context(), &httptrace.ClientTrace{
			WroteRequest:         func(httptrace.WroteRequestInfo) { began = time.Now() },
			GotFirstResponseByte: func() { first = time.Now() },
		})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		a, err := exchange(c.http, r)
		if err != nil || a.status != http.StatusOK {
			c.t.Fatalf("GET %s = %v %+v", path, err, a)
		}
		took = append(took, first.Sub(began))
	}
	slices.Sort(took)
	return took
}

// consoleTabs measures what open tabs with the live list cost while people register:
// CPU of the console, and statements and commits of the registration path.
func (b *bench) consoleTabs() {
	d := countedDatabase(b.t)
	s := newSystem(b.t, "parts", merge(hooks(sessionHook), settings{"dsn": d.dsn}))
	defer s.stop()
	operator := signInOperator(b.t, s.startConsole(), s.setUpLink())
	s.registrations(300, 8) // warm
	const rate, seconds = 300, 8
	for _, tabs := range []int{0, 1, 5} {
		closeTabs := operator.openTabs(tabs)
		cpu, before := procCPU(s.processes["console"].cmd.Process.Pid, false), b.counted(d.dsn)
		done := make(chan struct{})
		time.AfterFunc(seconds*time.Second, func() { close(done) })
		began := time.Now()
		all := s.arrive(rate, done)
		wall := time.Since(began)
		cpu = procCPU(s.processes["console"].cmd.Process.Pid, false) - cpu
		after := b.counted(d.dsn)
		events := closeTabs()
		n := float64(len(all))
		b.row(fmt.Sprintf("console with %d open tabs, %.0f registrations/s of %d", tabs, n/wall.Seconds(), rate),
			fmt.Sprintf("CPU of the console %.1f %% of a core, %d messages to the tabs", 100*cpu.Seconds()/wall.Seconds(), events), "", "", "")
		b.row("  of the database, for each registration",
			fmt.Sprintf("%.2f statements that write, %.2f that read, %.2f commits of both", float64(after.writes-before.writes)/n,
				float64(after.reads-before.reads)/n, float64(after.commits-before.commits)/n), "", "", "not more")
	}
}

// countedDatabase is a PostgreSQL of its own that counts statements.
func countedDatabase(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t)
	d.exec(`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`)
	d.stop()()
	eventually(t, 20*time.Second, func() error { return d.try(`CREATE EXTENSION IF NOT EXISTS pg_stat_statements`) })
	return d
}

// try runs a statement.
func (d *database) try(text string) error {
	db, err := sql.Open("postgres", d.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(text)
	return err
}

func (d *database) exec(text string) {
	d.t.Helper()
	if err := d.try(text); err != nil {
		d.t.Fatalf("%v: %s", err, text)
	}
}

// counts are statements and transactions of a database until now.
type counts struct{ writes, reads, commits int }

func (b *bench) counted(dsn string) (c counts) {
	time.Sleep(1500 * time.Millisecond) // a connection tells its commits once a second
	const statements = `SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query !~* 'pg_stat' AND query ~* `
	s := system{t: b.t, dsn: dsn}
	for text, into := range map[string]*int{
		statements + `'^\s*(WITH|INSERT|UPDATE|DELETE)'`: &c.writes,
		statements + `'^\s*SELECT'`:                      &c.reads,
	} {
		if err := s.query(text, into); err != nil {
			b.t.Fatal(err)
		}
	}
	c.commits = b.statements(dsn)
	return c
}

// openTabs opens the live list so many times. What it returns closes them and tells
// how many messages came.
func (c *client) openTabs(n int) (closeAll func() (messages int)) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	came := make([]int, n)
	var wg sync.WaitGroup
	for tab := range n {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+liveList, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, err := (&http.Client{Jar: c.http.Jar}).Do(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			c.t.Fatalf("open %s: %v %+v", liveList, err, resp)
		}
		wg.Go(func() {
			defer resp.Body.Close()
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "data:") {
					came[tab]++
				}
			}
		})
	}
	return func() (messages int) {
		cancel()
		wg.Wait()
		for _, n := range came {
			messages += n
		}
		return messages
	}
}

// liveList is where the page of registrations gets what is new.
const liveList = "/console/registrations/stream"
