package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// right is a password that nothing is wrong with.
const right = "correct horse battery"

var errDown = errors.New("the database does not answer")

// world is the service on a real database, with a clock and with outages.
type world struct {
	*operator.Service
	t     *testing.T
	store *stored
	// hashed counts how often a password was hashed or verified.
	hashed  int
	busy    bool
	outcome []string

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
	s, err := store.Open(t.Context(), store.Options{DataDir: t.TempDir(), CipherSecrets: []string{storetest.Secret}, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.store = &stored{Store: s}
	pool, err := password.NewPool(password.PoolOptions{}, password.Argon2id{Memory: 64, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.Service = &operator.Service{
		Store: w.store, Tokens: w.store, Passwords: counting{pool, w}, Now: w.clock,
		NewToken: func() string { return "usher_at_new" },
		Observe:  func(outcome string) { w.outcome = append(w.outcome, outcome) },
		Trouble:  func(err error) { t.Logf("trouble: %v", err) },
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// by is the owner who does what tests do.
var by = audit.Author{Actor: "admin:zoe", RequestID: "req-1"}

// setUp adds an operator and sets the password; it gives the token of their session.
func (w *world) setUp(name string, r operator.Role) string {
	w.t.Helper()
	link, err := w.Add(w.t.Context(), by, name, r)
	if err != nil {
		w.t.Fatalf("Add: %v", err)
	}
	token, _, err := w.SetUp(w.t.Context(), audit.Author{}, link.Reveal(), password.New(right))
	if err != nil {
		w.t.Fatalf("SetUp: %v", err)
	}
	return token.Reveal()
}

func (w *world) signIn(name, text, client string) error {
	w.t.Helper()
	_, _, err := w.SignIn(w.t.Context(), operator.Try{Name: name, Password: password.New(text), Client: client})
	return err
}

// told gives the events so far, as "actor action target".
func (w *world) told() []string {
	w.t.Helper()
	rows, err := w.store.Pending(w.t.Context(), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	all := make([]string, len(rows))
	for n, r := range rows {
		e, err := events.Decode(r.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		var acted events.AdminActed
		if err := json.Unmarshal(e.Data, &acted); err != nil {
			w.t.Fatal(err)
		}
		all[n] = strings.TrimSpace(e.Actor + " " + acted.Action + " " + acted.Target)
	}
	return all
}

// stored is a database that can be down.
type stored struct {
	*store.Store
	down  bool
	asked int // for sessions
}

func (s *stored) Operator(ctx context.Context, name string) (operator.Operator, string, error) {
	if s.down {
		return operator.Operator{}, "", errDown
	}
	return s.Store.Operator(ctx, name)
}

func (s *stored) OperatorSession(ctx context.Context, d operator.Digest) (operator.Session, error) {
	s.asked++
	if s.down {
		return operator.Session{}, errDown
	}
	return s.Store.OperatorSession(ctx, d)
}

// counting counts the work.
type counting struct {
	*password.Pool
	w *world
}

func (c counting) Hash(ctx context.Context, p password.Plain) (string, error) {
	if c.w.busy {
		return "", password.ErrBusy
	}
	c.w.hashed++
	return c.Pool.Hash(ctx, p)
}

func (c counting) Verify(ctx context.Context, p password.Plain, hash string) error {
	if c.w.busy {
		return password.ErrBusy
	}
	c.w.hashed++
	return c.Pool.Verify(ctx, p, hash)
}
