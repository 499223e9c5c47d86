package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// asks is a hook list entry that asks a worker.
func asks(name, timeout, onMissing string) settings {
	return settings{"hook": "worker", "config": settings{"name": name, "timeout": timeout, "on_missing": onMissing}}
}

// minter mints credentials as the API does.
func (s *system) minter() *events.Minter {
	s.t.Helper()
	var m *events.Minter
	var err error
	if s.shape == "parts" {
		m, err = events.LoadMinter(filepath.Join(s.dir, "bus", "creds"))
	} else {
		var keys *events.Keys
		if keys, err = events.LoadOrMakeKeys(filepath.Join(s.dir, "data", "bus", "keys")); err == nil {
			m, err = keys.Minter()
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// answering declares a worker that answers under a name, and runs it outside of
// the system.
func (s *system) answering(name string, handle func(q workers.Question) workers.Reply) {
	s.t.Helper()
	declaration := fmt.Appendf(nil, `{"name":%q,"kind":"answer"}`, name)
	if a := newApp(s.t, s.admins[0]).must("POST", "/admin/hooks", asJSON, declaration); a.status != http.StatusCreated {
		s.t.Fatalf("POST /admin/hooks = %d %s", a.status, a.body)
	}
	creds, err := s.minter().AnswerCredentials(name, time.Now().Add(time.Hour))
	if err != nil {
		s.t.Fatal(err)
	}
	address := s.busURL
	if address == "" {
		text, err := os.ReadFile(filepath.Join(s.dir, "data", "bus.url"))
		if err != nil {
			s.t.Fatal(err)
		}
		address = strings.TrimSpace(string(text))
	}
	log := slog.New(slog.DiscardHandler)
	nc, err := events.Connect(s.t.Context(), events.ConnectOptions{URL: address, Credentials: creds, User: name, Name: name, Log: log})
	if err != nil {
		s.t.Fatal(err)
	}
	w := workers.Answer(name, func(_ context.Context, q workers.Question) (workers.Reply, error) {
		return handle(q), nil
	}, workers.WithConn(nc), workers.Logger(log))
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	s.t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			s.t.Errorf("worker %s: %v", name, err)
		}
		nc.Close()
	})
}

// vet refuses who begins with "no-" and gives who begins with "old-" another address.
func vet(q workers.Question) workers.Reply {
	var traits struct{ Email string }
	if err := json.Unmarshal(q.Identity.Traits, &traits); err != nil {
		return workers.Refuse("", 4999000, "no traits")
	}
	switch {
	case strings.HasPrefix(traits.Email, "no-"):
		return workers.Refuse("#/traits/email", 4999001, "not you")
	case strings.HasPrefix(traits.Email, "old-"):
		changed, _ := json.Marshal(map[string]string{"email": "new-" + strings.TrimPrefix(traits.Email, "old-")}) // a text always can be
		return workers.Reply{Identity: &events.HookChange{Traits: changed}}
	}
	return workers.Reply{}
}

// asking has a worker that must answer and one that need not, and one at login.
func asking(*endpoint) settings {
	atLogin := settings{"login": settings{"after": settings{"hooks": []any{asks("gate", "2s", "continue")}}}}
	return merge(
		hooks(asks("vet", "2s", "refuse"), sessionHook, asks("extra", "200ms", "continue")),
		settings{"selfservice": settings{"flows": atLogin}},
	)
}

func TestAnsweringWorkers(t *testing.T) {
	t.Parallel()
	inEveryShape(t, asking, func(t *testing.T, s *system, _ *endpoint) {
		base := s.api(0)

		// Nobody answers: nobody is registered, in each shape of the answer.
		for shape, a := range map[string]*answer{
			"app": registerApp(t, base, newAddress()), "script": registerScript(t, base, newAddress()),
		} {
			if a.status != http.StatusBadGateway {
				t.Errorf("%s without the worker = %d %s, want 502", shape, a.status, a.body)
			}
		}
		if a := registerPage(t, base, newAddress()); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "error") {
			t.Errorf("page without the worker = %d to %s, want the error page", a.status, a.header.Get("Location"))
		}
		if ids := s.identities(); len(ids) > 0 {
			t.Errorf("%d people are stored whom no worker has judged", len(ids))
		}

		s.answering("vet", vet)
		eventually(t, 10*time.Second, func() error { return registersInAllShapes(t, base) })
		refusesInAllShapes(t, base)
		address := newAddress()
		if r := newApp(t, s.api(1)).register("old-" + address); !strings.Contains(identityOf(t, s, r.Identity.ID), `"new-`+address+`"`) {
			t.Errorf("the identity is %s, want the traits of the worker's answer", identityOf(t, s, r.Identity.ID))
		}

		// A worker that need not answer is passed over, logged and counted.
		if n := s.metric(`usher_hook_answer_duration_seconds_count{answer="missing",hook="extra"}`); n < 1 {
			t.Errorf("%v questions to the missing worker are counted, want some", n)
		}
		if !strings.Contains(s.logs(), "passed over") {
			t.Error("no log line says that a worker was passed over")
		}

		// At a login it is the same.
		if a, err := newApp(t, base).login("new-" + address); err != nil || a.status != http.StatusOK {
			t.Errorf("login without the worker = %v %d %s, want 200", err, a.status, a.body)
		}
		s.answering("gate", func(workers.Question) workers.Reply { return workers.Refuse("", 4999002, "not now") })
		eventually(t, 10*time.Second, func() error {
			a, err := newApp(t, base).login("new-" + address)
			if err == nil && (a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "4999002")) {
				err = fmt.Errorf("login = %d %s, want the worker's refusal", a.status, a.body)
			}
			return err
		})

		stdout, stderr, _ := usher(t, s.env, "hooks", "plan", "--dev", "-c", s.config)
		if !strings.Contains(stdout, "worker vet (no answer in 2s: refuse)") || !strings.Contains(stdout, "worker extra is written behind session") {
			t.Errorf("hooks plan = %s%s, want the workers, and a note about the one behind session", stdout, stderr)
		}
		if !strings.Contains(stdout, "warning: worker vet is asked, and the configuration does not declare it") {
			t.Errorf("hooks plan = %s, want a warning about the workers that nobody has declared", stdout)
		}
	})
}

// registersInAllShapes says where a person is not signed in at once.
func registersInAllShapes(t *testing.T, base string) error {
	t.Helper()
	for _, a := range []*answer{registerApp(t, base, newAddress()), registerScript(t, base, newAddress())} {
		if a.status != http.StatusOK || !strings.Contains(string(a.body), `"session":`) {
			return fmt.Errorf("registration = %d %s, want a session", a.status, a.body)
		}
	}
	a := registerPage(t, base, newAddress())
	signedIn := slices.ContainsFunc(a.header.Values("Set-Cookie"), func(c string) bool { return strings.HasPrefix(c, "ory_kratos_session=") })
	if a.status != http.StatusSeeOther || !signedIn {
		return fmt.Errorf("page = %d %v, want to be signed in", a.status, a.header)
	}
	return nil
}

// refusesInAllShapes checks that the worker's message is in the form, at its node.
func refusesInAllShapes(t *testing.T, base string) {
	t.Helper()
	for _, a := range []*answer{registerApp(t, base, "no-"+newAddress()), registerScript(t, base, "no-"+newAddress())} {
		var f flowView
		a.json(t, &f)
		if a.status != http.StatusBadRequest || !atAddress(f, 4999001) {
			t.Errorf("refused registration = %d %s, want the worker's message at traits.email", a.status, a.body)
		}
	}
	page := newBrowser(t, base)
	a := page.form(page.browserFlow(), "no-"+newAddress())
	location, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status/100 != 3 {
		t.Fatalf("refused page = %d %v, want a redirect to the form", a.status, err)
	}
	var f flowView
	page.must("GET", "/self-service/registration/flows?id="+location.Query().Get("flow"), asJSON, nil).json(t, &f)
	if !atAddress(f, 4999001) {
		t.Errorf("the form of the page holds messages %v, want the worker's", f.messages())
	}
}

// atAddress tells whether a message is at the node of the address.
func atAddress(f flowView, id int64) bool {
	return slices.ContainsFunc(f.UI.Nodes, func(n nodeView) bool {
		return n.Attributes.Name == "traits.email" && slices.Contains(n.Messages, messageView{ID: id})
	})
}

func identityOf(t *testing.T, s *system, id string) string {
	t.Helper()
	return string(newApp(t, s.admins[0]).must("GET", "/admin/identities/"+id, nil, nil).body)
}
