package e2e_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/store"
)

// growth measures registration, login and whoami with ten thousand and with a million
// identities in the database, in turns, and prints the plans of what they ask it.
func (b *bench) growth() {
	small, large := newGrown(b.t, 10_000), newGrown(b.t, 1_000_000)
	defer small.s.stop()
	defer large.s.stop()
	for _, kind := range []struct {
		what string
		run  func(*grown) load
	}{
		{"registration", func(g *grown) load { return g.s.registrations(2000, 8) }},
		{"login", func(g *grown) load { return g.logins(2000, 8) }},
		{"whoami, not from memory", func(g *grown) load { return g.whoamis(4000, 8) }},
	} {
		kind.run(small) // warm
		kind.run(large)
		var few, many []load
		for range 3 {
			few, many = append(few, kind.run(small)), append(many, kind.run(large))
		}
		f, m := median(few), median(many)
		b.row(kind.what+": CPU with 1,000,000 identities", ms(m.server)+", database "+ms(m.database),
			fmt.Sprintf("with 10,000: %s, database %s", ms(f.server), ms(f.database)), fmt.Sprintf("%.2f ×", m.server.Seconds()/f.server.Seconds()), "≤ 1.2 ×")
		b.row("  p50", ms(m.p50), ms(f.p50), fmt.Sprintf("%.2f ×", m.p50.Seconds()/f.p50.Seconds()), "≤ 1.2 ×")
	}
	for what, tables := range map[string]string{"identity, with credential, address, grant and one session": "'identities','credentials','addresses','grants','sessions'", "event": "'event_log'"} {
		var bytes, rows float64
		for text, into := range map[string]*float64{
			`SELECT sum(pg_total_relation_size(t)) FROM unnest(ARRAY[` + tables + `]::regclass[]) t`: &bytes,
			`SELECT reltuples FROM pg_class WHERE oid = (ARRAY[` + tables + `]::regclass[])[1]`:      &rows,
		} {
			if err := large.s.query(text, into); err != nil {
				b.t.Fatal(err)
			}
		}
		b.row("disk for each "+what, fmt.Sprintf("%.0f bytes, indexes included", bytes/rows), "", "", "")
	}
	b.t.Logf("plans with %d identities:\n%s", large.people, strings.Join(large.plans(), "\n"))
}

// TestGrownDatabase is the short form of "make bench PART=growth", without times: no
// statement of a registration, a login or a whoami reads a table from end to end.
func TestGrownDatabase(t *testing.T) {
	t.Parallel()
	g := newGrown(t, 10_000)
	for _, plan := range g.plans() {
		if scan := wholeTable.FindString(plan); scan != "" {
			t.Errorf("%s in\n%s", scan, plan)
		}
	}
}

// wholeTable is how PostgreSQL says that it reads each row of a table that grows
// with the number of people.
var wholeTable = regexp.MustCompile(`Seq Scan on (identities|credentials|addresses|sessions|grants|event_log|messages)\b`)

// grown is a system whose database holds many people.
type grown struct {
	s      *system
	d      *database
	people int
	next   atomic.Int64 // each is asked for once
	order  []int
}

// newGrown fills a database of its own.
func newGrown(t *testing.T, people int) *grown {
	t.Helper()
	d := newDatabase(t)
	d.exec(`ALTER SYSTEM SET session_preload_libraries = 'auto_explain'`)
	d.exec(`ALTER SYSTEM SET logging_collector = on`)
	d.exec(`CREATE EXTENSION IF NOT EXISTS pgcrypto`)
	d.stop()()
	eventually(t, 20*time.Second, func() error { return d.try(`SELECT 1`) })
	s := newSystem(t, "postgres", merge(hooks(sessionHook), settings{"dsn": d.dsn}))
	s.processes["serve"].stop(t)
	db, err := s.database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := db.Key(store.KeyAddress)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	d.exec(`TRUNCATE event_log, outbox`) // what the start has told
	fillConsole(t, d.dsn, people, key)
	d.exec(`CHECKPOINT`)
	s.restart("serve")
	g := &grown{s: s, d: d, people: people}
	for _, n := range rand.Perm(people) {
		if n++; n%7 != 0 && n%50 != 0 { // their session is revoked, they are inactive
			g.order = append(g.order, n)
		}
	}
	return g
}

// somebody gives another one each time.
func (g *grown) somebody() int { return g.order[int(g.next.Add(1))%len(g.order)] }

// logins is a closed loop of logins, each of another one.
func (g *grown) logins(n, inFlight int) load {
	people := make([]string, n)
	for i := range people {
		people[i] = filledAddress(g.somebody())
	}
	return g.s.logins(people, n, inFlight)
}

// whoamis is a closed loop of whoami, each with another one's session.
func (g *grown) whoamis(n, inFlight int) load {
	transport := &http.Transport{MaxIdleConnsPerHost: inFlight}
	defer transport.CloseIdleConnections()
	c := newApp(g.s.t, g.s.apis[0])
	c.http.Transport = transport
	l := g.s.closedLoop(n, inFlight, func(int, int) error {
		a, err := c.do("GET", "/sessions/whoami", map[string]string{"X-Session-Token": filledToken(g.somebody())}, nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("whoami: %d %s", a.status, a.body)
		}
		return err
	})
	if l.failed > 0 {
		g.s.t.Errorf("%d of %d whoami failed: %s", l.failed, n, l.firstFail)
	}
	return l
}

// plans are those of all statements of a registration, a login and a whoami, as the
// database carried them out, each once.
func (g *grown) plans() []string {
	g.s.t.Helper()
	for _, set := range []string{`log_min_duration = 0`, `log_analyze = on`, `log_buffers = on`, `log_timing = off`} {
		g.d.exec(`ALTER SYSTEM SET auto_explain.` + set)
	}
	g.d.exec(`SELECT pg_reload_conf()`)
	defer g.d.exec(`SELECT pg_reload_conf()`)
	defer g.d.exec(`ALTER SYSTEM RESET auto_explain.log_min_duration`)
	before := len(g.d.log())
	g.s.processes["serve"].stop(g.s.t)
	g.s.restart("serve") // with connections that explain
	for range 8 {        // plans for any parameters come after five with the given ones
		g.s.registrations(1, 1)
		g.logins(1, 1)
		g.whoamis(1, 1)
	}
	seen := map[string]string{}
	for _, found := range explained.FindAllStringSubmatch(g.d.log()[before:], -1) {
		if text := strings.Join(strings.Fields(found[1]), " "); ofPeople.MatchString(text) {
			seen[text] = found[1] + found[2]
		}
	}
	if len(seen) < 5 {
		g.s.t.Fatalf("the database has explained %d statements, want those of a registration, a login and a whoami", len(seen))
	}
	return slices.Sorted(maps.Values(seen))
}

// explained is an entry of auto_explain: the statement, and its plan.
var explained = regexp.MustCompile(`(?s)plan:\n\tQuery Text: (.*?)\n(\t[^\n]*cost=.*?\n)(?:[^\t])`)

// ofPeople are statements about what grows with them.
var ofPeople = regexp.MustCompile(`(?i)\b(identities|credentials|addresses|sessions|grants)\b`)

// log is what the server has written.
func (d *database) log() string {
	d.t.Helper()
	_, data := d.postmaster()
	found, err := filepath.Glob(filepath.Join(data, "log", "*.log"))
	if err != nil || len(found) == 0 {
		d.t.Fatalf("the log of PostgreSQL in %s: %v", data, err)
	}
	text, err := os.ReadFile(found[len(found)-1])
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}
