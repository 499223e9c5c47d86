package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// startConsole starts a process that is the console alone, and gives the base URL of
// its listener.
func (s *system) startConsole() (base string) {
	s.t.Helper()
	s.add("console", "console", 0)
	s.processes["console"].start(s.t)
	s.waitReady("console")
	return s.adminURL("console")
}

// adminURL is the base URL of a process's admin listener.
func (s *system) adminURL(name string) string {
	return strings.TrimSuffix(s.health[name], "/health/ready")
}

// setUpLink waits for the link that a process printed at the first start of all.
func (s *system) setUpLink() (link string) {
	s.t.Helper()
	eventually(s.t, 10*time.Second, func() error {
		if link = setUpLink.FindString(s.logs()); link == "" {
			return fmt.Errorf("no process has printed a set-up link")
		}
		return nil
	})
	return link
}

const operatorsPassword = "an operator's long enough secret 7"

// signInOperator sets the password of whoever has the set-up link, who is signed in
// at a console then.
func signInOperator(t testing.TB, base, link string) *client {
	t.Helper()
	c := newBrowser(t, base)
	c.verify = false // the pages are not in the API's description
	at, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.must("GET", at.RequestURI(), nil, nil); a.status != http.StatusSeeOther {
		t.Fatalf("set-up link = %d %s, want 303", a.status, a.body)
	}
	c.console(http.StatusSeeOther, "/console/set-up", url.Values{"password": {operatorsPassword}, "again": {operatorsPassword}})
	return c
}

// console posts a form to a page of the console, which must answer with the status.
func (c *client) console(want int, path string, form url.Values) *answer {
	c.t.Helper()
	a := c.must("POST", path, map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
	}, []byte(form.Encode()))
	if a.status != want {
		c.t.Fatalf("POST %s = %d %s, want %d", path, a.status, a.body, want)
	}
	return a
}

// page opens a page of the console, which must be there.
func (c *client) page(path string) string {
	c.t.Helper()
	a := c.must("GET", path, map[string]string{"Accept": "text/html"}, nil)
	if a.status != http.StatusOK {
		c.t.Fatalf("GET %s = %d %s, want 200", path, a.status, a.body)
	}
	return string(a.body)
}

// consolePages are the pages of the console by name; those about somebody are about
// this identity.
func consolePages(identity string) [][2]string {
	return [][2]string{
		{"overview", "/console/"},
		{"settings", "/console/settings"},
		{"registrations", "/console/registrations"},
		{"timeline", "/console/registrations/" + identity},
		{"identities", "/console/identities"},
		{"identity", "/console/identities/" + identity},
		{"workers", "/console/workers"},
		{"dead letters", "/console/dead-letters"},
		{"mail", "/console/mail"},
		{"audit", "/console/audit"},
		{"operators", "/console/operators"},
	}
}

// savedView is what the tests read of the settings.
type savedView struct {
	Revision struct {
		Number int64 `json:"revision"`
	} `json:"revision"`
	Settings []struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	} `json:"settings"`
	Refused []string `json:"refused"`
}

func (v savedView) value(name string) any {
	for _, s := range v.Settings {
		if s.Name == name {
			return s.Value
		}
	}
	return nil
}

// savedAt reads the settings at a process's admin listener.
func savedAt(t testing.TB, admin string) (v savedView) {
	t.Helper()
	a := newApp(t, admin).must("GET", "/admin/settings", nil, nil)
	if a.status != http.StatusOK {
		t.Fatalf("GET /admin/settings = %d %s", a.status, a.body)
	}
	a.json(t, &v)
	return v
}

// save saves settings at a process's admin listener, over the revision that is seen
// there. It gives the moment of the answer.
func save(t testing.TB, admin string, set settings) (answered time.Time) {
	t.Helper()
	a := trySave(t, admin, savedAt(t, admin).Revision.Number, set)
	if a.status != http.StatusOK {
		t.Fatalf("save %v = %d %s", set, a.status, a.body)
	}
	return time.Now()
}

func trySave(t testing.TB, admin string, seen int64, set settings) *answer {
	t.Helper()
	body, err := json.Marshal(settings{"revision": seen, "set": set})
	if err != nil {
		t.Fatal(err)
	}
	return newApp(t, admin).must("PATCH", "/admin/settings", asJSON, body)
}
