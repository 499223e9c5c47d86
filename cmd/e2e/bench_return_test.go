package e2e_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// login measures native logins on PostgreSQL, bcrypt cost 4, everything on.
func (b *bench) login() {
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	people := make([]string, 256)
	app := newApp(b.t, s.apis[0])
	for n := range people {
		people[n] = newAddress()
		app.register(people[n])
	}
	hash := hashCPU(4)
	s.logins(people, 500, 8) // warm
	l := medianOf(func() load { return s.logins(people, 4000, 8) })
	ideal := float64(runtime.NumCPU()) / (hash + l.client).Seconds()
	b.row("login, PostgreSQL, bcrypt 4, 8 in flight: CPU beyond the hash", ms(l.server-hash), fmt.Sprintf("hash %s, database %s, client %s", ms(hash), ms(l.database), ms(l.client)), "", "≤ 1.20 ms")
	b.row("  throughput", fmt.Sprintf("%.0f/s, p50 %s, p99 %s", l.rate, ms(l.p50), ms(l.p99)), fmt.Sprintf("cores ÷ (hash + client) = %.0f/s", ideal), fmt.Sprintf("%.0f %%", 100*l.rate/ideal), "≥ 50 %")
}

// logins is a closed loop of native logins of people in turn.
func (s *system) logins(people []string, n, inFlight int) load {
	transport := &http.Transport{MaxIdleConnsPerHost: inFlight}
	defer transport.CloseIdleConnections()
	clients := make([]*client, inFlight)
	for i := range clients {
		clients[i] = newApp(s.t, s.api(i))
		clients[i].http.Transport = transport
	}
	l := s.closedLoop(n, inFlight, func(worker, i int) error {
		a, err := clients[worker].login(people[i%len(people)])
		if err == nil && (a.status != http.StatusOK || !strings.Contains(string(a.body), `"session_token"`)) {
			err = fmt.Errorf("login: %d %s", a.status, a.body)
		}
		return err
	})
	if l.failed > 0 {
		s.t.Errorf("%d of %d logins failed: %s", l.failed, n, l.firstFail)
	}
	return l
}

// verification counts what the database writes durably for a code.
func (b *bench) verification() {
	s := newSystem(b.t, "postgres", verifying(settings{"hook": "show_verification_ui"}, sessionHook))
	defer s.stop()
	const n = 100
	app := newApp(b.t, s.apis[0])
	type challenge struct{ flow, code string }
	var waiting []challenge
	for range n {
		address := newAddress()
		r := app.register(address)
		waiting = append(waiting, challenge{verificationFlow(r.ContinueWith), s.mailedCode(address, "")})
	}
	time.Sleep(3 * time.Second) // what the mails have left to do, and PostgreSQL's statistics
	syncs := b.walSyncs(s.dsn)
	l := s.closedLoop(n, 1, func(_, i int) error {
		a, err := app.do("POST", "/self-service/verification?flow="+waiting[i].flow, asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, waiting[i].code))
		if err == nil && !strings.Contains(string(a.body), `"passed_challenge"`) {
			err = fmt.Errorf("verification: %d %s", a.status, a.body)
		}
		return err
	})
	time.Sleep(3 * time.Second) // until PostgreSQL has told its statistics
	if l.failed > 0 {
		b.t.Errorf("%d of %d verifications failed: %s", l.failed, n, l.firstFail)
	}
	b.row("verification by code, one after another", fmt.Sprintf("p50 %s, CPU %s", ms(l.p50), ms(l.server)), "", fmt.Sprintf("%.2f syncs of the log each, the writer's own included", float64(b.walSyncs(s.dsn)-syncs)/n), "≤ 1 durable commit")
}

// walSyncs counts the syncs of PostgreSQL's log until now.
func (b *bench) walSyncs(dsn string) (n int) {
	s := system{t: b.t, dsn: dsn}
	if err := s.query(`SELECT wal_sync FROM pg_stat_wal`, &n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// revocation measures whoami while 100 sessions a second are revoked, and how
// long it takes until a revoked session is refused.
func (b *bench) revocation() {
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	app := newApp(b.t, s.apis[0])
	address := newAddress()
	app.register(address)
	keeper := app.mustLogin(address)
	const each, n = 100, 500
	doomed := make([]registered, n)
	for i := range doomed {
		doomed[i] = app.mustLogin(address)
	}
	whoami := func() load {
		transport := &http.Transport{MaxIdleConnsPerHost: 32}
		defer transport.CloseIdleConnections()
		c := newApp(b.t, s.apis[0])
		c.http.Transport = transport
		return s.closedLoop(20000, 32, func(int, int) error {
			a, err := c.do("GET", "/sessions/whoami", map[string]string{"X-Session-Token": keeper.SessionToken}, nil)
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("whoami: %d", a.status)
			}
			return err
		})
	}
	calm := whoami()
	var took []time.Duration
	var revoking sync.WaitGroup
	revoking.Go(func() {
		tick := time.NewTicker(time.Second / each)
		defer tick.Stop()
		for _, d := range doomed {
			<-tick.C
			if status, _ := app.whoami(d.SessionToken); status != http.StatusOK {
				b.t.Errorf("whoami before the revocation = %d", status)
			}
			a, err := app.do("DELETE", "/sessions/"+d.Session.ID, map[string]string{"X-Session-Token": keeper.SessionToken}, nil)
			if err != nil || a.status != http.StatusNoContent {
				b.t.Errorf("revoke = %v %+v", err, a)
				return
			}
			at := time.Now()
			for status := http.StatusOK; status == http.StatusOK; {
				status, _ = app.whoami(d.SessionToken)
			}
			took = append(took, time.Since(at))
		}
	})
	busy := whoami()
	revoking.Wait()
	slices.Sort(took)
	b.row("whoami while sessions are revoked, 32 in flight", fmt.Sprintf("%.0f/s, p99 %s", busy.rate, ms(busy.p99)), fmt.Sprintf("without: %.0f/s, p99 %s", calm.rate, ms(calm.p99)), fmt.Sprintf("%.0f %%", 100*busy.rate/calm.rate), "")
	b.row("  revoked session refused after", fmt.Sprintf("p50 %s, p99 %s", ms(took[len(took)/2]), ms(took[len(took)*99/100])), "", fmt.Sprintf("%d revocations", len(took)), "p99 ≤ 250 ms")
}

// pagesOfLists measures a page of identities and sessions at 10,000 and at
// 1,000,000 rows.
func (b *bench) pagesOfLists() {
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	admin := newApp(b.t, s.admins[0])
	measure := func(path string) time.Duration {
		var took []time.Duration
		for range 60 {
			q := url.Values{"page_size": {"250"}, "page_token": {pageToken(uuid.New())}}
			at := time.Now()
			a := admin.must("GET", path+"?"+q.Encode(), nil, nil)
			took = append(took, time.Since(at))
			if a.status != http.StatusOK {
				b.t.Fatalf("%s: %d %s", path, a.status, a.body)
			}
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	paths := []string{"/admin/identities", "/admin/sessions"}
	at := map[string][]time.Duration{}
	rows := 0
	for _, upTo := range []int{10_000, 1_000_000} {
		b.fill(s.dsn, rows, upTo)
		rows = upTo
		for _, path := range paths {
			measure(path) // warm
			at[path] = append(at[path], measure(path))
		}
	}
	for _, path := range paths {
		b.row(path+", a page of 250", fmt.Sprintf("%s at 1,000,000 rows", ms(at[path][1])), fmt.Sprintf("%s at 10,000", ms(at[path][0])), fmt.Sprintf("%.2f ×", at[path][1].Seconds()/at[path][0].Seconds()), "≤ 1.2 ×")
	}
}

// pageToken is one of the admin API that begins behind an id.
func pageToken(after uuid.UUID) string { return base64URL(after[:]) }

// fill makes people with an address and a session, without the program.
func (b *bench) fill(dsn string, from, to int) {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		`CREATE TEMP TABLE made AS SELECT gen_random_uuid() AS id, n FROM generate_series($1::int + 1, $2::int) n`,
		`INSERT INTO identities (id, schema_id, state, state_changed_at, traits, epoch, sequence, created_at, updated_at)
			SELECT id, 'default', 'active', 0, json_build_object('email', 'filled-' || n || '@example.org'), 0, 1, 0, 0 FROM made`,
		`INSERT INTO addresses (id, identity_id, position, via, value, address_key, state, verifiable, recovery, identifier, verified, status, created_at, updated_at)
			SELECT gen_random_uuid(), id, 0, 'email', 'filled-' || n || '@example.org', sha256(n::text::bytea), 'owned', true, true, true, false, 'pending', 0, 0 FROM made`,
		`INSERT INTO sessions (id, identity_id, token_digest, aal, methods, devices, epoch, revoked, authenticated_at, issued_at, expires_at)
			SELECT gen_random_uuid(), id, sha256(('token ' || n)::bytea), 'aal1', '[]', '[]', 0, false, 0, 0, 9e15::bigint FROM made`,
	} {
		var args []any
		if strings.Contains(statement, "$1") {
			args = []any{from, to}
		}
		if _, err := db.Exec(statement, args...); err != nil {
			b.t.Fatalf("%v: %s", err, statement)
		}
	}
	if _, err := db.Exec(`DROP TABLE made`); err != nil {
		b.t.Fatal(err)
	}
	if _, err := db.Exec(`VACUUM ANALYZE identities, addresses, sessions`); err != nil {
		b.t.Fatal(err)
	}
}

// login begins and submits a native login.
func (c *client) login(identifier string) (*answer, error) {
	a, err := c.do("GET", "/self-service/login/api", nil, nil)
	if err != nil {
		return nil, err
	}
	var f flowView
	if err := json.Unmarshal(a.body, &f); err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("init: %d %s", a.status, a.body)
	}
	return c.do("POST", "/self-service/login?flow="+f.ID, asJSON, fmt.Appendf(nil, `{"method":"password","identifier":%q,"password":%q}`, identifier, goodPassword))
}

// mustLogin is login for people who get in.
func (c *client) mustLogin(identifier string) (r registered) {
	c.t.Helper()
	a, err := c.login(identifier)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.status != http.StatusOK {
		c.t.Fatalf("login %s: %d %s", identifier, a.status, a.body)
	}
	a.json(c.t, &r)
	return r
}

// verificationFlow is the flow that an answer leads to, "" if to none.
func verificationFlow(items []map[string]any) string {
	for _, item := range items {
		if flow, ok := item["flow"].(map[string]any); ok && item["action"] == "show_verification_ui" {
			id, _ := flow["id"].(string)
			return id
		}
	}
	return ""
}
