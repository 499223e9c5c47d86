package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// calm are keys with which nothing is to be said of a system of the tests.
func calm() settings {
	return merge(settings{"selfservice": settings{"flows": settings{"registration": settings{"after": settings{"password": settings{"hooks": []any{}}}}}}}, settings{"security": settings{"account_enumeration": settings{"mitigate": false}}})
}

// ward is a system that a doctor looks at.
type ward struct {
	*system
	t *testing.T
}

// examined is what "usher doctor --json" says, and its exit status.
type examined struct {
	Status   string
	Findings []struct{ Check, Status, Seen, Mend string }
	code     int
	text     string
}

// doctor runs it, with variables and flags besides.
func (w ward) doctor(env []string, args ...string) (e examined) {
	w.t.Helper()
	args = append([]string{"doctor", "--dev", "-c", w.config, "--json", "--admin", w.admins[0]}, args...)
	stdout, stderr, code := usher(w.t, append(slices.Clone(w.env), env...), args...)
	e.code, e.text = code, stdout+stderr
	if err := json.Unmarshal([]byte(stdout), &e); err != nil {
		w.t.Fatalf("usher doctor = %d: %v: %s", code, err, e.text)
	}
	return e
}

// wrong are the findings that are yellow or red, but for the clock of the machine
// that the test runs on, which is not the system's.
func (e examined) wrong() (all []string) {
	for _, f := range e.Findings {
		if (f.Status == "red" || f.Status == "yellow") && f.Check != "clocks.synchronised" && f.Check != "disk.free" {
			all = append(all, f.Status+" "+f.Check)
		}
	}
	return slices.Compact(all)
}

// finds wants exactly these findings, each with something to do about it, and
// the status that goes with them.
func (w ward) finds(what string, e examined, want ...string) {
	w.t.Helper()
	if got := e.wrong(); !slices.Equal(got, want) {
		w.t.Errorf("%s: the doctor finds %q, want %q:\n%s", what, got, want, e.text)
		return
	}
	red := slices.ContainsFunc(want, func(f string) bool { return strings.HasPrefix(f, "red") })
	if red != (e.code == 1) || e.code > 1 {
		w.t.Errorf("%s: exit status %d with %q", what, e.code, want)
	}
	for _, f := range e.Findings {
		if slices.Contains(want, f.Status+" "+f.Check) {
			w.t.Logf("%s: %s %s: %s → %s", what, f.Status, f.Check, f.Seen, f.Mend)
			if f.Mend == "" {
				w.t.Errorf("%s: %s says nothing to do", what, f.Check)
			}
		}
	}
}

// becomes waits until the doctor finds exactly these.
func (w ward) becomes(what string, want ...string) {
	w.t.Helper()
	var last examined
	eventually(w.t, 20*time.Second, func() error {
		if last = w.doctor(nil); !slices.Equal(last.wrong(), want) {
			return fmt.Errorf("%s: the doctor finds %q, want %q", what, last.wrong(), want)
		}
		return nil
	})
	w.finds(what, last, want...)
}

// TestDoctor looks at parts that are well, and at one thing after another that is
// broken: it names that thing and no other.
func TestDoctor(t *testing.T) {
	t.Parallel()
	w := ward{newSystem(t, "parts", calm()), t}
	w.becomes("healthy")

	t.Run("configuration", w.brokenConfiguration)
	t.Run("drift", w.drift)
	t.Run("migration", w.missingMigration)
	if os.Getenv("USHER_TEST_SOAK") != "" { // tests of the parts of the doctor show the same
		t.Run("from outside", w.brokenFromOutside)
		t.Run("rights", w.wrongRights)
		t.Run("disk", w.fullDisk)
	}

	sessions := w.named("session")
	for _, p := range sessions {
		p.signal(syscall.SIGSTOP)
	}
	w.finds("frozen session workers", w.doctor(nil), "red bus.session_workers")
	for _, p := range sessions {
		p.signal(syscall.SIGCONT)
	}
	w.becomes("thawed session workers")

	w.processes["nats"].signal(syscall.SIGSTOP)
	began := time.Now()
	w.finds("frozen NATS", w.doctor(nil), "red bus.reachable")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the doctor looks at a frozen bus for %s", took)
	}
	w.processes["nats"].kill()
	w.finds("stopped NATS", w.doctor(nil), "red bus.reachable")
}

// brokenConfiguration has two things wrong in it at once.
func (w ward) brokenConfiguration(t *testing.T) {
	w.t = t
	weak := "USHER_SECRETS__COOKIE=hunter2hunter2hunter2hunter2hunter2"
	cert, key := expired(t)
	e := w.doctor([]string{weak, "USHER_SERVE__ADMIN__TLS__CERT__PATH=" + cert, "USHER_SERVE__ADMIN__TLS__KEY__PATH=" + key})
	w.finds("weak secret and expired certificate", e, "yellow secrets.strength", "red certificates.listeners")
	if strings.Contains(e.text, "hunter2") {
		t.Error("the doctor shows a secret")
	}
}

// brokenFromOutside has parts that are away.
func (w ward) brokenFromOutside(t *testing.T) {
	w.t = t
	w.finds("SMTP that refuses", w.doctor([]string{
		fmt.Sprintf("USHER_COURIER__SMTP__CONNECTION_URI=smtp://usher:hunter2@127.0.0.1:%d/?disable_starttls=true", freePort(t)),
		"USHER_COURIER__SMTP__FROM_ADDRESS=a@example.com",
	}), "red mail.server")
	w.finds("PostgreSQL that is away", w.doctor([]string{fmt.Sprintf("USHER_DSN=postgres://usher:hunter2@127.0.0.1:%d/usher", freePort(t))}), "red database.reachable")
	w.finds("an admin listener that is away", w.doctor(nil, "--admin", fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), "--only", "processes"), "red processes.health")
	if _, stderr, code := usher(t, nil, "doctor", "-c", filepath.Join(t.TempDir(), "none.yaml")); code != 2 || stderr == "" {
		t.Errorf("usher doctor without its file = %d %q, want 2 and why", code, stderr)
	}
	if stdout, _, code := usher(t, nil, "doctor", "--dev", "-c", w.config, "--admin", w.admins[0], "--strict", "--only", "secrets,mail"); code != 0 || !strings.Contains(stdout, "✓ green") {
		t.Errorf("usher doctor --strict of what is green = %d: %s", code, stdout)
	}
}

// drift changes a durable consumer behind Usher's back; the relay's leader mends
// it before long.
func (w ward) drift(t *testing.T) {
	w.t = t
	creds := read(t, filepath.Join(w.dir, "bus", "creds", events.UserProvision+".creds"))
	nc, err := events.Connect(t.Context(), events.ConnectOptions{
		URL: w.busURL, Credentials: creds, User: events.UserProvision, Name: "test", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error { // unless it was mended meanwhile
		consumer, err := js.Consumer(t.Context(), events.Stream, "courier")
		if err != nil {
			return err
		}
		config := consumer.CachedInfo().Config
		config.AckWait = time.Minute
		if _, err := js.UpdateConsumer(t.Context(), events.Stream, config); err != nil {
			return err
		}
		e := w.doctor(nil)
		if !slices.Equal(e.wrong(), []string{"red bus.consumers"}) {
			return fmt.Errorf("the doctor finds %q", e.wrong())
		}
		w.finds("a durable that was changed", e, "red bus.consumers")
		return nil
	})
	consumer, err := js.Consumer(t.Context(), events.Stream, "courier")
	if err != nil {
		t.Fatal(err)
	}
	config := consumer.CachedInfo().Config
	config.AckWait = 30 * time.Second
	if _, err := js.UpdateConsumer(t.Context(), events.Stream, config); err != nil {
		t.Fatal(err)
	}
}

// missingMigration takes the last migration out of the books.
func (w ward) missingMigration(t *testing.T) {
	w.t = t
	db, err := sql.Open("postgres", w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var last int64
	if err := db.QueryRowContext(t.Context(), `DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version) RETURNING version_id`).Scan(&last); err != nil {
		t.Fatal(err)
	}
	w.finds("missing migration", w.doctor(nil), "red database.migrations")
	if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, true)`, last); err != nil {
		t.Fatal(err)
	}
}

// wrongRights gives parts credentials that are not theirs, or of another bus.
func (w ward) wrongRights(t *testing.T) {
	w.t = t
	from, to := filepath.Join(w.dir, "bus", "creds"), filepath.Join(t.TempDir(), "creds")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
	system := events.UserSystem + ".creds"
	write(t, filepath.Join(filepath.Dir(to), system), string(read(t, filepath.Join(w.dir, "bus", system))))
	env := []string{"USHER_BUS__CREDENTIALS=" + to}
	mine := read(t, filepath.Join(from, "session.creds"))
	keys, err := events.LoadOrMakeKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := keys.Credentials(events.UserSession)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "session.creds")
	for what, text := range map[string][]byte{"credential of another bus": foreign, "credential of another part": read(t, filepath.Join(from, "hooks.creds"))} {
		write(t, path, string(text))
		w.finds(what, w.doctor(env), "red bus.credentials")
	}
	write(t, path, string(mine))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{to, filepath.Dir(to), filepath.Dir(filepath.Dir(to))} { // of a temporary folder others are kept out
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.finds("a credential that everybody reads", w.doctor(env), "red secrets.files")
}

// fullDisk has the data folder on a small file system, where that can be made.
func (w ward) fullDisk(t *testing.T) {
	w.t = t
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		leftOut(t, "a small file system cannot be mounted here: "+err.Error())
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	var red []string
	e := w.doctor([]string{"USHER_DSN=", "USHER_DATA_DIR=" + dir}, "--only", "disk")
	for _, f := range e.Findings {
		if f.Status == "red" {
			red = append(red, f.Check)
		}
	}
	if !slices.Equal(red, []string{"disk.free"}) || e.code != 1 {
		t.Errorf("the doctor finds %q on a full disk, want disk.free: %s", red, e.text)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// expired makes a certificate that has ended yesterday, and its key.
func expired(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "id.example.com"}, DNSNames: []string{"id.example.com"},
		NotBefore: time.Now().AddDate(0, -3, 0), NotAfter: time.Now().AddDate(0, 0, -1),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	encode := func(name, kind string, data []byte) string {
		return write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})))
	}
	return encode("cert.pem", "CERTIFICATE", der), encode("key.pem", "PRIVATE KEY", text)
}
