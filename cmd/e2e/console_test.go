package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

var setUpLink = regexp.MustCompile(`http://127\.0\.0\.1:\d+/console/set-up\?link=usher_setup_\w+`)

// TestTheConsoleIsAProcessOfItsOwn, or several, beside the others: one link is
// printed, whoever is signed in at one is at all, and nothing of it is public.
func TestTheConsoleIsAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	names := []string{"console-1", "console-2"}
	for _, name := range names {
		s.add(name, "console", 0)
		s.processes[name].start(t) // both at once: they make one link
	}
	var consoles []string
	for _, name := range names {
		s.waitReady(name)
		consoles = append(consoles, strings.TrimSuffix(s.health[name], "/health/ready")+"/console/")
	}
	var links []string
	eventually(t, 5*time.Second, func() error {
		if links = setUpLink.FindAllString(s.logs(), -1); len(links) == 0 {
			return fmt.Errorf("no set-up link is printed")
		}
		return nil
	})
	if len(links) != 1 {
		t.Fatalf("%d set-up links were printed, want one", len(links))
	}

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	page(t, browser, links[0], "Set up your access", `value="owner"`)
	password := url.Values{"password": {"correct horse battery"}, "again": {"correct horse battery"}}
	resp, err := browser.PostForm(strings.Split(links[0], "?")[0], password)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("set up = %v, %v", resp, err)
	}
	resp.Body.Close()
	for _, c := range consoles { // a jar does not tell ports apart
		page(t, browser, c, "Overview", "Sign out")
	}

	// Each has the admin API for those on this machine, who need not sign in.
	admin := strings.TrimSuffix(consoles[0], "/console/")
	eventually(t, 10*time.Second, func() error {
		log := page(t, http.DefaultClient, admin+"/admin/events?type=admin.acted", `"events":`)
		for _, want := range []string{"operator.create", "operator.set_up", "operator.sign_in"} {
			if !strings.Contains(log, `"`+want+`"`) {
				return fmt.Errorf("the events lack %s: %s", want, log)
			}
		}
		return nil
	})
	for _, public := range s.apis {
		resp, err := http.Get(public + "/console/sign-in")
		if err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("the console on the public listener = %v, %v, want 404", resp, err)
		}
	}

	s.processes[names[0]].stop(t)
	s.restart(names[0])
	page(t, browser, consoles[0], "Overview")
	if again := setUpLink.FindAllString(s.logs(), -1); len(again) != 1 {
		t.Error("a set-up link was printed after somebody was set up")
	}
	resp, err = browser.PostForm(consoles[1]+"sign-out", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	page(t, browser, consoles[0], "Sign in to the console")
	if out := s.logs(); strings.Contains(out, "usher_op_") || strings.Count(out, "usher_setup_") != 1 {
		t.Error("a token or a link is in the log")
	}
}

// page gets a page, which must have all texts.
func page(t *testing.T, c *http.Client, url string, texts ...string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(string(body), text) {
			t.Fatalf("GET %s = %s, which lacks %q: %s", url, resp.Status, text, body)
		}
	}
	return string(body)
}
