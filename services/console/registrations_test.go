package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/timeline"
)

const ann = "00000000-0000-4000-8000-000000000001"

func registeredEvent(id string, p events.IdentityCreated) events.Event {
	p.IdentityID = id
	return events.New(p, at.Add(-time.Minute), events.About{Subject: id})
}

// withRegistrations lets the log hold the registrations of ann, who was signed in,
// and of somebody whose provider is called as an attacker would like to be.
func withRegistrations(w *world) {
	made := []events.Event{
		registeredEvent(ann, events.IdentityCreated{Method: "password", FlowType: "api", SchemaID: "default", SessionPlanned: true, Network: "192.0.2.0/24"}),
		registeredEvent(uuid.NewString(), events.IdentityCreated{Method: "oidc", Provider: `<script>alert(1)</script>`, FlowType: "browser"}),
	}
	issued := []events.Event{events.New(events.SessionIssued{IdentityID: ann}, at, events.About{Subject: ann})}
	w.admin.HandleFunc("GET /admin/events", func(rw http.ResponseWriter, r *http.Request) {
		page := map[string]any{"events": made, "next": "", "latest": "end"}
		switch q := r.URL.Query(); {
		case q.Get("after") != "":
			page["events"], page["next"] = []events.Event{}, q.Get("after")
		case q.Get("order") != "newest":
			rw.WriteHeader(http.StatusBadRequest)
		case q.Get("type") != "identity.created":
			page["events"] = issued
		}
		_ = json.NewEncoder(rw).Encode(page)
	})
}

func TestRegistrations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRegistrations)
	p := w.visit("bob", "/console/registrations")
	p.wants(t, http.StatusOK, `href="/console/registrations/`+ann+`"`, "1 min ago", "signed in", "none planned", "Password", "192.0.2.0/24",
		"&lt;script&gt;", `hx-sse:connect="/console/registrations/stream"`, "Pause")
	if strings.Contains(p.text, "<script>alert") {
		t.Error("markup of others is in the page")
	}
	if p := w.visit("bob", "/console/registrations?live=off"); strings.Contains(p.text, "hx-sse:connect") || !strings.Contains(p.text, "Watch live") {
		t.Error("a paused list moves")
	}

	away := newWorld(t)
	away.answers("GET /admin/events", http.StatusServiceUnavailable, map[string]any{"error": map[string]any{"reason": "the database is away"}})
	away.visit("bob", "/console/registrations").wants(t, http.StatusOK, "cannot be shown just now", "The database is away.", "Find")
	none := newWorld(t)
	none.answers("GET /admin/events", http.StatusOK, map[string]any{"events": []events.Event{}})
	none.visit("bob", "/console/registrations").wants(t, http.StatusOK, "Nobody has registered yet.")
}

// TestFindRegistration: an address is looked for without standing in a URL.
func TestFindRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRegistrations)
	w.admin.HandleFunc("GET /admin/identities", func(rw http.ResponseWriter, r *http.Request) {
		found := []map[string]string{}
		if r.URL.Query().Get("credentials_identifier") == "ann@example.org" {
			found = append(found, map[string]string{"id": ann})
		}
		if r.URL.Query().Get("credentials_identifier") == "corp:7" {
			found = append(found, map[string]string{"id": ann}, map[string]string{"id": ann})
		}
		_ = json.NewEncoder(rw).Encode(found)
	})
	for who, want := range map[string]string{
		" ann@example.org ": "/console/registrations/" + ann, ann: "/console/registrations/" + ann, "": "/console/registrations",
	} {
		p := w.submit("bob", "/console/registrations", url.Values{"who": {who}})
		p.wants(t, http.StatusSeeOther)
		if got := p.Header.Get("Location"); got != want {
			t.Errorf("of %q it leads to %q, want %q", who, got, want)
		}
	}
	w.submit("bob", "/console/registrations", url.Values{"who": {"corp:7"}}).wants(t, http.StatusNotFound, "More than one identity signs in with this")
	w.submit("bob", "/console/registrations", url.Values{"who": {`"><b>x`}}).
		wants(t, http.StatusNotFound, "Nobody signs in with exactly this.", `value="&#34;&gt;&lt;b&gt;x"`)
}

func shownTimeline() timeline.Timeline {
	received := at.Add(-time.Minute)
	after := func(ms int) time.Time { return received.Add(time.Duration(ms) * time.Millisecond) }
	return timeline.Timeline{
		IdentityID: uuid.MustParse(ann), FlowID: "f1", FlowType: "api", Method: "password", TraceID: "trace-1", ReceivedAt: received,
		Answer: []timeline.Span{
			{Name: timeline.StepChecks, State: timeline.Done, StartedAt: received, EndedAt: after(2)},
			{Name: timeline.StepCommit, State: timeline.Done, StartedAt: after(2), EndedAt: after(12)},
			{Name: timeline.StepSession, State: timeline.Done, StartedAt: after(12), EndedAt: after(20)},
			{Name: timeline.StepAnswer, State: timeline.Done, StartedAt: after(20)},
		},
		Events: []timeline.Event{{ID: "e1", Type: "identity.created", At: after(2), LoggedAt: after(5), StreamSeq: 1, Hooks: []timeline.Run{
			{Hook: "crm", Kind: "worker", State: timeline.Done, Attempts: []timeline.Attempt{{State: timeline.Done, DeliveredAt: after(6), EndedAt: after(9)}}},
		}}},
	}
}

func (w *world) timeline(change func(*timeline.Timeline)) page {
	w.t.Helper()
	tl := shownTimeline()
	change(&tl)
	w.answers("GET /admin/identities/"+ann+"/timeline", http.StatusOK, tl)
	return w.visit("bob", "/console/registrations/"+ann)
}

func TestTimelinePage(t *testing.T) {
	t.Parallel()
	p := newWorld(t).timeline(func(*timeline.Timeline) {})
	p.wants(t, http.StatusOK, "Session worker", "+12 ms", "8.0 ms", "trace-1", "identity.created", "crm", "<rect", `title="2026-11-26 11:59:00.012000 UTC"`)
	if strings.Contains(p.text, "hx-trigger") || strings.Contains(p.text, "style=") {
		t.Error("a timeline that is settled looks again, or has a style of its own")
	}
	for name, c := range map[string]struct {
		change func(*timeline.Timeline)
		wants  []string
	}{
		"soon": {func(tl *timeline.Timeline) {
			tl.Open, tl.Events[0].Hooks[0] = true, timeline.Run{Hook: "crm", State: timeline.Pending}
		}, []string{`hx-trigger="every 2s"`, "not yet", `hx-get="/console/registrations/` + ann + `?flow=f1"`}},
		"much later": {func(tl *timeline.Timeline) {
			tl.Open, tl.NextAt = true, at.Add(time.Hour)
			tl.Events[0].Hooks[0] = timeline.Run{Hook: "crm", State: timeline.Waiting, NextAt: at.Add(time.Hour), Reason: "<b>503", Attempts: []timeline.Attempt{{State: timeline.Failed, EndedAt: at}}}
		}, []string{`hx-trigger="every 20s"`, "waits for its next try", "in 1 h", "&lt;b&gt;503"}},
		"dead":          {func(tl *timeline.Timeline) { tl.Events[0].Hooks[0].State = timeline.Dead }, []string{"A hook has given up.", "/console/dead-letters/crm/e1"}},
		"lacking":       {func(tl *timeline.Timeline) { tl.Events, tl.Lacks = nil, []string{"events"} }, []string{"Not all can be shown just now.", "The event log does not answer.", "Session worker"}},
		"in the outbox": {func(tl *timeline.Timeline) { tl.Events[0].LoggedAt = time.Time{} }, []string{"in the outbox"}},
		"degraded": {func(tl *timeline.Timeline) {
			tl.Answer[1].EndedAt = time.Time{}
			tl.Answer[2] = timeline.Span{Name: timeline.StepSession, State: timeline.Failed, EndedAt: at, Detail: "unavailable"}
		}, []string{"No session worker answered.", "When it ended is not kept."}},
		"made by an administrator": {func(tl *timeline.Timeline) {
			tl.Answer, tl.FlowID, tl.FlowType, tl.Method = nil, "", "", "admin"
		}, []string{"By an administrator"}},
		"imported with an event each": {func(tl *timeline.Timeline) {
			tl.Answer, tl.FlowID, tl.FlowType, tl.Method = nil, "", "", "import"
		}, []string{"Imported"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newWorld(t).timeline(c.change).wants(t, http.StatusOK, c.wants...)
		})
	}
	w := newWorld(t)
	imported := w.timeline(func(tl *timeline.Timeline) {
		*tl = timeline.Timeline{IdentityID: tl.IdentityID, CreatedAt: time.Date(2021, 5, 6, 7, 8, 9, 0, time.UTC)}
	})
	imported.wants(t, http.StatusOK, "There is no registration to show.", "was imported without an event of its own", "2021-05-06 07:08:09 UTC")
	for _, untrue := range []string{"Jan 0001", "never", "Request received", "Received", "Events and hooks"} {
		if strings.Contains(imported.text, untrue) {
			t.Errorf("the page of somebody who was imported says %q", untrue)
		}
	}
	w.visit("bob", "/console/registrations/x").wants(t, http.StatusNotFound, "There is no such page.")
	w.answers("GET /admin/identities/{id}/timeline", http.StatusNotFound, map[string]any{"error": map[string]any{"reason": "There is no identity with this id."}})
	w.visit("bob", "/console/registrations/"+uuid.NewString()).wants(t, http.StatusNotFound, "There is no identity with this id.")
}

// tab is an open list.
type tab struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
}

func (w *world) open(as string) tab {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	server := httptest.NewServer(console.New(w.options))
	w.t.Cleanup(func() { cancel(); server.Close() })
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/console/registrations/stream", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: "usher_console", Value: as})
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("stream = %d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return tab{w.t, lines, cancel}
}

// next is the next event; false at the end of the stream.
func (b tab) next() (text string, ok bool) {
	for b.lines.Scan() {
		if b.lines.Text() == "" {
			return text, true
		}
		text += b.lines.Text() + "\n"
	}
	return text, false
}

func TestStreamShowsWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int64
	fresh := registeredEvent(ann, events.IdentityCreated{Method: "password", SessionPlanned: true})
	w.admin.HandleFunc("GET /admin/events", func(rw http.ResponseWriter, r *http.Request) {
		page := map[string]any{"events": []events.Event{}, "next": "c1", "latest": "c0"}
		if r.URL.Query().Get("after") == "c0" {
			page["events"] = []events.Event{fresh}
		}
		asked.Add(1)
		_ = json.NewEncoder(rw).Encode(page)
	})
	b := w.open("bob")
	if first, _ := b.next(); !strings.Contains(first, "Nobody has registered yet.") {
		t.Errorf("at first it shows\n%s", first)
	}
	for range 20 {
		text, ok := b.next()
		if !ok {
			t.Fatal("the stream has ended")
		}
		if strings.Contains(text, ann) && strings.Contains(text, "on its way") {
			b.close()
			return
		}
	}
	t.Error("who has registered is not shown")
}

// TestStreamEndsWithTheSession: the tab is told, and does not come back.
func TestStreamEndsWithTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withRegistrations)
	var over atomic.Bool
	w.options.Operators = fakeOperators{known: known{"bob": operator.RoleOperator}}
	w.options.Operators = expiring{w.options.Operators, &over}
	b := w.open("bob")
	if _, ok := b.next(); !ok {
		t.Fatal("the stream has ended")
	}
	over.Store(true)
	var all string
	for {
		text, ok := b.next()
		all += text
		if !ok {
			break
		}
	}
	if !strings.Contains(all, "Your session is over.") || !strings.Contains(all, "event: end") {
		t.Errorf("at the end it says\n%s", all)
	}
	w.visit("mallory", "/console/registrations/stream").wants(t, http.StatusUnauthorized)
}

type expiring struct {
	console.Operators
	over *atomic.Bool
}

func (e expiring) Recognize(ctx context.Context, token string) (operator.Session, error) {
	if e.over.Load() {
		return operator.Session{}, operator.ErrSignedOut
	}
	return e.Operators.Recognize(ctx, token)
}

// TestStreamEndsWithTheProcess: it holds up no drain.
func TestStreamEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	w := newWorld(t, withRegistrations, func(w *world) { w.options.Draining = draining })
	b := w.open("bob")
	if _, ok := b.next(); !ok {
		t.Fatal("the stream has ended")
	}
	close(draining)
	for began := time.Now(); ; {
		if _, ok := b.next(); !ok {
			return
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("the stream goes on although the process drains")
		}
	}
}

func BenchmarkTimelinePage(b *testing.B) {
	tl := shownTimeline()
	for n := range 20 {
		e := tl.Events[0]
		e.ID = fmt.Sprint(n)
		tl.Events = append(tl.Events, e)
	}
	body, _ := json.Marshal(tl)
	o := console.Options{
		Admin: func(operator.Session) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
		},
		Operators: fakeOperators{known: known{"bob": operator.RoleOperator}},
		PublicURL: func() string { return "" }, AdminURL: func() string { return "" }, Now: time.Now,
	}
	h := console.New(o)
	r := httptest.NewRequest(http.MethodGet, "/console/registrations/"+ann, nil)
	r.AddCookie(&http.Cookie{Name: "usher_console", Value: "bob"})
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
