package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
)

// rotation is a system in parts that goes over to other secrets, one half of its
// processes after the other, as two machines do.
type rotation struct {
	*system
	background *endpoint
	extra      settings
	files      []string // of the configuration: each process ending in "-1" has the first
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{background: newEndpoint(t)}
	r.extra = signInAndTell(r.background)
	r.system = declareSystem(t, "parts", r.with(oldSecret))
	r.files = []string{r.config, filepath.Join(r.dir, "usher-2.yaml")}
	text, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, r.files[1], string(text))
	for name, p := range r.processes {
		if strings.HasSuffix(name, "-2") {
			p.args[slices.Index(p.args, r.config)] = r.files[1]
		}
	}
	r.launch()
	return r
}

const oldSecret, newSecret = "Vj2mWq8Zt5Rk1Xn7", "Bc4Hf9Lp3Ds6Ga0Y"

// with is a configuration with these secrets, for cookies and keys.
func (r *rotation) with(secrets ...string) settings {
	return merge(r.extra, settings{"secrets": settings{"cookie": secrets, "cipher": secrets}})
}

// usersOf are those that the parts of each kind connect to the bus as.
var usersOf = map[string][]string{
	"api-":     {events.UserAPIAuth, events.UserAPIEvents, events.UserProvision, events.UserAdminAuth, events.UserAdminEvents, events.UserDelivery},
	"session-": {events.UserSession, events.UserSessionEvents},
	"hooks-":   {events.UserHooks, events.UserDelivery},
}

// step gives all parts other credentials of the bus, and then one half after the other
// other secrets; it returns when all go by them.
func (r *rotation) step(secrets ...string) {
	r.t.Helper()
	said := map[*process]int{} // before
	for _, p := range r.processes {
		said[p] = len(p.output())
	}
	if _, stderr, code := usher(r.t, nil, "bus", "config", "--again", "--out", filepath.Join(r.dir, "bus")); code != 0 {
		r.t.Fatalf("usher bus config --again: exit %d: %s", code, stderr)
	}
	for i, file := range r.files {
		text, err := os.ReadFile(r.write(merge(r.base, r.with(secrets...))))
		if err != nil {
			r.t.Fatal(err)
		}
		if i > 0 {
			replace(r.t, file, string(text))
		}
		for name, p := range r.processes {
			if strings.HasSuffix(name, fmt.Sprintf("-%d", i+1)) {
				r.says(p, said[p], `"configuration read again" changed=`)
			}
		}
	}
	for part, users := range usersOf {
		for _, p := range r.named(part) {
			for _, user := range users {
				r.says(p, said[p], fmt.Sprintf(`"credentials of the bus read again" connection="usher %s"`, user))
			}
		}
	}
}

// says waits until a process has said something, behind what it had said before.
func (r *rotation) says(p *process, before int, what string) {
	r.t.Helper()
	eventually(r.t, 15*time.Second, func() error {
		if !strings.Contains(p.output()[before:], what) {
			return fmt.Errorf("%s did not say %s", p.name, what)
		}
		return nil
	})
}

// replace gives a file another text at once.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.Rename(write(t, path+".new", text), path); err != nil {
		t.Fatal(err)
	}
}

// comesAndGoes is one person: they register with one api process as an app and come back
// to another, and register as a browser and are recognised by another.
func (r *rotation) comesAndGoes(n int) error {
	app := newApp(r.t, r.api(n))
	address := newAddress()
	f, err := app.initAPI()
	if err != nil {
		return err
	}
	a, err := app.submit(f.ID, submission("", address, goodPassword))
	if err = in(a, err); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	app.base = r.api(n + 1)
	a, err = app.login(address)
	if err = in(a, err); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	browser, err := r.browser(n)
	if err != nil {
		return err
	}
	return recognised(browser, "", r.api(n+1))
}

// in says why an answer is none that signs in.
func in(a *answer, err error) error {
	if err != nil {
		return err
	}
	if a.status != http.StatusOK || !strings.Contains(string(a.body), `"session":{`) {
		return fmt.Errorf("%d %.300s, want 200 with a session", a.status, a.body)
	}
	return nil
}

// browser registers somebody whose session is in a cookie.
func (r *rotation) browser(n int) (*client, error) {
	c := newBrowser(r.t, r.api(n))
	a, err := c.do("GET", "/self-service/registration/browser", map[string]string{"Accept": "application/json"}, nil)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("init browser: %d %.300s", a.status, a.body)
	}
	var f flowView
	a.json(r.t, &f)
	a, err = c.submit(f.ID, submission(f.csrf(), newAddress(), goodPassword))
	if err = in(a, err); err != nil {
		return nil, fmt.Errorf("register in a browser: %w", err)
	}
	return c, nil
}

// recognised asks these api processes whose session it is: that of a token, or the cookie's.
func recognised(c *client, token string, apis ...string) error {
	for _, c.base = range apis {
		a, err := c.do("GET", "/sessions/whoami", map[string]string{"X-Session-Token": token}, nil)
		if err != nil {
			return err
		}
		if a.status != http.StatusOK {
			return fmt.Errorf("whoami: %d %.300s", a.status, a.body)
		}
	}
	return nil
}

// crowd are people who come all the time, and what became of them.
type crowd struct {
	stop   func() // returns when the last of them is gone
	mu     sync.Mutex
	came   int
	failed map[string]int
}

// crowd lets people come until it is stopped, or the test ends.
func (r *rotation) crowd() *crowd {
	c := &crowd{failed: map[string]int{}}
	stop := make(chan struct{})
	var all sync.WaitGroup
	c.stop = sync.OnceFunc(func() {
		close(stop)
		all.Wait()
	})
	r.t.Cleanup(c.stop) // before the processes end
	all.Go(func() {
		tick := time.NewTicker(80 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			all.Go(func() {
				err := r.comesAndGoes(n)
				c.mu.Lock()
				defer c.mu.Unlock()
				c.came++
				if err != nil {
					c.failed[err.Error()]++
				}
			})
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return c
}

// TestSecretsRotateUnderLoad: all secrets of all parts are replaced as deploy/upgrade.md
// says, while people come by all api processes: nobody is refused, nobody signed out, and
// no event or hook is lost.
func TestSecretsRotateUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	token := newApp(t, r.api(0)).register(newAddress()).SessionToken
	before, err := r.browser(0)
	if err != nil {
		t.Fatal(err)
	}
	people := r.crowd()
	r.step(oldSecret, newSecret)
	r.step(newSecret, oldSecret)
	if err := recognised(before, "", r.apis...); err != nil {
		t.Errorf("a cookie of the former secret, which is still listed: %v", err)
	}
	during, err := r.browser(1)
	if err != nil {
		t.Fatal(err)
	}
	r.step(newSecret)
	people.stop()
	if len(people.failed) > 0 {
		t.Errorf("%d people came, and failed: %v", people.came, people.failed)
	}
	if err := recognised(newApp(t, r.api(0)), token, r.apis...); err != nil {
		t.Errorf("a token that is older than all secrets: %v", err)
	}
	if err := recognised(during, "", r.apis...); err != nil {
		t.Errorf("a cookie of the new secret: %v", err)
	}
	if err := recognised(before, "", r.apis...); err == nil {
		t.Error("a cookie of the former secret is good although that is no longer listed")
	}
	r.whole(r.background)
	t.Logf("%d people came while all secrets were replaced", people.came)
}
