package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// emailBody is a Jsonnet body that is just the identity's address.
const emailBody = "base64://ZnVuY3Rpb24oY3R4KSBjdHguaWRlbnRpdHkudHJhaXRzLmVtYWls" // function(ctx) ctx.identity.traits.email

// TestTheSessionStepTakesNoHookAway is P5: which background hooks get the event
// of a registration is what its configuration says, whether there is a session
// step or not, wherever it stands and whatever kind of client registers. A
// worker on the bus gets the event of every identity, also of one that an
// administrator made.
func TestTheSessionStepTakesNoHookAway(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	called := map[string][]string{} // the hooks that were called, by address
	e := newEndpoint(t)
	e.answer = func(_ http.ResponseWriter, r *http.Request, body string) {
		mu.Lock()
		defer mu.Unlock()
		address := strings.Trim(body, "\"\n")
		called[address] = append(called[address], strings.TrimPrefix(r.URL.Path, "/"))
	}
	names := []string{"audit", "crm", "mail"}
	kinds := map[string]any{"session": sessionHook, "waiting": e.webHook("waiting", settings{"ignore": false})}
	for _, name := range names {
		hook := e.webHook(name, settings{"ignore": true})
		hook["config"].(settings)["body"] = emailBody
		kinds[name] = hook
	}
	s := newSystem(t, "sqlite", hooks(sessionHook))
	seen := s.watch("watch")

	expected := map[string][]string{}
	rapid.Check(t, func(r *rapid.T) {
		list := rapid.Permutation([]string{"session", "waiting", "audit", "crm", "mail"}).Draw(r, "order")
		list = list[:rapid.IntRange(0, len(list)).Draw(r, "length")]
		configured := []any{} // an empty list; null means the default
		for _, name := range list {
			configured = append(configured, kinds[name])
		}
		s.reload(hooks(configured...))
		for _, register := range []func(testing.TB, string, string) *answer{registerApp, registerScript, registerPage} {
			address := newAddress()
			if a := register(t, s.apis[0], address); a.status != http.StatusOK && a.status != http.StatusSeeOther {
				r.Fatalf("hooks %v: registration = %d %s", list, a.status, a.body)
			}
			expected[address] = slices.DeleteFunc(slices.Sorted(slices.Values(list)), func(name string) bool { return !slices.Contains(names, name) })
		}
	})
	// What a hook is owed waits while it is not configured.
	s.reload(hooks(kinds["audit"], kinds["crm"], kinds["mail"]))
	created := newApp(t, s.admins[0]).must("POST", "/admin/identities", map[string]string{"Content-Type": "application/json"},
		fmt.Appendf(nil, `{"schema_id":"default","traits":{"email":%q}}`, newAddress()))
	if created.status != http.StatusCreated {
		t.Fatalf("POST /admin/identities = %d %s", created.status, created.body)
	}

	eventually(t, time.Minute, func() error { // it is more than a thousand people
		mu.Lock()
		defer mu.Unlock()
		for address, want := range expected {
			got := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(called[address]))), func(name string) bool { return name == "waiting" })
			if !slices.Equal(got, want) {
				return fmt.Errorf("background hooks of %s = %v, want %v", address, got, want)
			}
		}
		return nil
	})
	ids := slices.Sorted(slices.Values(s.identities()))
	eventually(t, 30*time.Second, func() error {
		if got := seen(); !slices.Equal(got, ids) {
			return fmt.Errorf("the worker on the bus has seen %d identities, %d are stored", len(got), len(ids))
		}
		return nil
	})
}

// watch runs a worker of the test's own. It tells which identities it has seen
// the creation of.
func (s *system) watch(name string) (seen func() []string) {
	s.t.Helper()
	var mu sync.Mutex
	ids := map[string]bool{}
	s.work(name, []string{events.IdentityCreated{}.EventType()}, func(w *workers.Worker) {
		workers.On(w, func(_ context.Context, e workers.Event[events.IdentityCreated]) error {
			mu.Lock()
			defer mu.Unlock()
			ids[e.Data.IdentityID] = true
			return nil
		})
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(ids))
	}
}

// work runs a worker for these types of events until the test ends, on a durable
// consumer and with a credential of its name.
func (s *system) work(name string, types []string, on func(w *workers.Worker)) {
	s.t.Helper()
	keys, err := events.LoadOrMakeKeys(filepath.Join(s.dir, "data", "bus", "keys"))
	if err != nil {
		s.t.Fatal(err)
	}
	url, err := os.ReadFile(filepath.Join(s.dir, "data", "bus.url"))
	if err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	provision, err := keys.Credentials(events.UserProvision)
	if err != nil {
		s.t.Fatal(err)
	}
	own, err := keys.WorkerCredentials(name, time.Now().Add(time.Hour))
	if err != nil {
		s.t.Fatal(err)
	}
	options := events.ConnectOptions{URL: strings.TrimSpace(string(url)), Credentials: provision, User: events.UserProvision, Name: "test", Log: log}
	nc, err := events.Connect(s.t.Context(), options)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	durable := events.Durable{Name: name, Types: types}
	if _, err := events.Provision(s.t.Context(), nc, events.StreamOptions{}, []events.Durable{durable}); err != nil {
		s.t.Fatal(err)
	}
	options.Credentials, options.User = own, name
	conn, err := events.Connect(s.t.Context(), options)
	if err != nil {
		s.t.Fatal(err)
	}
	w := workers.New(name, workers.WithConn(conn), workers.Logger(log))
	on(w)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
		conn.Close()
	})
}
