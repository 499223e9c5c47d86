package e2e_test

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// walked is what an owner is to read at a route of the console, where there is
// something to read.
type walked struct {
	path  string // of the route, with what it leaves open
	texts []string
	want  int // 0 is 200
}

// TestWalkTheConsole: the pages are tested with answers that the tests made up. Here
// each of them is asked of the program, which has something to show on each.
func TestWalkTheConsole(t *testing.T) {
	t.Parallel()
	broken := newEndpoint(t)
	broken.answers(http.StatusBadGateway)
	s := newSystem(t, "sqlite", merge(mustVerify(), settings{"selfservice": settings{"flows": settings{"recovery": settings{"enabled": true}}}}))
	operator := signInOperator(t, s.admins[0], s.setUpLink())
	s.webhook("add", "warehouse", broken.URL+"/warehouse", "--events", "identity.created")
	save(t, s.admins[0], settings{"session.lifespan": "13h0m0s"})
	address := newAddress()
	newApp(t, s.apis[0]).register(newAddress())
	id := newApp(t, s.apis[0]).register(address).Identity.ID
	s.mailedCode(address, "")
	failed := s.waitingFor(t, id)
	mails, err := s.mails(address)
	if err != nil || len(mails) == 0 {
		t.Fatalf("mails to %s: %v, %v", address, mails, err)
	}
	eventually(t, 15*time.Second, func() error { // what is told every few seconds
		if text := textOf(operator.page("/console/")); !strings.Contains(text, "Registrations 2 ") {
			return fmt.Errorf("the overview counts no 2 registrations: %s", text)
		}
		return nil
	})

	walk := map[string]walked{
		"/console/{$}":                         {"/console/", []string{"Registrations 2", "2 in all", "This process has all it needs"}, 0},
		"/console/overview.json":               {"/console/overview.json", nil, 0},
		"/console/sign-in":                     {"/console/sign-in", nil, http.StatusOK},
		"/console/set-up":                      {"/console/set-up", nil, http.StatusGone},
		"/console/password":                    {"/console/password", []string{"owner"}, 0},
		"/console/operators":                   {"/console/operators", []string{"owner"}, 0},
		"/console/operators/{name}":            {"/console/operators/owner", []string{"owner"}, 0},
		"/console/settings":                    {"/console/settings", []string{"Sign In After Registration", "13 h"}, 0},
		"/console/settings/preview":            {"/console/settings/preview", []string{"13 h"}, 0},
		"/console/settings/history":            {"/console/settings/history", []string{"Revision 1", "13 h"}, 0},
		"/console/settings/compare":            {"/console/settings/compare?from=0&to=1", []string{"13 h", "as the file says"}, 0},
		"/console/settings/revert":             {"/console/settings/revert?to=0", []string{"24 h"}, 0},
		"/console/registrations":               {"/console/registrations", []string{id[:8]}, 0},
		"/console/registrations/{id}":          {"/console/registrations/" + id, []string{"warehouse", "identity.created"}, 0},
		"/console/identities":                  {"/console/identities", []string{address}, 0},
		"/console/identities/{id}":             {"/console/identities/" + id, []string{address, "password", "Make a recovery"}, 0},
		"/console/identities/{id}/delete":      {"/console/identities/" + id + "/delete", []string{address}, 0},
		"/console/sessions":                    {"/console/sessions", []string{address}, 0},
		"/console/workers":                     {"/console/workers", []string{"warehouse"}, 0},
		"/console/workers/new":                 {"/console/workers/new", nil, 0},
		"/console/workers/{name}":              {"/console/workers/warehouse", []string{"warehouse", "identity.created"}, 0},
		"/console/workers/{name}/replay":       {"/console/workers/warehouse/replay", []string{"warehouse"}, 0},
		"/console/workers/{name}/remove":       {"/console/workers/warehouse/remove", []string{"warehouse"}, 0},
		"/console/dead-letters":                {"/console/dead-letters?state=waiting", []string{"warehouse", "502"}, 0},
		"/console/dead-letters/{hook}/{event}": {"/console/dead-letters/warehouse/" + failed, []string{"warehouse", "502", "identity.created"}, 0},
		"/console/mail":                        {"/console/mail", []string{address}, 0},
		"/console/mail/{id}":                   {"/console/mail/" + mails[0].ID, []string{address, codePattern.FindString(mails[0].Body)}, 0},
		"/console/audit":                       {"/console/audit", []string{"webhook.add"}, 0},
		"/console/audit/tail":                  {"/console/audit/tail", nil, 0},
		"/console/audit/events/{event}":        {"/console/audit/events/" + failed, []string{"identity.created", id}, 0},
		"/console/audit/verify":                {"/console/audit/verify", nil, 0},
		"/console/audit/checkpoints":           {"/console/audit/checkpoints", nil, 0},
		"/console/audit/export":                {"/console/audit/export", []string{id}, 0},
	}
	for _, route := range consoleRoutes(t) {
		at, ok := walk[route]
		if !ok && route != "/console/registrations/stream" { // which goes on, see openTabs
			t.Errorf("nobody walks to %s", route)
			continue
		}
		if !ok {
			continue
		}
		a := operator.must("GET", at.path, map[string]string{"Accept": "text/html"}, nil)
		text := textOf(string(a.body))
		if want := max(at.want, http.StatusOK); a.status != want && (a.status != http.StatusSeeOther || len(at.texts) > 0) {
			t.Errorf("GET %s = %d %s, want %d", at.path, a.status, text, want)
		}
		if strings.Contains(text, "cannot be shown") {
			t.Errorf("GET %s does not show all: %s", at.path, text)
		}
		for _, want := range at.texts {
			if !strings.Contains(text, want) && !strings.Contains(string(a.body), want) {
				t.Errorf("GET %s lacks %q: %s", at.path, want, text)
			}
		}
	}
	s.sendRecovery(operator, id)
	for line := range strings.Lines(s.logs()) {
		if strings.Contains(line, "ERR") || strings.Contains(line, "panic") {
			t.Errorf("the log has: %s", line)
		}
	}
}

// recoveryLink is what the console shows of a link, and its token.
var recoveryLink = regexp.MustCompile(`https?://[^"<\s]*/self-service/recovery\?flow=[0-9a-f-]{36}&amp;token=([A-Z2-7]{26})`)

// sendRecovery makes a link for somebody in the console, and opens it in another
// browser: that is signed in, and the token stands nowhere but in the page.
func (s *system) sendRecovery(operator *client, id string) {
	s.t.Helper()
	a := operator.console(http.StatusOK, "/console/identities/"+id+"/recover", url.Values{"by": {"link"}, "expires_in": {"24h"}})
	found := recoveryLink.FindStringSubmatch(string(a.body))
	if found == nil {
		s.t.Fatalf("the page shows no link: %s", textOf(string(a.body)))
	}
	browser := newBrowser(s.t, s.apis[0])
	if a := browser.must("GET", html.UnescapeString(found[0]), map[string]string{"Accept": "text/html"}, nil); a.status != http.StatusSeeOther {
		s.t.Fatalf("the link = %d %s, want 303", a.status, a.body)
	}
	if a := browser.must("GET", "/sessions/whoami", nil, nil); a.status != http.StatusOK || !strings.Contains(string(a.body), id) {
		s.t.Errorf("whoami = %d %s, want who was recovered", a.status, a.body)
	}
	eventually(s.t, 15*time.Second, func() error {
		for _, e := range s.events("type=admin.acted") {
			if e.Data["action"] == "recovery.link" && e.Subject == id {
				return nil
			}
		}
		return errors.New("no event says who has made the link")
	})
	export := operator.must("GET", "/console/audit/export", nil, nil)
	for where, text := range map[string]string{"log": s.logs(), "event log": string(export.body)} {
		if strings.Contains(text, found[1]) {
			s.t.Errorf("the %s holds the token", where)
		}
	}
}

// waitingFor gives the event about an identity that a hook will try again.
func (s *system) waitingFor(t *testing.T, id string) (event string) {
	t.Helper()
	for _, e := range s.events("type=identity.created") {
		if e.Subject == id {
			event = e.ID
		}
	}
	eventually(t, 15*time.Second, func() error {
		a := newApp(t, s.admins[0]).must("GET", "/admin/dead-letters?state=waiting", nil, nil)
		if event == "" || !strings.Contains(string(a.body), event) {
			return fmt.Errorf("nothing waits for %s, event %q: %s", id, event, a.body)
		}
		return nil
	})
	return event
}

// consoleRoutes are the paths that somebody can open, as the matrix of the console
// has them, which its own test holds against its routes.
func consoleRoutes(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../services/console/matrix_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile(`(?m)^\s*"GET (/console[^"]*)":`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, row[1])
	}
	if len(all) < 30 || !slices.Contains(all, "/console/settings") {
		t.Fatalf("the matrix of the console has the rows %q, want all of them", all)
	}
	return all
}
