package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/storetest"
)

// ofTheNextVersion is a type of event that this version does not know.
const ofTheNextVersion = "identity.teleported"

// next is what a later version does to the database: it has added a column and a
// table, and its events say more.
const next = `
	ALTER TABLE sessions ADD COLUMN of_the_next_version text NOT NULL DEFAULT '';
	ALTER TABLE identities ADD COLUMN of_the_next_version text;
	CREATE TABLE of_the_next_version (n bigint);
	INSERT INTO goose_db_version (version_id, is_applied) VALUES (9001, true);
	CREATE FUNCTION say_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		NEW.payload = convert_to('{"0new":{"n":1},' || substr(replace(convert_from(NEW.payload, 'UTF8'), '"data":{"', '"data":{"0new":[1],"'), 2), 'UTF8');
		RETURN NEW; END $$;
	CREATE TRIGGER say_more BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION say_more()`

// TestTheNextVersionIsBeside has a later version work on the same database and
// bus: this one goes on, and starts, and does not stumble over what it does not know.
func TestTheNextVersionIsBeside(t *testing.T) {
	t.Parallel()
	background := newEndpoint(t)
	s := newSystem(t, "parts", signInAndTell(background))
	before := newApp(t, s.api(0)).register(newAddress())
	s.exec(next)
	strange := events.Event{
		ID: uuid.Must(uuid.NewV7()).String(), SpecVersion: "1.0", Source: "/usher/portal", Type: ofTheNextVersion,
		Subject: before.Identity.ID, Time: time.Now().UTC().Truncate(time.Microsecond), DataContentType: "application/json",
		DataSchema: "urn:usher:event:" + ofTheNextVersion + ":1", Actor: "system:portal", Data: []byte(`{"to":"elsewhere"}`),
	}
	payload, err := strange.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.exec(fmt.Sprintf(`INSERT INTO outbox (event_id, type, identity_id, payload, created_at) VALUES ('%s', '%s', '%s', '\x%x', %d)`,
		strange.ID, strange.Type, strange.Subject, payload, time.Now().UnixMicro()))

	people := []registered{before}
	register := func(when string) {
		for n := range s.apis {
			r := newApp(t, s.api(n)).register(newAddress())
			if r.SessionToken == "" {
				t.Errorf("%s: nobody is signed in", when)
			}
			people = append(people, r)
		}
	}
	register("running")
	for _, name := range s.order {
		if p := s.processes[name]; p.bin == usherBin {
			p.stop(t)
			s.restart(name)
			if out := p.output(); !strings.Contains(out, "the database is of a later version") {
				t.Errorf("%s does not say that the database is of a later version", name)
			}
		}
	}
	register("started again")

	s.whole(background)
	eventually(t, 10*time.Second, func() error {
		for _, e := range s.events("subject=" + before.Identity.ID) {
			if e.Type == ofTheNextVersion {
				return nil
			}
		}
		return errors.New("the event of the next version is not in the event log")
	})
	for n, r := range people {
		if status, _ := newApp(t, s.api(n)).whoami(r.SessionToken); status != http.StatusOK {
			t.Errorf("whoami of person %d = %d, want 200", n, status)
		}
	}
	if _, stderr, code := usher(t, []string{"USHER_SERVE__ADMIN__PORT=" + port(s.admins[0])}, "timeline", before.Identity.ID, "--dev", "-c", s.config); code != 0 {
		t.Errorf("usher timeline: exit %d: %s", code, stderr)
	}
	if len(s.metrics("usher_hook_attempt_duration_seconds_count", `outcome="permanent"`)) > 0 {
		t.Error("a hook gave up an event")
	}
}

func port(url string) string { return url[strings.LastIndex(url, ":")+1:] }

// metrics are the lines of a metric of all hooks processes that hold a text.
func (s *system) metrics(name, text string) (lines []string) {
	s.t.Helper()
	for process, health := range s.health {
		if !strings.HasPrefix(process, "hooks") {
			continue
		}
		a := newApp(s.t, strings.TrimSuffix(health, "/health/ready")).must("GET", "/metrics", nil, nil)
		for line := range strings.Lines(string(a.body)) {
			if strings.HasPrefix(line, name) && strings.Contains(line, text) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// TestManyMigrateAtOnce runs "usher migrate" ten times at once, and two servers
// that migrate at their start, after one was killed at it.
func TestManyMigrateAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &system{t: t, dsn: storetest.PostgreSQL(t)}
	config := write(t, filepath.Join(dir, "usher.yaml"), fmt.Sprintf("dsn: %q\ndata_dir: %q\n", s.dsn, dir))
	s.exec(`DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	// The secrets are made once, before all want them.
	if _, stderr, code := usher(t, nil, "config", "print", "--dev", "-c", config); code != 0 {
		t.Fatalf("usher config print: exit %d: %s", code, stderr)
	}
	s.exec(`CREATE FUNCTION linger() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); END $$;
		CREATE EVENT TRIGGER linger ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION linger()`)
	killed := exec.Command(usherBin, "migrate", "--dev", "-c", config)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond) // in the middle of it
	_ = killed.Process.Signal(syscall.SIGKILL)
	_ = killed.Wait()
	s.exec(`DROP EVENT TRIGGER linger`)

	var all sync.WaitGroup
	var mu sync.Mutex
	var said strings.Builder
	began := time.Now()
	for range 10 {
		all.Go(func() {
			_, stderr, code := usher(t, nil, "migrate", "--dev", "-c", config)
			if code != 0 {
				t.Errorf("usher migrate: exit %d: %s", code, stderr)
			}
			mu.Lock()
			defer mu.Unlock()
			said.WriteString(stderr)
		})
	}
	all.Wait()
	t.Logf("ten migrated after %v", time.Since(began).Round(time.Millisecond))
	if n := strings.Count(said.String(), "msg=migrated"); n == 0 || strings.Contains(said.String(), "panic") {
		t.Errorf("nobody says what was migrated: %s", said.String())
	}
	if !strings.Contains(said.String(), "another process migrates this database") {
		t.Error("nobody says that it waits for another")
	}
	db, err := sql.Open("postgres", s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var twice, locks int
	err = db.QueryRowContext(t.Context(), `SELECT count(*) - count(DISTINCT version_id),
		(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
		FROM goose_db_version`).Scan(&twice, &locks)
	if err != nil || twice != 0 || locks != 0 {
		t.Errorf("%d migrations were made twice, %d locks are left, %v", twice, locks, err)
	}
}

// TestSoakVersions runs the program of the former version and this one together
// under registrations: it is migrated while the former runs, and each process is
// replaced in any order, to and fro. Nobody notices.
func TestSoakVersions(t *testing.T) {
	if os.Getenv("USHER_TEST_SOAK") == "" {
		t.Skip("make soak")
	}
	t.Parallel()
	former := formerVersion(t)
	background := newEndpoint(t)
	s := newSystem(t, "parts", merge(signInAndTell(background), settings{"serve": settings{"drain_delay": "1s"}}))
	var ours []string
	for _, name := range s.order {
		if s.processes[name].bin == usherBin {
			ours = append(ours, name)
			s.processes[name].stop(t)
			s.processes[name].bin = former
		}
	}
	s.exec(`DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	migrate := func(bin string) {
		cmd := exec.Command(bin, "migrate", "--dev", "-c", s.config)
		cmd.Env = append(os.Environ(), s.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s migrate: %v: %s", bin, err, out)
		}
	}
	migrate(former)
	for _, name := range ours {
		s.restart(name)
	}
	l := startLoop(newBalancer(t, s.apis, s.admins), 50)
	time.Sleep(time.Second)
	migrate(usherBin)
	for round, bin := range []string{usherBin, former, usherBin} {
		rand.Shuffle(len(ours), func(i, j int) { ours[i], ours[j] = ours[j], ours[i] })
		for _, name := range ours {
			s.processes[name].stop(t)
			s.processes[name].bin = bin
			s.restart(name)
			time.Sleep(500 * time.Millisecond)
		}
		t.Logf("round %d was in the order %v", round+1, ours)
	}
	comers := l.end()
	if failed := failedSince(comers, time.Time{}); failed > 0 {
		t.Errorf("%d of %d registrations failed", failed, len(comers))
	}
	s.whole(background)
	stored, acknowledged := allStored(t, s, comers)
	t.Logf("%d people, %d acknowledged, %d stored", len(comers), acknowledged, stored)
	sessionsAreValid(t, s, comers)
}

// formerVersion builds the program as of the last merge before this commit.
func formerVersion(t *testing.T) string {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", "../.."}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	head, err := git("rev-parse", "HEAD")
	merges, err2 := git("rev-list", "--first-parent", "--merges", "--max-count=2", "HEAD")
	var former string
	for commit := range strings.FieldsSeq(merges) {
		if commit != head {
			former = commit
			break
		}
	}
	if err != nil || err2 != nil || former == "" {
		leftOut(t, "there is no history to take the former version from")
	}
	dir, bin := t.TempDir(), filepath.Join(t.TempDir(), "usher")
	unpack := exec.CommandContext(t.Context(), "sh", "-c", `git -C ../.. archive "$0" | tar -x -C "$1"`, former, dir)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("git archive %s: %v: %s", former, err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "./cmd/usher")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", former, err, out)
	}
	t.Logf("the former version is %s", former)
	return bin
}
