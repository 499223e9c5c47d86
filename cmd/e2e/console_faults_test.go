package e2e_test

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTwoSaveAtOnce: one of two saves that were made from the same revision holds, the
// other is told so and changes nothing.
func TestTwoSaveAtOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	for round := range 5 {
		before := savedAt(t, s.admins[0])
		seen := before.Revision.Number
		wanted := []settings{{signInAfter: round%2 == 1}, {"session.lifespan": fmt.Sprintf("%dh0m0s", 10+round)}}
		answers := make([]*answer, len(wanted))
		var wg sync.WaitGroup
		for n, set := range wanted {
			wg.Go(func() { answers[n] = trySave(t, s.admins[n], seen, set) })
		}
		wg.Wait()
		won, lost := 0, 1
		if answers[0].status != http.StatusOK {
			won, lost = 1, 0
		}
		if answers[won].status != http.StatusOK || answers[lost].status != http.StatusConflict {
			t.Fatalf("two saves at once = %d %s and %d %s, want 200 and 409", answers[0].status, answers[0].body, answers[1].status, answers[1].body)
		}
		var told struct {
			Error struct {
				Details struct {
					Newest struct {
						Number int64    `json:"revision"`
						Values settings `json:"values"`
					} `json:"newest"`
				} `json:"details"`
			} `json:"error"`
		}
		answers[lost].json(t, &told)
		if newest := told.Error.Details.Newest; newest.Number != seen+1 {
			t.Errorf("the second is told of revision %d, want %d", newest.Number, seen+1)
		}
		for _, admin := range s.admins {
			now := savedAt(t, admin)
			for name, value := range wanted[won] {
				if now.Revision.Number != seen+1 || now.value(name) != value {
					t.Errorf("%s is %v at revision %d, want %v at %d", name, now.value(name), now.Revision.Number, value, seen+1)
				}
			}
			for name, value := range wanted[lost] {
				if now.value(name) != before.value(name) {
					t.Errorf("%s is %v, want %v as before: %v was refused", name, now.value(name), before.value(name), value)
				}
			}
		}
	}
}

// TestDamagedSettings: what was saved cannot be read any more. The program starts
// with what the file says, and says so in its log and to operators.
func TestDamagedSettings(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"no object":     `[1]`,
		"no such value": `{"sign_in_after_registration":"perhaps"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "postgres", hooks(sessionHook))
			operator := signInOperator(t, s.admins[0], s.setUpLink())
			save(t, s.admins[0], settings{signInAfter: false})
			if status, session := registerOnce(t, s.apis[0]); status != http.StatusOK || session {
				t.Fatalf("registration = %d, session %t, want 200 without one", status, session)
			}
			s.processes["serve"].stop(t)
			s.exec(`UPDATE settings SET saved = '` + damage + `'`)
			s.restart("serve")
			if status, session := registerOnce(t, s.apis[0]); status != http.StatusOK || !session {
				t.Errorf("registration = %d, session %t, want 200 with one, as the file says", status, session)
			}
			if !strings.Contains(s.logs(), "saved settings cannot be used") {
				t.Error("the log does not say that the saved settings cannot be used")
			}
			if text := textOf(operator.page("/console/settings")); !strings.Contains(text, "Revision 1 was saved and is not in force") {
				t.Errorf("the page does not say that what was saved is not in force: %s", text)
			}
			if now := savedAt(t, s.admins[0]); len(now.Refused) == 0 || now.value(signInAfter) != true {
				t.Errorf("settings = %+v, want those of the file, and why", now)
			}
			if a := newApp(t, s.admins[0]).must("POST", "/admin/settings/revert", asJSON, []byte(`{"revision":1,"to":0}`)); a.status != http.StatusOK {
				t.Errorf("taking it back = %d %s", a.status, a.body)
			}
			save(t, s.admins[0], settings{signInAfter: false})
			if status, session := registerOnce(t, s.apis[0]); status != http.StatusOK || session {
				t.Errorf("registration behind the mended settings = %d, session %t, want 200 without one", status, session)
			}
		})
	}
}

func (s *system) exec(text string) {
	s.t.Helper()
	(&database{t: s.t, dsn: s.dsn}).exec(text)
}

var (
	tags   = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
	note   = regexp.MustCompile(`(?s)(?:<p|<div)[^>]* class="note (?:warn|bad)"[^>]*>(.*?)(?:</p>|</div>)`)
)

// textOf is what somebody reads on a page.
func textOf(page string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(page, " ")), " "))
}

// notes are what a page warns of, or says that it is out of order.
func notes(page string) (all []string) {
	for _, n := range note.FindAllStringSubmatch(page, -1) {
		all = append(all, textOf(n[1]))
	}
	return all
}

// TestTheConsoleWithPartsMissing: without the database, the bus, the workers of
// sessions or of hooks each page comes soon, says what is missing and shows the rest.
func TestTheConsoleWithPartsMissing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := newSystem(t, "parts", merge(hooks(sessionHook), settings{"dsn": d.dsn}))
	operator := signInOperator(t, s.startConsole(), s.setUpLink())
	id := newApp(t, s.api(0)).register(newAddress()).Identity.ID
	s.delivered()
	// all opens every page and wants these words among the warnings of these pages; of
	// "every" page where that is named.
	all := func(without string, want map[string]string) {
		t.Helper()
		for _, page := range consolePages(id) {
			began := time.Now()
			a := operator.must("GET", page[1], map[string]string{"Accept": "text/html"}, nil)
			took, warns := time.Since(began), strings.Join(notes(string(a.body)), " ")
			if took > 8*time.Second {
				t.Errorf("without %s page %s took %s", without, page[0], took)
			}
			if a.status != http.StatusOK && (want["every"] == "" || a.status != http.StatusServiceUnavailable) || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("without %s page %s = %d %s", without, page[0], a.status, textOf(string(a.body)))
			}
			if !strings.Contains(warns, cmp.Or(want[page[0]], want["every"])) {
				t.Errorf("without %s page %s warns %q, want %q in it", without, page[0], warns, cmp.Or(want[page[0]], want["every"]))
			}
			if want[page[0]]+want["every"] == "" && strings.Contains(warns, "cannot be shown") {
				t.Errorf("without %s page %s warns %q", without, page[0], warns)
			}
		}
	}
	all("nothing", nil)
	for part, want := range map[string]map[string]string{
		"session": {"overview": "The session worker does not answer"},
		"hooks":   {"overview": "Nobody runs the background hooks"},
	} {
		for _, p := range s.named(part + "-") {
			p.kill()
		}
		s.overviewSays(operator, want["overview"])
		all("the "+part+" workers", want)
		if part == "hooks" {
			s.pageSays(operator, "/console/workers?look=true", "Nobody takes the events")
		}
		for _, p := range s.named(part + "-") {
			s.restart(p.name)
		}
	}

	s.processes["nats"].kill()
	s.overviewSays(operator, "The bus is away")
	all("the bus", map[string]string{"overview": "The bus is away", "workers": "The bus does not answer", "timeline": "The bus does not answer"})
	s.restart("nats")

	back := d.stop()
	s.overviewSays(operator, "The database does not answer") // what was seen holds for half a second
	all("the database", map[string]string{"every": "The database does not answer"})
	back()
	eventually(t, 30*time.Second, func() error {
		a, err := operator.do("GET", "/console/identities", nil, nil)
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, textOf(string(a.body)))
		}
		return err
	})
}

// overviewSays waits until the overview has noticed something.
func (s *system) overviewSays(operator *client, text string) {
	s.t.Helper()
	s.pageSays(operator, "/console/", text)
}

// pageSays waits until a page has noticed something: that a process is silent, it does
// after half a minute.
func (s *system) pageSays(operator *client, path, text string) {
	s.t.Helper()
	eventually(s.t, 50*time.Second, func() error {
		if !strings.Contains(operator.page(path), text) {
			return fmt.Errorf("page %s does not say %q", path, text)
		}
		return nil
	})
}
