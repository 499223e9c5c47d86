package api_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// hookDesk is what the routes of hooks and dead letters call. It knows the hook
// "crm" and one failure.
type hookDesk struct {
	url     string // of the hooks
	err     error  // what everything answers, if it is set
	asked   []string
	query   delivery.FailureQuery
	event   uuid.UUID
	count   int
	replay  delivery.ReplayOptions
	long    time.Duration
	created delivery.Hook
	check   delivery.CheckOptions
	until   time.Duration // of the check
}

func withHooks(d *hookDesk) func(*world) {
	return func(w *world) {
		w.options.Hooks, w.options.Failures, w.options.Redeliverer, w.options.BusURL = d, d, d, "tls://bus.example"
		w.options.BusCA = func() string { return "PEM of the bus" }
		w.options.Checker, w.options.SessionWorkers = d, seenWorkers{}
	}
}

func (d *hookDesk) shown(what, name string) (delivery.Shown, error) {
	d.asked = append(d.asked, what+" "+name)
	if d.err == nil && name != "crm" {
		return delivery.Shown{}, delivery.ErrNoHook
	}
	return delivery.Shown{
		Hook:     delivery.Hook{Name: name, Kind: delivery.Worker, Types: []string{"identity.created"}, URL: d.url, CreatedAt: noon, Secrets: []webhook.Secret{webhook.NewSecret("whsec_stored")}},
		Consumer: &delivery.Consumer{Pending: 7, PausedUntil: noon},

		Instances: []delivery.Instance{{ID: "one", Version: "1.0.0", Started: noon, Counts: map[string]int64{"done": 5, "retry": 2, "running": 1}}, {ID: "two"}},
		Failures:  map[delivery.State]int64{delivery.Dead: 3},
	}, d.err
}

var shownOnce = webhook.NewSecret("creds-4711")

func (d *hookDesk) List(context.Context) ([]delivery.Shown, error) {
	s, err := d.shown("list", "crm")
	return []delivery.Shown{s, {Hook: delivery.Hook{Name: "built", Kind: delivery.Worker}}}, err
}

func (d *hookDesk) Declared(context.Context) ([]delivery.Shown, error) {
	s, err := d.shown("declared", "crm")
	s.Instances = nil
	return []delivery.Shown{s}, err
}

func (d *hookDesk) Show(_ context.Context, name string) (delivery.Shown, error) {
	return d.shown("show", name)
}

func (d *hookDesk) Create(_ context.Context, h delivery.Hook, _ delivery.Author) (delivery.Shown, delivery.Credential, error) {
	d.created = h
	s, err := d.shown("create", h.Name)
	return s, shownOnce, err
}

func (d *hookDesk) Rotate(_ context.Context, name string, _ delivery.Author) (delivery.Shown, delivery.Credential, error) {
	s, err := d.shown("rotate", name)
	return s, shownOnce, err
}

func (d *hookDesk) Pause(_ context.Context, name string, long time.Duration, _ delivery.Author) (delivery.Shown, error) {
	d.long = long
	return d.shown("pause", name)
}

func (d *hookDesk) Resume(_ context.Context, name string, _ delivery.Author) (delivery.Shown, error) {
	return d.shown("resume", name)
}

func (d *hookDesk) Remove(_ context.Context, name string, _ delivery.Author) error {
	_, err := d.shown("remove", name)
	return err
}

const (
	hookJSON = `{"name":"crm","kind":"worker","events":["identity.created"]}`
	asJSON   = "application/json"
)

func TestHooks(t *testing.T) {
	t.Parallel()
	d := &hookDesk{}
	w := newWorld(t, withHooks(d))
	c := w.admin()
	for _, r := range []struct {
		method, path, body string
		status             int
		secret             bool
	}{
		{"GET", "/admin/hooks", "", 200, false},
		{"POST", "/admin/hooks", hookJSON, 201, true},
		{"GET", "/admin/hooks/crm", "", 200, false},
		{"POST", "/admin/hooks/crm/pause", `{"for":"10m"}`, 200, false},
		{"POST", "/admin/hooks/crm/resume", "", 200, false},
		{"POST", "/admin/hooks/crm/rotate", "", 200, true},
		{"DELETE", "/admin/hooks/crm", "", 204, false},
	} {
		g := c.do(r.method, r.path, r.body, "Content-Type", asJSON)
		if g.status != r.status || strings.Contains(g.body, "creds-4711") != r.secret || strings.Contains(g.body, "whsec_stored") {
			t.Errorf("%s %s = %d %s, want %d, secret %v", r.method, r.path, g.status, g.body, r.status, r.secret)
		}
	}
	if want := []string{"list crm", "create crm", "show crm", "pause crm", "resume crm", "rotate crm", "remove crm"}; !slices.Equal(d.asked, want) || d.long != 10*time.Minute {
		t.Errorf("asked for %q, %s, want %q, 10m", d.asked, d.long, want)
	}
	if strings.Contains(w.log.String(), "creds-4711") {
		t.Errorf("the log shows a secret: %s", w.log)
	}
}

// What is refused says until when, and what may be done.
func TestANameThatIsUsed(t *testing.T) {
	t.Parallel()
	used := &delivery.NameUsed{Name: "crm", Until: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}
	c := newWorld(t, withHooks(&hookDesk{err: fmt.Errorf("create: %w", used)})).admin()
	g := c.do("POST", "/admin/hooks", hookJSON, "Content-Type", asJSON)
	if g.status != 409 || !strings.Contains(g.body, "2027-01-02T03:04:05Z") || !strings.Contains(g.body, "reuse_name") {
		t.Errorf("POST = %d %s, want 409 with the time, and reuse_name", g.status, g.body)
	}
	d := &hookDesk{}
	c = newWorld(t, withHooks(d)).admin()
	for body, want := range map[string]bool{hookJSON: false, strings.Replace(hookJSON, "{", `{"reuse_name":true,`, 1): true} {
		if g := c.do("POST", "/admin/hooks", body, "Content-Type", asJSON); g.status != 201 || d.created.ReuseName != want {
			t.Errorf("POST %s = %d %s, created %+v, want to reuse the name: %t", body, g.status, g.body, d.created, want)
		}
	}
}

func TestHooksRefuse(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		method, path, body string
		err                error
		status             int
	}{
		{"POST", "/admin/hooks", `{"name":"crm","kind":"worker","secret":"x"}`, nil, 400},
		{"POST", "/admin/hooks", hookJSON + `{}`, nil, 400},
		{"POST", "/admin/hooks", strings.Replace(hookJSON, `"name"`, `"NAME"`, 1), nil, 400},
		{"POST", "/admin/hooks", strings.Replace(hookJSON, `{`, `{"name":"other",`, 1), nil, 400},
		{"POST", "/admin/hooks", hookJSON, &delivery.Invalid{Text: "no such type"}, 400},
		{"POST", "/admin/hooks", hookJSON, delivery.ErrHookExists, 409},
		{"POST", "/admin/hooks", hookJSON, &delivery.NameUsed{Name: "crm"}, 409},
		{"POST", "/admin/hooks", hookJSON, errors.New("secret detail"), 500},
		{"GET", "/admin/hooks", "", errors.New("secret detail"), 500},
		{"GET", "/admin/hooks/other", "", nil, 404},
		{"POST", "/admin/hooks/crm/pause", `{"for":"-1m"}`, nil, 400},
		{"POST", "/admin/hooks/crm/pause", `{"for":"soon"}`, nil, 400},
		{"POST", "/admin/hooks/crm/pause", `{"until":"10m"}`, nil, 400},
		{"POST", "/admin/hooks/other/pause", "", nil, 404},
		{"POST", "/admin/hooks/other/resume", "", nil, 404},
		{"POST", "/admin/hooks/crm/resume", "", delivery.ErrUnready, 409},
		{"DELETE", "/admin/hooks/crm", "", &delivery.Invalid{Text: "a webhook"}, 400},
		{"POST", "/admin/hooks/crm/rotate", "", delivery.ErrFixed, 409},
		{"POST", "/admin/hooks/other/rotate", "", nil, 404},
		{"DELETE", "/admin/hooks/crm", "", delivery.ErrFixed, 409},
		{"DELETE", "/admin/hooks/other", "", nil, 404},
	} {
		c := newWorld(t, withHooks(&hookDesk{err: r.err})).admin()
		g := c.do(r.method, r.path, r.body, "Content-Type", asJSON)
		if g.status != r.status || strings.Contains(g.body, "creds-4711") || strings.Contains(g.body, "secret detail") {
			t.Errorf("%s %s %s (%v) = %d %s, want %d", r.method, r.path, r.body, r.err, g.status, g.body, r.status)
		}
	}
}

// A misspelt trait was declared, and never given.
func TestWorkersAskForTraitsThatThereAre(t *testing.T) {
	t.Parallel()
	for traits, want := range map[string]string{`["emial"]`: "did you mean email?", `["email","shoes"]`: "want age, email", `["email"]`: ""} {
		g := newWorld(t, withHooks(&hookDesk{})).admin().do("POST", "/admin/hooks",
			`{"name":"crm","kind":"worker","events":["identity.created"],"traits":`+traits+`}`, "Content-Type", asJSON)
		if (g.status == 400) != (want != "") || !strings.Contains(g.body, want) {
			t.Errorf("traits %s = %d %s, want %q", traits, g.status, g.body, want)
		}
	}
}

// TestHooksAreGuarded: beyond loopback every route of hooks wants a token.
func TestHooksAreGuarded(t *testing.T) {
	t.Parallel()
	d := &hookDesk{}
	w := newWorld(t, withHooks(d), func(w *world) { w.options.Guarded = true })
	c, public := w.admin(), w.app()
	n := 0
	for _, r := range api.Routes(w.server.Admin()) {
		method, path, _ := strings.Cut(r, " ")
		if !strings.HasPrefix(path, "/admin/hooks") && !strings.HasPrefix(path, "/admin/dead-letters") || method == "HEAD" {
			continue
		}
		n++
		path = strings.NewReplacer("{name}", "crm", "{hook}", "crm", "{event}", uuid.NewString()).Replace(path)
		checkAdmin(t, c, method, path, "", 401)
		checkAdmin(t, public, method, path, "", 404)
	}
	if n != 13 || len(d.asked) != 0 {
		t.Errorf("%d routes, asked for %q, want 13 and nothing", n, d.asked)
	}
}

// What a webhook's URL holds behind its path may be a credential.
func TestHooksShowNoQuery(t *testing.T) {
	t.Parallel()
	desk := &hookDesk{url: "https://crm.example/in?key=hidden"}
	c := newWorld(t, withHooks(desk)).admin()
	for _, path := range []string{"/admin/hooks", "/admin/hooks/crm"} {
		if g := c.get(path); g.status != 200 || strings.Contains(g.body, "hidden") || !strings.Contains(g.body, "crm.example/in") {
			t.Errorf("%s = %d %s, want the URL without its query", path, g.status, g.body)
		}
	}
}
