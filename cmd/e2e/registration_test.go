package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sessionHook is the hook list entry that signs people in.
var sessionHook = settings{"hook": "session"}

// event is what the tests read of /admin/events.
type event struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Subject  string         `json:"subject"`
	Sequence string         `json:"sequence"`
	Data     map[string]any `json:"data"`
}

// events are those of the event log that the filter lets through, all pages.
func (s *system) events(query string) (all []event) {
	s.t.Helper()
	after := ""
	c := newApp(s.t, s.admins[0])
	for {
		a := c.must("GET", "/admin/events?limit=1000&after="+after+"&"+query, nil, nil)
		if a.status != http.StatusOK {
			s.t.Fatalf("/admin/events: %d %s", a.status, a.body)
		}
		var page struct {
			Events []event `json:"events"`
			Next   string  `json:"next"`
		}
		a.json(s.t, &page)
		all = append(all, page.Events...)
		if page.Next == "" || len(page.Events) == 0 {
			return all
		}
		after = page.Next
	}
}

// identities are the ids of all that are stored.
func (s *system) identities() (ids []string) {
	s.t.Helper()
	for _, i := range s.stored() {
		ids = append(ids, i.ID)
	}
	return ids
}

// identityView is what the tests read of an identity.
type identityView struct {
	ID     string `json:"id"`
	Traits struct {
		Email string `json:"email"`
	} `json:"traits"`
}

// stored are all identities.
func (s *system) stored() (all []identityView) {
	s.t.Helper()
	next := "/admin/identities?page_size=1000"
	c := newApp(s.t, s.admins[0])
	for next != "" {
		a := c.must("GET", next, nil, nil)
		if a.status != http.StatusOK {
			s.t.Fatalf("%s: %d %s", next, a.status, a.body)
		}
		var page []identityView
		a.json(s.t, &page)
		all = append(all, page...)
		next = ""
		for link := range strings.SplitSeq(a.header.Get("Link"), ",") {
			if target, rel, _ := strings.Cut(link, ";"); strings.Contains(rel, `"next"`) {
				next = strings.Trim(strings.TrimSpace(target), "<>")
			}
		}
	}
	return all
}

// api spreads requests over the api processes.
func (s *system) api(n int) string { return s.apis[n%len(s.apis)] }

func TestRegistrationSignsIn(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signInAndTell, func(t *testing.T, s *system, background *endpoint) {
		var ids []string

		t.Run("app", func(t *testing.T) {
			app := newApp(t, s.api(0))
			r := app.register(newAddress())
			if r.Session == nil || !r.Session.Active || r.SessionToken == "" || r.Session.Identity.ID != r.Identity.ID {
				t.Fatalf("answer = %+v, want session, session_token and identity", r)
			}
			if last := r.ContinueWith[len(r.ContinueWith)-1]; last["action"] != "set_ory_session_token" || last["ory_session_token"] != r.SessionToken {
				t.Errorf("continue_with ends with %v, want set_ory_session_token", last)
			}
			// Another api process knows the session too.
			status, who := newApp(t, s.api(1)).whoami(r.SessionToken)
			if status != http.StatusOK || who.ID != r.Session.ID {
				t.Errorf("whoami = %d %+v, want 200 and session %s", status, who, r.Session.ID)
			}
			ids = append(ids, r.Identity.ID)
		})

		t.Run("script in a browser", func(t *testing.T) {
			browser := newBrowser(t, s.api(0))
			f := browser.browserFlow()
			a, err := browser.submit(f.ID, submission(f.csrf(), newAddress(), goodPassword))
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("submit = %v %d %s", err, a.status, a.body)
			}
			var r registered
			a.json(t, &r)
			if r.Session == nil || r.SessionToken != "" || strings.Contains(string(a.body), "session_token") {
				t.Errorf("answer = %s, want a session and no token", a.body)
			}
			if status, who := browser.whoami(""); status != http.StatusOK || who.Identity.ID != r.Identity.ID {
				t.Errorf("whoami with the cookie = %d %+v, want the person", status, who)
			}
			ids = append(ids, r.Identity.ID)
		})

		t.Run("page", func(t *testing.T) {
			browser := newBrowser(t, s.api(0))
			f := browser.browserFlow()
			a := browser.form(f, newAddress())
			if a.status != http.StatusSeeOther || !slices.ContainsFunc(a.header.Values("Set-Cookie"), func(c string) bool { return strings.HasPrefix(c, "ory_kratos_session=") }) {
				t.Fatalf("submit = %d %v, want 303 with the session cookie", a.status, a.header)
			}
			status, who := browser.whoami("")
			if status != http.StatusOK || !who.Active {
				t.Errorf("whoami with the cookie = %d %+v, want the person", status, who)
			}
			ids = append(ids, who.Identity.ID)
		})

		s.allHooked(background, ids)
		for _, id := range ids {
			s.sequence(id, "identity.created", "session.issued")
		}
	})
}

// allHooked waits until the endpoint was called once for each identity, at least.
func (s *system) allHooked(e *endpoint, ids []string) {
	s.t.Helper()
	eventually(s.t, 60*time.Second, func() error {
		got := e.bodies()
		missing := 0
		for _, id := range ids {
			if got[id] == 0 {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("the hook was not called for %d of %d identities", missing, len(ids))
		}
		return nil
	})
}

// sequence waits until the event log holds exactly these events of an identity.
func (s *system) sequence(id string, types ...string) {
	s.t.Helper()
	eventually(s.t, 10*time.Second, func() error {
		var got []string
		for i, e := range s.events("subject=" + id) {
			got = append(got, e.Type)
			if want := fmt.Sprint(i + 1); e.Sequence != want {
				return fmt.Errorf("event %d of %s has sequence %q, want %q", i, id, e.Sequence, want)
			}
		}
		if !slices.Equal(got, types) {
			return fmt.Errorf("events of %s = %v, want %v", id, got, types)
		}
		return nil
	})
}

func TestWithoutTheSessionStepNobodyIsSignedIn(t *testing.T) {
	t.Parallel()
	without := func(background *endpoint) settings { return hooks(background.webHook("crm", settings{"ignore": true})) }
	inEveryShape(t, without, func(t *testing.T, s *system, background *endpoint) {
		r := newApp(t, s.api(0)).register(newAddress())
		if r.Session != nil || r.SessionToken != "" {
			t.Errorf("answer = %+v, want no session", r)
		}
		s.allHooked(background, []string{r.Identity.ID})
		s.sequence(r.Identity.ID, "identity.created")
	})
}

func TestADuplicateIsToldApart(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		address := newAddress()
		app := newApp(t, s.api(0))
		app.register(address)
		for _, same := range []string{address, strings.ToUpper(address)} {
			f, err := app.initAPI()
			if err != nil {
				t.Fatal(err)
			}
			a, err := app.submit(f.ID, submission("", same, goodPassword))
			if err != nil {
				t.Fatal(err)
			}
			var back flowView
			a.json(t, &back)
			if a.status != http.StatusBadRequest || !slices.Equal(back.messages(), []int64{4000007}) {
				t.Errorf("register %s again = %d, messages %v, want 400 and 4000007", same, a.status, back.messages())
			}
		}
	})
}

func TestManySubmitsOfOneFlowMakeOnePersonAndOneSession(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		f, err := newApp(t, s.api(0)).initAPI()
		if err != nil {
			t.Fatal(err)
		}
		body := submission("", newAddress(), goodPassword)
		answers := together(100, func(n int) *answer {
			a, err := newApp(t, s.api(n)).submit(f.ID, body)
			if err != nil {
				t.Error(err)
			}
			return a
		})
		ids, live := map[string]bool{}, 0
		for _, a := range answers {
			if a == nil || a.status == http.StatusServiceUnavailable {
				continue // the hash queue was full; nothing happened
			}
			if a.status != http.StatusOK {
				t.Errorf("submit = %d %s, want 200 or 503", a.status, a.body)
				continue
			}
			var r registered
			a.json(t, &r)
			ids[r.Identity.ID] = true
			if r.SessionToken != "" {
				if status, _ := newApp(t, s.api(0)).whoami(r.SessionToken); status == http.StatusOK {
					live++
				}
			}
		}
		if len(ids) != 1 || live != 1 {
			t.Errorf("100 submits of one flow made %d people and %d live sessions, want 1 and 1", len(ids), live)
		}
	})
}

func TestManyRegistrationsOfOneAddressMakeOnePerson(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		address := newAddress()
		answers := together(100, func(n int) *answer {
			app := newApp(t, s.api(n))
			f, err := app.initAPI()
			if err != nil {
				t.Error(err)
				return nil
			}
			a, err := app.submit(f.ID, submission("", address, goodPassword))
			if err != nil {
				t.Error(err)
			}
			return a
		})
		counts := map[int]int{}
		for _, a := range answers {
			if a != nil {
				counts[a.status]++
			}
		}
		if counts[http.StatusOK] != 1 || counts[http.StatusOK]+counts[http.StatusBadRequest]+counts[http.StatusServiceUnavailable] != 100 {
			t.Errorf("100 registrations of one address = %v by status, want one 200, the others 400 (or 503)", counts)
		}
	})
}

// together calls f n times at once and gives what it gave.
func together[T any](n int, f func(i int) T) []T {
	results := make([]T, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			results[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return results
}

func TestARepeatedSubmitReplacesTheSession(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		app := newApp(t, s.api(0))
		f, err := app.initAPI()
		if err != nil {
			t.Fatal(err)
		}
		address := newAddress()
		var answers [2]registered
		for i := range answers {
			a, err := newApp(t, s.api(i)).submit(f.ID, submission("", address, goodPassword))
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("submit %d = %v %d %s", i, err, a.status, a.body)
			}
			a.json(t, &answers[i])
		}
		if answers[0].Identity.ID != answers[1].Identity.ID || answers[0].SessionToken == answers[1].SessionToken {
			t.Fatalf("answers = %+v, want the same identity and another token", answers)
		}
		eventually(t, 6*time.Second, func() error {
			if status, _ := app.whoami(answers[0].SessionToken); status != http.StatusUnauthorized {
				return fmt.Errorf("whoami with the former token = %d, want 401", status)
			}
			return nil
		})
		if status, _ := app.whoami(answers[1].SessionToken); status != http.StatusOK {
			t.Errorf("whoami with the new token = %d, want 200", status)
		}
		a, err := app.submit(f.ID, submission("", address, "another secret of length"))
		if err != nil || a.status != http.StatusGone || !json.Valid(a.body) || !strings.Contains(string(a.body), "use_flow_id") {
			t.Errorf("submit with another password = %v %d %s, want 410 with use_flow_id", err, a.status, a.body)
		}
		s.sequence(answers[0].Identity.ID, "identity.created", "session.issued", "session.revoked", "session.issued")
	})
}
