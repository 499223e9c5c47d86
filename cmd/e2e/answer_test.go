package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/workers"
)

// masked are the parts of an answer that differ from person to person.
var masked = []*regexp.Regexp{
	regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
	regexp.MustCompile(`\d{4}-\d{2}-\d{2}T[0-9:.]+Z`),
	regexp.MustCompile(`ory_s[tc]_[0-9A-Za-z]{32}`),
	regexp.MustCompile(`person-\d+@example\.org`),
	regexp.MustCompile(`127\.0\.0\.1:\d+`),
	regexp.MustCompile(`(ory_kratos_session|csrf_token_[0-9a-f]+)=[^;]+`),
	regexp.MustCompile(`Expires=[^;\n]+|Max-Age=\d+`),
}

func mask(text string) string {
	for _, m := range masked {
		text = m.ReplaceAllString(text, "*")
	}
	return text
}

// shapesOf registers three people, one in each answer shape, and gives the
// answers with everything masked that differs from person to person.
func shapesOf(t testing.TB, base string) string {
	t.Helper()
	var all strings.Builder
	add := func(a *answer) {
		cookies := slices.Sorted(slices.Values(a.header.Values("Set-Cookie")))
		fmt.Fprintf(&all, "%d %s %s %s\n%s\n", a.status, a.header.Get("Content-Type"), a.header.Get("Location"), strings.Join(cookies, "\n"), a.body)
	}
	add(registerApp(t, base, newAddress()))
	add(registerScript(t, base, newAddress()))
	add(registerPage(t, base, newAddress()))
	return mask(all.String())
}

// registerApp registers as an app does: JSON, and a token in the answer.
func registerApp(t testing.TB, base, address string) *answer {
	t.Helper()
	app := newApp(t, base)
	f, err := app.initAPI()
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.submit(f.ID, submission("", address, goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// registerScript registers as a script in a page does: JSON and a cookie.
func registerScript(t testing.TB, base, address string) *answer {
	t.Helper()
	script := newBrowser(t, base)
	f := script.browserFlow()
	a, err := script.submit(f.ID, submission(f.csrf(), address, goodPassword))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// registerPage registers as a page's form does: a redirect and a cookie.
func registerPage(t testing.TB, base, address string) *answer {
	t.Helper()
	page := newBrowser(t, base)
	return page.form(page.browserFlow(), address)
}

// TestNothingComesAfterTheSession is P4: however the hooks of a list are
// ordered and repeated, in all three shapes, the answer's bytes are the same
// and session ran last.
func TestNothingComesAfterTheSession(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	record := func(step string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, step)
	}
	e := newEndpoint(t)
	e.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		record(strings.TrimPrefix(r.URL.Path, "/"))
		if r.URL.Path == "/parsing" {
			w.WriteHeader(http.StatusNoContent)
		}
	}
	kinds := map[string]any{
		"session":    sessionHook,
		"waiting":    e.webHook("waiting", settings{"ignore": false}),
		"parsing":    e.webHook("parsing", settings{"parse": true}),
		"background": e.webHook("background", settings{"ignore": true}),
	}
	kinds["worker"] = asks("judge", "5s", "refuse")
	s := newSystem(t, "sqlite", hooks(sessionHook))
	s.answering("judge", func(workers.Question) workers.Reply { record("worker"); return workers.Reply{} })
	want := shapesOf(t, s.apis[0])
	if !strings.Contains(want, `"session_token":"*"`) || strings.Count(want, "ory_kratos_session") != 0 || strings.Count(want, "303") != 1 {
		t.Fatalf("the answers of %s are not what this test compares with", want)
	}

	rapid.Check(t, func(r *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"session", "waiting", "parsing", "background", "worker"}), 1, 6).Draw(r, "hooks")
		if !slices.Contains(names, "session") {
			names = append(names, "session")
			names = rapid.Permutation(names).Draw(r, "order")
		}
		var list []any
		for _, n := range names {
			list = append(list, kinds[n])
		}
		s.reload(hooks(list...))
		mu.Lock()
		order = nil
		mu.Unlock()
		if got := shapesOf(t, s.apis[0]); got != want {
			r.Fatalf("hooks %v: answers\n%s\nwant\n%s", names, got, want)
		}
		// The hooks that an answer waits for came while it was made; session is
		// what issued the last thing in it.
		mu.Lock()
		defer mu.Unlock()
		for _, kind := range []string{"waiting", "parsing", "worker"} {
			count := 0
			for _, o := range order {
				if o == kind {
					count++
				}
			}
			if times := countOf(names, kind); count != 3*times {
				r.Fatalf("hooks %v: %s ran %d times before three answers, want %d", names, kind, count, 3*times)
			}
		}
	})
	s.sessionsRanLast()
}

func countOf(list []string, what string) (n int) {
	for _, x := range list {
		if x == what {
			n++
		}
	}
	return n
}

// reload gives the processes another configuration and waits until all follow it.
func (s *system) reload(extra settings) {
	s.t.Helper()
	former, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	before := s.revisions()
	s.write(merge(s.base, extra))
	if now, err := os.ReadFile(s.config); err == nil && string(now) == string(former) {
		return // what is in force already has no new revision
	}
	for _, p := range s.named("") {
		if p.bin == usherBin {
			p.signal(syscall.SIGHUP)
		}
	}
	eventually(s.t, 10*time.Second, func() error {
		for i, now := range s.revisions() {
			if now == before[i] {
				return fmt.Errorf("%s still has the former configuration: %s", s.admins[i], extra)
			}
		}
		return nil
	})
}

// revisions are the reload counts that the api processes show with their plan.
func (s *system) revisions() (all []int) {
	s.t.Helper()
	for _, admin := range s.admins {
		var plans struct {
			Revision int `json:"revision"`
		}
		newApp(s.t, admin).must("GET", "/admin/plan", nil, nil).json(s.t, &plans)
		all = append(all, plans.Revision)
	}
	return all
}

// sessionsRanLast checks the recorded times of all registrations: no step
// ended after the session was asked for.
func (s *system) sessionsRanLast() {
	s.t.Helper()
	created := map[string]bool{}
	for _, e := range s.events("") {
		switch e.Type {
		case "identity.created":
			created[e.Subject] = true
		case "session.issued":
			if !created[e.Subject] {
				s.t.Errorf("session.issued of %s stands before its identity.created", e.Subject)
			}
		}
	}
}
