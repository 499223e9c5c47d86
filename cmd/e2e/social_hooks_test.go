package e2e_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/oidc/oidctest"
	"github.com/usher-auth/usher/workers"
)

// TestEveryWayInTellsTheSameHooks is P5 for all ways in: whoever is registered by
// a password or by a provider, by a login that becomes a registration or by a
// form that was completed later, tells the background hooks of the method's plan,
// as does whoever signs in or links; and workers on the bus get the same events of
// all of them. Whether there is a session step counts for none of it.
func TestEveryWayInTellsTheSameHooks(t *testing.T) {
	t.Parallel()
	a := newArrivals(t)
	rapid.Check(t, func(r *rapid.T) {
		a.configure(r)
		for _, way := range []func(*rapid.T){a.byPassword, a.byProvider, a.byLogin, a.completed, a.linked} {
			way(r)
		}
	})
	a.s.reload(a.all) // what a hook is owed waits while it is not configured
	eventually(t, time.Minute, a.hooksAgree)
	eventually(t, 30*time.Second, a.workersAgree)
	t.Logf("%d people came", len(a.people))
}

// arrivals are the people who came, with what should be told of them.
type arrivals struct {
	s        *system
	provider *oidctest.Provider
	kinds    map[string]any // hooks by name
	all      settings       // a configuration that has them all
	people   []arrival

	// What is in force: the background hooks of a method's plans, and the answer's session.
	registration, login map[string][]string
	session             map[string]bool

	mu     sync.Mutex
	called map[string]map[string]bool // hooks by address
	seen   map[string][]string        // events on the bus by identity
	ids    map[string]string          // identities by address
}

// arrival is one person.
type arrival struct {
	address string
	hooks   []string // sorted
	events  []string // sorted
}

// Hooks of registrations and of logins; "waiting" runs before the answer.
var (
	registrationHooks = []string{"audit", "crm", "mail"}
	loginHooks        = []string{"back", "seen"}
)

func newArrivals(t *testing.T) *arrivals {
	a := &arrivals{
		provider: oidctest.New(t), kinds: map[string]any{"session": sessionHook},
		called: map[string]map[string]bool{}, seen: map[string][]string{}, ids: map[string]string{},
	}
	e := newEndpoint(t)
	e.answer = func(_ http.ResponseWriter, r *http.Request, body string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		address := strings.Trim(body, "\"\n")
		if a.called[address] == nil {
			a.called[address] = map[string]bool{}
		}
		a.called[address][strings.TrimPrefix(r.URL.Path, "/")] = true
	}
	for _, name := range slices.Concat(registrationHooks, loginHooks, []string{"waiting"}) {
		hook := e.webHook(name, settings{"ignore": name != "waiting"})
		hook["config"].(settings)["body"] = emailBody
		a.kinds[name] = hook
	}
	a.all = merge(providerAt(a.provider), settings{"selfservice": settings{"flows": settings{
		"registration": settings{"after": settings{"hooks": a.list(registrationHooks)}},
		"login":        settings{"after": settings{"hooks": a.list(loginHooks)}},
	}}})
	a.s = newSystem(t, "sqlite", a.all)
	a.watch()
	return a
}

// providerAt is the configuration of a provider.
func providerAt(p *oidctest.Provider) settings {
	return providers(settings{
		"id": example, "provider": "generic", "issuer_url": p.URL,
		"client_id": oidctest.ClientID, "client_secret": oidctest.ClientSecret,
		"mapper_url": "base64://" + base64.StdEncoding.EncodeToString([]byte(mapper)),
	})
}

func (a *arrivals) list(names []string) []any {
	list := []any{} // an empty list; null means the default
	for _, name := range names {
		list = append(list, a.kinds[name])
	}
	return list
}

// watch keeps what a worker on the bus sees.
func (a *arrivals) watch() {
	note := func(id, text string) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !slices.Contains(a.seen[id], text) { // an event may come twice
			a.seen[id] = append(a.seen[id], text)
		}
		return nil
	}
	types := []string{events.IdentityCreated{}.EventType(), events.LoginSucceeded{}.EventType()}
	a.s.work("watch", types, func(w *workers.Worker) {
		workers.On(w, func(_ context.Context, e workers.Event[events.IdentityCreated]) error {
			return note(e.Data.IdentityID, "identity.created "+e.Data.Method+" "+e.Data.Provider)
		})
		workers.On(w, func(_ context.Context, e workers.Event[events.LoginSucceeded]) error {
			return note(e.Data.IdentityID, "login.succeeded "+e.Data.Method+" "+e.Data.Provider)
		})
	})
}

// configure draws the hooks of both methods and puts them in force.
func (a *arrivals) configure(r *rapid.T) {
	some := func(label string, from ...string) []string {
		list := rapid.Permutation(from).Draw(r, label)
		return list[:rapid.IntRange(0, len(list)).Draw(r, label+" length")]
	}
	global, loginGlobal := some("global", "waiting", "audit", "crm", "mail"), some("global of login", loginHooks...)
	auto := rapid.Bool().Draw(r, "auto_session")
	registration := settings{"hooks": a.list(global)}
	login := settings{"hooks": a.list(loginGlobal)}
	a.registration, a.login, a.session = map[string][]string{}, map[string][]string{}, map[string]bool{}
	for _, method := range []string{"password", "oidc"} {
		own, ownLogin := some(method, "session", "waiting", "audit", "crm", "mail"), some("login by "+method, loginHooks...)
		registration[method], login[method] = settings{"hooks": a.list(own)}, settings{"hooks": a.list(ownLogin)}
		a.session[method] = slices.Contains(own, "session") || method == "oidc" && auto
		a.registration[method] = own
		if !slices.ContainsFunc(own, func(name string) bool { return name != "session" }) {
			a.registration[method] = global // where the method has no web_hook
		}
		if a.login[method] = ownLogin; len(ownLogin) == 0 {
			a.login[method] = loginGlobal
		}
	}
	registration["oidc"].(settings)["auto_session"] = auto
	a.s.reload(merge(providerAt(a.provider), settings{"selfservice": settings{"flows": settings{
		"registration": settings{"after": registration}, "login": settings{"after": login},
	}}}))
}

// visitor is a person with an address at the provider, or without.
func (a *arrivals) visitor(r *rapid.T, claims map[string]any) *visitor {
	v := a.s.visitor(rapid.SampledFrom(ways).Draw(r, "way"), 0)
	v.signIn = claiming(a.provider, claims)
	return v
}

// claiming signs in at a provider that says this of whoever comes.
func claiming(p *oidctest.Provider, claims map[string]any) func(authorization, user string) (string, error) {
	return func(authorization, _ string) (string, error) {
		p.Change(func(p *oidctest.Provider) { p.Claims = claims })
		location, page, err := walk(&http.Client{CheckRedirect: stay}, http.MethodGet, authorization, nil)
		if err == nil && location == "" {
			err = fmt.Errorf("the provider says %s", page)
		}
		return location, err
	}
}

// came notes a person, with what should be told: of the registration by a method,
// and of the logins by others.
func (a *arrivals) came(address, registered string, logins ...string) {
	names := slices.Clone(a.registration[registered])
	told := []string{"identity.created " + from(registered)}
	for _, method := range logins {
		names = append(names, a.login[method]...)
		told = append(told, "login.succeeded "+from(method))
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "session" || name == "waiting" })
	slices.Sort(names)
	slices.Sort(told)
	a.people = append(a.people, arrival{address, slices.Compact(names), told})
}

// from is a method, and the provider where it has one.
func from(method string) string {
	if method == "oidc" {
		return "oidc " + example
	}
	return method + " "
}

func (a *arrivals) byPassword(r *rapid.T) {
	address := newAddress()
	register := rapid.SampledFrom([]func(testing.TB, string, string) *answer{registerApp, registerScript, registerPage}).Draw(r, "register")
	if got := register(a.s.t, a.s.apis[0], address); got.status != http.StatusOK && got.status != http.StatusSeeOther {
		r.Fatalf("registration = %d %s", got.status, got.body)
	}
	a.came(address, "password")
}

// entered wants an answer that lets somebody in, with a session if there is to be one.
func (a *arrivals) entered(r *rapid.T, v *visitor, got *answer) {
	if _, err := v.session(got); (err == nil) != a.session["oidc"] {
		r.Fatalf("%s: session %v, want one: %t", v.way, err, a.session["oidc"])
	}
}

// byProvider registers and comes again.
func (a *arrivals) byProvider(r *rapid.T) {
	address := newAddress()
	claims := map[string]any{"sub": address, "email": address}
	v := a.visitor(r, claims)
	a.entered(r, v, v.visit("registration", example, "", nil))
	v = a.visitor(r, claims)
	v.in(v.visit(rapid.SampledFrom([]string{"registration", "login"}).Draw(r, "again"), example, "", nil))
	a.came(address, "oidc", "oidc")
}

// byLogin registers although the form was that of a login.
func (a *arrivals) byLogin(r *rapid.T) {
	address := newAddress()
	v := a.visitor(r, map[string]any{"sub": address, "email": address})
	a.entered(r, v, v.visit("login", example, "", nil))
	a.came(address, "oidc")
}

// completed enters what the provider does not say.
func (a *arrivals) completed(r *rapid.T) {
	address := newAddress()
	v := a.visitor(r, map[string]any{"sub": address})
	kind, f := v.shown(v.visit(rapid.SampledFrom([]string{"registration", "login"}).Draw(r, "first"), example, "", nil))
	a.entered(r, v, v.goThrough(kind, f, example, "", map[string]string{"traits.email": address}))
	a.came(address, "oidc")
}

// linked has a password and adds the provider.
func (a *arrivals) linked(r *rapid.T) {
	address := newAddress()
	registerApp(a.s.t, a.s.apis[0], address)
	v := a.visitor(r, map[string]any{"sub": address, "email": address})
	kind, f := v.shown(v.visit("registration", example, "", nil))
	v.signedIn(v.submit(kind, f, map[string]string{"method": "password", "identifier": address, "password": goodPassword}))
	a.came(address, "password", "password")
}

// hooksAgree holds what the hooks were called with against what should be told.
func (a *arrivals) hooksAgree() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.people {
		var got []string
		for name := range a.called[p.address] {
			if name != "waiting" {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, p.hooks) {
			return fmt.Errorf("background hooks of %s (%v) = %v, want %v", p.address, p.events, got, p.hooks)
		}
	}
	return nil
}

// workersAgree holds what the worker has seen against what should be told.
func (a *arrivals) workersAgree() error {
	if len(a.ids) == 0 {
		for _, i := range a.s.stored() {
			a.ids[i.Traits.Email] = i.ID
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.people {
		got := slices.Sorted(slices.Values(a.seen[a.ids[p.address]]))
		if !slices.Equal(got, p.events) {
			return fmt.Errorf("events of %s on the bus = %v, want %v", p.address, got, p.events)
		}
	}
	return nil
}
