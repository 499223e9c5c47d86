package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/audit"
)

const (
	ann  = "00000000-0000-4000-8000-000000000001"
	bob  = "00000000-0000-4000-8000-000000000002"
	cleo = "00000000-0000-4000-8000-000000000003"
)

// withLog gives a world six events: created and refused of ann, bob and cleo.
func withLog(w *world) {
	w.memory = &memoryLog{}
	for _, who := range []string{ann, bob, cleo} {
		w.memory.add("identity.created", who)
		w.memory.add("session.refused", who)
	}
}

type eventsPage struct {
	Events []struct{ ID, Type, Subject string }
	Next   string
	Latest string
}

func (c *client) events(query string) (p eventsPage) {
	c.t.Helper()
	g := c.get("/admin/events?" + query)
	if err := json.Unmarshal([]byte(g.body), &p); err != nil || g.status != 200 {
		c.t.Fatalf("events?%s = %d %s", query, g.status, g.body)
	}
	return p
}

func (p eventsPage) is(t *testing.T, name string, seqs ...string) {
	t.Helper()
	var got []string
	for _, e := range p.Events {
		got = append(got, strings.TrimLeft(e.ID[24:], "0"))
	}
	if !slices.Equal(got, seqs) {
		t.Errorf("%s: events %v, want %v", name, got, seqs)
	}
}

// They gave an empty page, and a stream that was silent for ever.
func TestUnknownTypesAreRefused(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	for _, path := range []string{"/admin/events", "/admin/events/stream", "/admin/audit/export"} {
		if g := c.do("GET", path+"?type=login.faild", ""); g.status != 400 || !strings.Contains(g.body, "did you mean login.failed?") {
			t.Fatalf("%s = %d %s, want a refusal that says what was meant", path, g.status, g.body)
		}
	}
}

func TestEventsFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog)
	c := w.admin()
	c.events("type=identity.created").is(t, "a type", "1", "3", "5")
	c.events("type=identity.created&type=session.refused&limit=3").is(t, "two types", "1", "2", "3")
	c.events("type=session.refused&subject="+bob).is(t, "a type of a person", "4")
	p := c.events("type=mail.sent")
	if p.is(t, "none"); p.Next != api.FormatCursor(6) {
		t.Errorf("the cursor behind what was looked through is %q, want that of record 6", p.Next)
	}
	for _, query := range []string{"type=login.faild", "wait=x", "wait=-1", "wait=51", "wait=NaN", strings.Repeat("type=a&", 51)} {
		if g := c.get("/admin/events?" + query); g.status != 400 {
			t.Errorf("events?%.20s = %d, want 400", query, g.status)
		}
	}
}

func TestEventsLongPoll(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	w := newWorld(t, withLog, func(w *world) { w.options.Draining = draining })
	c := w.admin()
	began := time.Now()
	if p := c.events("after=latest&wait=0.3"); len(p.Events) != 0 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("with nothing new it answered %v after %s, want nothing after 0.3 s", p, time.Since(began))
	}
	answers := make(chan eventsPage)
	go func() { answers <- c.events("after=latest&wait=30&type=session.issued") }()
	time.Sleep(50 * time.Millisecond)
	w.memory.add("identity.created", ann) // is not asked for
	time.Sleep(200 * time.Millisecond)
	select {
	case p := <-answers:
		t.Fatalf("an event of another type was answered: %v", p)
	default:
	}
	w.memory.add("session.issued", ann)
	(<-answers).is(t, "what came meanwhile", "8")

	go func() { answers <- c.events("after=latest&wait=30") }()
	time.Sleep(50 * time.Millisecond)
	close(draining)
	select {
	case p := <-answers:
		p.is(t, "at the end of the process")
	case <-time.After(5 * time.Second):
		t.Fatal("a long poll holds up the end of the process")
	}
}

// TestManyWaitCheaply: the log is asked for its end once for all who wait.
func TestManyWaitCheaply(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog)
	c := w.admin()
	done := make(chan struct{})
	for range 20 {
		go func() { c.events("after=" + api.FormatCursor(6) + "&wait=1"); done <- struct{}{} }()
	}
	for range 20 {
		<-done
	}
	if reads := w.memory.reads; reads > 40 {
		t.Errorf("twenty that waited for a second asked %d times for the end, want about 10", reads)
	}
}

// stream reads server-sent events until end or the end of the stream.
type stream struct {
	lines *bufio.Scanner
	close func()
}

func (c *client) stream(query string, header ...string) stream {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/admin/events/stream?"+query, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	resp, err := c.http.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		c.t.Fatalf("stream: %v, %+v", err, resp)
	}
	return stream{bufio.NewScanner(resp.Body), func() { cancel(); _ = resp.Body.Close() }}
}

// next gives the fields of the next block that has an id, false at the end.
func (s stream) next() (fields map[string]string, more bool) {
	fields = map[string]string{}
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		if name != "" {
			fields[name] = value
		} else if fields["id"] != "" {
			return fields, true
		}
	}
	return fields, false
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	w := newWorld(t, withLog, func(w *world) {
		w.options.Draining, w.options.Heartbeat = draining, 300*time.Millisecond
	})
	c := w.admin()
	s := c.stream("type=identity.created")
	defer s.close()
	var last string
	for _, want := range []string{"1", "3", "5"} {
		e, _ := s.next()
		if e["event"] != "identity.created" || !strings.Contains(e["data"], `00`+want+`","source"`) {
			t.Fatalf("event = %v, want identity.created %s", e, want)
		}
		last = e["id"]
	}
	w.memory.add("session.issued", bob)
	beat, _ := s.next()
	if seq, _ := api.ParseCursor(beat["id"]); beat["data"] != "" || seq < 6 {
		t.Errorf("heartbeat = %v, want a cursor behind all that was looked through and no data", beat)
	}
	w.memory.add("identity.created", bob)
	for {
		if e, more := s.next(); !more || strings.Contains(e["data"], `008","source"`) {
			break
		} else if e["data"] != "" {
			t.Fatalf("event = %v, want 8", e)
		}
	}

	again := c.stream("after=latest", "Last-Event-Id", last)
	defer again.close()
	if e, _ := again.next(); !strings.Contains(e["data"], `006","source"`) {
		t.Errorf("after a new connection: %v, want event 6, the one behind the last", e)
	}
	close(draining)
	for more := true; more; {
		_, more = s.next()
	}
	if err := s.lines.Err(); err != nil {
		t.Errorf("at the end of the process the stream breaks: %v", err)
	}
	if resp, err := c.http.Head(c.base + "/admin/events/stream"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of a stream = %v, %v, want 405", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	if g := c.get("/admin/events/stream?after=x"); g.status != 400 {
		t.Errorf("stream from behind nonsense = %d, want 400", g.status)
	}
}

func TestAuditExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog)
	c := w.admin()
	v := &audit.Verifier{}
	read := func(text string) error {
		return audit.Read(strings.NewReader(text), audit.Handler{
			Key: func(k audit.PublicKey) error { v.Keys = append(v.Keys, k); return nil }, Record: v.Record, Checkpoint: v.Checkpoint,
		})
	}
	whole := c.get("/admin/audit/export")
	var end struct {
		End  int64
		Next string
	}
	lines := strings.Split(strings.TrimSpace(whole.body), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || end.End != 6 || end.Next != api.FormatCursor(6) {
		t.Errorf("last line = %s, want the end and where to go on", lines[len(lines)-1])
	}
	w.memory.add("session.issued", ann)
	rest := c.get("/admin/audit/export?after=" + end.Next)
	if err := read(whole.body + rest.body); err != nil {
		t.Fatal(err)
	}
	if r, err := v.End(); err != nil || r != (audit.Report{Records: 7, Checkpoints: 1, First: 1, Last: 7, Signed: 3}) {
		t.Errorf("report of both exports = %+v, %v", r, err)
	}
	some := c.get("/admin/audit/export?type=session.issued&subject=" + ann)
	if strings.Count(some.body, "\n") != 3 || !errors.Is(read(some.body), audit.ErrFiltered) {
		t.Errorf("selected records = %s, want one behind a line that says so", some.body)
	}
}

// acted are the routes that have no event but admin.acted, with its action.
var acted = []struct{ method, path, action string }{
	{"GET", "/admin/identities", "identity.list"},
	{"GET", "/admin/identities/{id}", "identity.read"},
	{"GET", "/admin/identities/by/external/{externalID}", "identity.read"}, // of nobody
	{"GET", "/admin/identities/{id}/sessions", "session.list"},
	{"GET", "/admin/identities/{id}/grants", "grant.list"},
	{"GET", "/admin/identities/{id}/timeline", "timeline.read"},
	{"GET", "/admin/sessions", "session.list"},
	{"GET", "/admin/sessions/{id}", "session.read"},
	{"PATCH", "/admin/sessions/{id}/extend", "session.extend"},
	{"GET", "/admin/courier/messages", "message.list"},
	{"GET", "/admin/courier/messages/{id}", "message.read"},
	{"GET", "/admin/audit/export", "audit.export"},
	{"POST", "/admin/audit/verify", "audit.verify"},
}

// untold are the routes of administrators that read of no person, or whose
// commit holds the event.
var untold = []string{
	"POST /admin/identities", "PATCH /admin/identities", "PUT /admin/identities/{id}", "PATCH /admin/identities/{id}", "DELETE /admin/identities/{id}",
	"DELETE /admin/identities/{id}/credentials/{type}", "DELETE /admin/identities/{id}/sessions", "DELETE /admin/sessions/{id}",
	"POST /admin/recovery/code", "POST /admin/recovery/link",
	"GET /admin/events", "GET /admin/events/stream", "GET /schemas", "GET /schemas/{id}", "GET /version",
	"GET /admin/settings", "PATCH /admin/settings", "POST /admin/settings/preview", "GET /admin/settings/history", "POST /admin/settings/revert",
	"GET /admin/events", "GET /admin/events/stream", "GET /admin/events/{id}", "GET /admin/audit/checkpoints", "GET /admin/audit/verify", "GET /schemas", "GET /schemas/{id}", "GET /version",
	"GET /admin/webhooks", "GET /admin/webhooks/{name}", "POST /admin/webhooks", "DELETE /admin/webhooks/{name}",
	"POST /admin/webhooks/{name}/test", "POST /admin/webhooks/{name}/rotate", "POST /admin/webhooks/{name}/rotate/finish",
	"POST /admin/webhooks/{name}/enable",
	"GET /admin/hooks", "GET /admin/hooks/{name}", "POST /admin/hooks", "DELETE /admin/hooks/{name}",
	"POST /admin/hooks/{name}/pause", "POST /admin/hooks/{name}/resume", "POST /admin/hooks/{name}/rotate", "POST /admin/hooks/{name}/check",
	"GET /admin/session-workers",
	"GET /admin/stats",
	"GET /admin/self-service/", "POST /admin/self-service/", "DELETE /admin/self-service/",
	"GET /admin/dead-letters", "GET /admin/dead-letters/{hook}/{event}", "POST /admin/dead-letters/redeliver", "POST /admin/dead-letters/discard",
	"GET /health/alive", "GET /health/ready", "GET /health/accepting", "GET /admin/health/alive", "GET /admin/health/ready",
}

// TestEveryActIsTold is S82 for administrators: each of their routes has an event.
func TestEveryActIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog, withSettings(&settingsDesk{}), func(w *world) { w.options.Guarded = true })
	c := w.admin()
	id, known := uuid.NewString(), untold
	for _, a := range acted {
		known = append(known, a.method+" "+a.path)
		target := `{"action":"` + a.action + `"}`
		if strings.Contains(a.path, "{id}") {
			target = `{"action":"` + a.action + `","target":"` + id + `"}`
		}
		before := len(w.journal.acts())
		c.do(a.method, strings.Replace(a.path, "{id}", id, 1), "", "Authorization", "Bearer usher_at_root")
		acts := w.journal.acts()[before:]
		if want := []string{"admin:anna " + target}; !slices.Equal(acts, want) {
			t.Errorf("%s %s told %q, want %q", a.method, a.path, acts, want)
		}
	}
	for _, route := range api.Routes(w.server.Admin()) {
		if !strings.HasPrefix(route, "HEAD ") && !slices.Contains(known, route) {
			t.Errorf("%s is new: has it an event? Say so in one of the two lists", route)
		}
	}
}

// TestAListIsOneEvent: however many people a page shows.
func TestAListIsOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	for n := range 30 {
		c.do("POST", "/admin/identities", `{"traits":{"email":"p`+string(rune('a'+n%26))+string(rune('a'+n/26))+`@example.org"}}`, "Content-Type", "application/json")
	}
	if g := c.get("/admin/identities?page_size=1000"); strings.Count(g.body, `"schema_id"`) != 30 || len(w.journal.acts()) != 1 {
		t.Errorf("a list of %d told %q, want one event", strings.Count(g.body, `"schema_id"`), w.journal.acts())
	}
	c.get("/admin/identities/not%20an%20id%40example.org")
	if acts := w.journal.acts(); strings.Contains(acts[len(acts)-1], "example") {
		t.Errorf("a path that is no id stands in an event: %q", acts)
	}
}

// TestWhatCannotBeToldIsNotDone: no read goes untold.
func TestWhatCannotBeToldIsNotDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMails)
	w.journal.broken = errors.New("the disk is full")
	if g := w.admin().get("/admin/courier/messages"); g.status != 500 || strings.Contains(g.body, "example.org") {
		t.Errorf("messages = %d %s, want 500", g.status, g.body)
	}
}

// TestEventsScope: a token for events reads them in every way, and nothing else.
func TestEventsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog, func(w *world) { w.options.Guarded = true })
	c := w.admin()
	token := []string{"Authorization", "Bearer usher_at_events"}
	for _, path := range []string{"/admin/events", "/admin/audit/export"} {
		if g := c.get(path, token...); g.status != 200 {
			t.Errorf("%s with events:read = %d, want 200", path, g.status)
		}
	}
	c.stream("", token...).close()
}

// newest is a page of the newest events, and whether there is an older one.
func (c *client) newest(query string) (p eventsPage, older bool) {
	c.t.Helper()
	g := c.get("/admin/events?order=newest&" + query)
	if err := json.Unmarshal([]byte(g.body), &p); err != nil || g.status != 200 {
		c.t.Fatalf("the newest events?%s = %d %s", query, g.status, g.body)
	}
	if link := g.header.Get("Link"); (link != "") != (p.Next != "") || !strings.Contains(link, p.Next) {
		c.t.Errorf("the newest events?%s: Link %q, next %q", query, link, p.Next)
	}
	return p, p.Next != ""
}

func TestNewestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog)
	c := w.admin()
	p, _ := c.newest("limit=4")
	p.is(t, "the first page", "6", "5", "4", "3")
	w.memory.add("session.issued", bob)
	end, older := c.newest("limit=4&after=" + p.Next)
	if end.is(t, "the last page", "2", "1"); older {
		t.Error("behind the first record there is another page")
	}
	c.events("after="+p.Latest).is(t, "what came meanwhile", "7")
	for query, seqs := range map[string][]string{
		"":                                    {"7", "6", "5", "4", "3", "2", "1"},
		"after=latest&limit=1":                {"7"},
		"type=identity.created":               {"5", "3", "1"},
		"type=identity.created&limit=2":       {"5", "3"},
		"subject=" + bob:                      {"7", "4", "3"},
		"type=session.refused&subject=" + bob: {"4"},
		"type=mail.sent":                      nil,
		"actor=client&limit=2":                {"7", "6"},
		"actor=admin:ann":                     nil,
		"until=2026-11-24T12:00:00Z":          nil,
		"since=2026-11-24T12:00:00Z&until=2026-11-24T13:00:00%2b00:30": {"7", "6", "5", "4", "3", "2", "1"},
	} {
		page, _ := c.newest(query)
		page.is(t, query, seqs...)
	}
	for _, query := range []string{
		"order=best", "order=newest&wait=1", "order=newest&after=x", "order=newest&after=" + api.FormatCursor(0), "order=newest&limit=0",
		"order=newest&type=a", "order=newest&since=yesterday", "order=newest&until=1", "actor=client", "since=2026-11-24T12:00:00Z",
	} {
		if g := c.get("/admin/events?" + query); g.status != 400 {
			t.Errorf("events?%s = %d, want 400", query, g.status)
		}
	}
	for _, path := range []string{"/admin/events/stream", "/admin/audit/export"} {
		if g := c.get(path + "?order=newest"); g.status != 400 {
			t.Errorf("%s?order=newest = %d, want 400", path, g.status)
		}
	}
}

// TestAnActorIsLookedForInBounds: who did something has no index.
func TestAnActorIsLookedForInBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog)
	for range 7000 {
		w.memory.add("session.issued", bob)
	}
	c := w.admin()
	p, older := c.newest("actor=admin:ann")
	if seq, _ := api.ParseCursor(p.Next); !older || len(p.Events) != 0 || seq != 7006-5000+1 {
		t.Errorf("none found: %d events, next before %d, want none and 5,000 looked through", len(p.Events), seq)
	}
	if p, older = c.newest("actor=admin:ann&after=" + p.Next); older || len(p.Events) != 0 {
		t.Errorf("the rest holds %d events, more: %t, want none", len(p.Events), older)
	}
}
