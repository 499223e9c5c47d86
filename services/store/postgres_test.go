package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/usher-auth/usher/schemas"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// unavailable tells what an edge tells that may not import the store.
func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.As(err, &u) && u.Unavailable()
}

func raw(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// with adds a parameter to a DSN.
func with(t *testing.T, dsn, name, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	if value == "" {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func TestPostgreSQLPoolParameters(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	db := raw(t, dsn)
	own := with(t, with(t, dsn, "max_conns", "4"), "max_conn_lifetime", "1h")
	own = with(t, own, "sslmode", "") // none is needed on the loopback address
	s := open(t, store.Options{DSN: own})
	if s.Embedded() {
		t.Error("Embedded() = true for PostgreSQL")
	}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			createFlow(t, s)
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
		})
	}
	wg.Wait()
	var conns int
	err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'usher'`).Scan(&conns)
	if err != nil || conns == 0 || conns > 4 {
		t.Errorf("%d connections, %v, want at most max_conns=4", conns, err)
	}
}

func TestPostgreSQLOnlyWhatMayWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	s := open(t, store.Options{DSN: dsn})
	db := raw(t, dsn)
	exec(t, db, `CREATE FUNCTION only_with() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF current_setting('synchronous_commit') <> TG_ARGV[0] THEN RAISE 'synchronous_commit is not %', TG_ARGV[0]; END IF;
		RETURN NULL; END $$`)
	for table, setting := range map[string]string{"flows": "off", "errors": "off", "admin_tokens": "on"} {
		exec(t, db, `CREATE TRIGGER only_with AFTER INSERT OR UPDATE ON `+table+` EXECUTE FUNCTION only_with('`+setting+`')`)
	}
	id := createFlow(t, s)
	if err := s.BeginAttempt(t.Context(), id, flow.Attempt{Digest: []byte{1}}); err != nil {
		t.Errorf("BeginAttempt: %v", err)
	}
	if _, _, err := s.TakeAttempt(t.Context(), id, []byte{1}); err != nil {
		t.Errorf("TakeAttempt: %v", err)
	}
	if err := s.SaveError(t.Context(), uuid.New(), json.RawMessage(`{}`)); err != nil {
		t.Errorf("SaveError: %v", err)
	}
	if err := s.AddAdminToken(t.Context(), "x", "admin", [32]byte{}); err != nil {
		t.Errorf("AddAdminToken: %v", err)
	}
}

// Flows that were begun before they could hold a sign-in at a provider go on.
func TestPostgreSQLFlowsOfVersion7(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	db := raw(t, dsn)
	exec(t, db, `DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	files, err := fs.Sub(schemas.SQL, "sql/postgres")
	if err != nil {
		t.Fatal(err)
	}
	migrations, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrations.UpTo(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	want := flow.Flow{
		ID: uuid.New(), Kind: flow.Login, Type: flow.Browser, State: flow.ChooseMethod, CSRF: []byte{1},
		Form: flow.Form{Values: map[string]any{"identifier": "ann"}}, IssuedAt: time.UnixMicro(5).UTC(), ExpiresAt: time.UnixMicro(6).UTC(),
	}
	exec(t, db, `INSERT INTO flows (id, kind, type, state, active, schema_id, request_url, return_to, after_verification_return_to, csrf, form, issued_at, expires_at)
		VALUES ($1, 'login', 'browser', 'choose_method', '', '', '', '', '', $2, '{"values":{"identifier":"ann"}}', 5, 6)`, want.ID, want.CSRF)
	s := open(t, store.Options{DSN: dsn})
	got, err := s.Flow(t.Context(), want.ID)
	if diff := cmp.Diff(&want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Fatalf("Flow: %v, want(-) got(+):\n%s", err, diff)
	}
	if err := s.BeginAttempt(t.Context(), want.ID, flow.Attempt{Digest: []byte{1}}); err != nil {
		t.Errorf("BeginAttempt: %v", err)
	}
	if _, _, err := s.TakeAttempt(t.Context(), want.ID, []byte{1}); err != nil {
		t.Errorf("TakeAttempt: %v", err)
	}
}

func TestPostgreSQLLeadIsLostWithItsConnection(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	one, two := open(t, store.Options{DSN: dsn}), open(t, store.Options{DSN: dsn})
	releaseOne, lost, err := one.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan func())
	go func() {
		release, _, err := two.Lead(t.Context())
		if err != nil {
			t.Errorf("Lead: %v", err)
		}
		got <- release
	}()
	select {
	case <-got:
		t.Fatal("two lead at once")
	case <-time.After(1500 * time.Millisecond): // longer than the candidate waits between its tries
	}
	exec(t, raw(t, dsn), `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	for what, happened := range map[string]func() bool{
		"the former leader notices": func() bool { <-lost; return true },
		"the other leads":           func() bool { release := <-got; release(); return true },
	} {
		done := make(chan bool, 1)
		go func() { done <- happened() }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: not within 20 s", what)
		}
	}
	releaseOne()
}

// A password is changed under load: connections that there are go on, new ones are made
// with it, and no request fails.
func TestPostgreSQLPasswordIsChanged(t *testing.T) {
	t.Parallel()
	dsn := scramServer(t, "one")
	s := open(t, store.Options{DSN: with(t, dsn, "max_conns", "4")})
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var told atomic.Bool // until the store knows it, a new connection may be refused
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				knew := told.Load()
				if err := s.Ping(t.Context()); err != nil && knew {
					t.Errorf("Ping: %v", err)
					return
				}
			}
		})
	}
	admin := raw(t, strings.Replace(dsn, "usher:one", "postgres", 1))
	exec(t, admin, `ALTER ROLE usher PASSWORD 'two'`)
	if err := s.SignIn(strings.Replace(dsn, ":one@", ":two@", 1)); err != nil {
		t.Fatal(err)
	}
	told.Store(true)
	time.Sleep(200 * time.Millisecond)
	stop()
	load.Wait()
	exec(t, admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'usher'`)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping on a new connection: %v", err)
	}
}

// scramServer gives the DSN of a server that asks the user usher for a password.
func scramServer(t *testing.T, password string) (dsn string) {
	t.Helper()
	at := serverDir(t)
	dsn, stop, err := storetest.StartPostgreSQL(at)
	noPostgreSQL(t, err)
	t.Cleanup(stop)
	db := raw(t, dsn)
	exec(t, db, `CREATE ROLE usher LOGIN PASSWORD '`+password+`'`)
	hba := "host all usher 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
	if err := os.WriteFile(filepath.Join(at, "data", "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	exec(t, db, `ALTER DATABASE postgres OWNER TO usher`)
	exec(t, db, `SELECT pg_reload_conf()`)
	return strings.Replace(dsn, "postgres@", "usher:"+password+"@", 1)
}

// A server that is frozen must not hold a request for longer than a statement may take.
func TestPostgreSQLFrozenServerIsUnavailable(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	p := newProxy(t, dsn)
	s := open(t, store.Options{DSN: with(t, with(t, p.dsn, "statement_timeout", "500"), "connect_timeout", "1")})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatalf("Ping before: %v", err)
	}
	p.freeze(true)
	begin := time.Now()
	err := s.AddAdminToken(t.Context(), "x", "admin", [32]byte{})
	if took := time.Since(begin); !unavailable(err) || took > 10*time.Second {
		t.Errorf("AddAdminToken on a frozen server: %v after %v, want unavailable within the time of a statement", err, took)
	}
	p.freeze(false)
	if err := s.AddAdminToken(t.Context(), "y", "admin", [32]byte{1}); err != nil {
		t.Errorf("AddAdminToken on a server that is back: %v", err)
	}
}

func TestPostgreSQLSlowStatementIsUnavailable(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	s := open(t, store.Options{DSN: with(t, dsn, "statement_timeout", "300")})
	tx, err := raw(t, dsn).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`LOCK TABLE admin_tokens`); err != nil {
		t.Fatal(err)
	}
	if err := s.AddAdminToken(t.Context(), "x", "admin", [32]byte{}); !unavailable(err) {
		t.Errorf("AddAdminToken on a locked table: %v, want unavailable", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.AddAdminToken(t.Context(), "x", "admin", [32]byte{}); err != nil {
		t.Errorf("AddAdminToken after the lock: %v", err)
	}
}

func TestPostgreSQLGoneServerIsUnavailable(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	p := newProxy(t, dsn)
	s := open(t, store.Options{DSN: p.dsn})
	p.close()
	for name, call := range map[string]func() error{
		"Ping":          func() error { return s.Ping(t.Context()) },
		"AddAdminToken": func() error { return s.AddAdminToken(t.Context(), "x", "admin", [32]byte{}) },
		"Migrate":       func() error { return s.Migrate(t.Context()) },
		"Migrated":      func() error { _, err := s.Migrated(t.Context()); return err },
		"Lead":          func() error { _, _, err := s.Lead(t.Context()); return err },
	} {
		if err := call(); !unavailable(err) {
			t.Errorf("%s without a server: %v, want unavailable", name, err)
		}
	}
	_, err := store.Open(t.Context(), store.Options{DSN: p.dsn, CipherSecrets: []string{storetest.Secret}})
	if !unavailable(err) {
		t.Errorf("Open without a server: %v, want unavailable", err)
	}
}

// proxy stands between a store and its server.
type proxy struct {
	dsn      string
	listener net.Listener
	server   string

	mu    sync.Mutex
	gate  chan struct{} // closed while bytes may pass
	conns []net.Conn
}

func newProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: u.Host, gate: make(chan struct{})}
	close(p.gate)
	u.Host = l.Addr().String()
	p.dsn = u.String()
	if strings.Contains(p.dsn, p.server) {
		t.Fatalf("the proxy's DSN %s still names the server", p.dsn)
	}
	go p.accept()
	t.Cleanup(p.close)
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		go p.pass(client, server)
		go p.pass(server, client)
	}
}

func (p *proxy) pass(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		<-gate
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if frozen {
		p.gate = make(chan struct{})
	} else {
		close(p.gate)
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}
