package console_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// fields is JSON of a test.
type fields = map[string]any

// hookOf is a hook as the admin API gives it, with changes.
func hookOf(name string, changes fields) fields {
	h := fields{
		"name": name, "kind": "worker", "events": []string{"identity.created"}, "traits": []string{"email"}, "declared": "stored",
		"created_at": at.Add(-time.Hour),
		"consumer":   fields{"pending": 12345, "ack_pending": 2, "redelivered": 1, "waiting": 1, "delivered_at": at.Add(-2 * time.Minute)},
		"failures":   fields{"waiting": 0, "dead": 0, "discarded": 0}, "instances": []fields{},
	}
	for key, value := range changes {
		h[key] = value
	}
	return h
}

// hooks lets the admin API have hooks.
func (w *world) hooks(all ...fields) {
	w.answers("GET /admin/hooks", 200, fields{"hooks": all})
	for _, h := range all {
		w.answers("GET /admin/hooks/"+h["name"].(string), 200, h)
	}
}

// records lets the admin API answer a pattern and keeps the bodies that it gets.
func (w *world) records(pattern string, status int, body any) *[]string {
	bodies := &[]string{}
	w.admin.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
		var in json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&in)
		*bodies = append(*bodies, string(in))
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		if body != nil {
			_ = json.NewEncoder(rw).Encode(body)
		}
	})
	return bodies
}

func problemOf(status int, reason string) fields {
	return fields{"error": fields{"code": status, "message": "no", "reason": reason}}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hooks(
		hookOf("crm", fields{"instances": []fields{{"id": "A1", "version": "1.2.0", "work": fields{"done": 42, "retry": 3}}, {"id": "B2", "version": "1.1.0"}}}),
		hookOf("courier", fields{"declared": "fixed"}),
		hookOf("gate", fields{"kind": "answer", "consumer": nil}),
		hookOf("slow", fields{"consumer": fields{"pending": 1, "paused_until": at.AddDate(100, 0, 0)}, "failures": fields{"dead": 7, "waiting": 0, "discarded": 0}}),
		hookOf("gone", fields{"consumer": fields{"pending": 4}}),
		hookOf("shop", fields{"kind": "webhook", "disabled": "answered 410"}),
	)
	w.answers("GET /admin/session-workers", 200, fields{"session_workers": []fields{{"id": "S1", "version": "1.0.0", "round_trip_ms": 1.25, "answered": 9, "average_ms": 3.5}}})
	p := w.visit("bob", "/console/workers?look=true")
	p.wants(t, 200, "12\u202f345", "1.1.0, 1.2.0", "42 done", "3 failed attempts", "paused", "disabled", ">not running<", "built-in worker",
		"answering worker", "S1", "1.2 ms", "3.5 ms", "usher worker new hello", "2 min ago", "/console/dead-letters?hook=slow&amp;state=dead")
	if strings.Contains(p.text, "/console/workers/new") {
		t.Error("an operator is shown what only an owner may")
	}
	w.visit("ann", "/console/workers").wants(t, 200, "/console/workers/new")
}

// The page does not wait for programs: what asks for them is filled in.
func TestWorkersComeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var query url.Values
	w.admin.HandleFunc("GET /admin/hooks", func(rw http.ResponseWriter, r *http.Request) {
		query = r.URL.Query()
		_ = json.NewEncoder(rw).Encode(fields{"hooks": []fields{hookOf("crm", nil)}})
	})
	p := w.visit("bob", "/console/workers")
	p.wants(t, 200, "crm", "being looked for", `hx-get="/console/workers?look=true"`)
	if query.Get("instances") != "false" || slices.Contains(w.asked, "GET /admin/session-workers") {
		t.Errorf("the first answer waits for programs: %v, %q", query, w.asked)
	}
	w.answers("GET /admin/session-workers", 200, fields{"session_workers": []fields{}})
	r := httptest.NewRequest(http.MethodGet, "https://admin.example/console/workers?look=true", nil)
	r.Header.Set("HX-Request", "true")
	p = w.send("bob", r)
	p.wants(t, 200, "crm", "No session worker answers")
	if strings.Contains(p.text, "<html") || query.Get("instances") != "" {
		t.Errorf("what is filled in is no part of a page: %s", p.text)
	}
}

// TestWorkersWithoutTheBus: what is declared comes, what only the bus knows is
// said to be missing.
func TestWorkersWithoutTheBus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hooks(hookOf("courier", fields{"declared": "fixed", "consumer": nil}), hookOf("crm", fields{"consumer": nil}))
	w.answers("GET /admin/session-workers", 503, problemOf(503, "The bus does not answer, so nobody knows."))
	w.visit("bob", "/console/workers?look=true").wants(t, 200, "crm", "courier", "The bus does not answer.", "unknown", "The list of session workers cannot be shown just now")
	w.visit("bob", "/console/workers/crm").wants(t, 200, "not known: the bus does not answer")
}

func TestWorkersWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers("GET /admin/hooks", 503, problemOf(503, ""))
	w.answers("GET /admin/session-workers", 200, fields{"session_workers": []fields{{"id": "S1"}}})
	w.visit("bob", "/console/workers?look=true").wants(t, 200, "The list of workers cannot be shown just now", "S1")
}

func TestOneWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hooks(
		hookOf("crm", fields{"failures": fields{"waiting": 1, "dead": 0, "discarded": 0}}), hookOf("filed", fields{"declared": "file"}),
		hookOf("paused", fields{"consumer": fields{"paused_until": at.Add(10 * time.Minute)}}), hookOf("courier", fields{"declared": "fixed"}),
		hookOf("shop", fields{"kind": "webhook", "url": "https://shop.example/in", "disabled": "it answered 410"}),
	)
	w.answers("GET /admin/webhooks/shop", 200, fields{"secrets": 2})
	w.answers("GET /admin/dead-letters", 200, fields{"dead_letters": []fields{{"hook": "crm", "event_id": someEvent, "state": "waiting", "reason": "refused", "next_at": at.Add(time.Minute)}}})
	w.visit("ann", "/console/workers/crm").wants(t, 200, "identity.created", "email", "in 1 min", "Pause it for", "New credential", "/console/workers/crm/remove", "Check")
	w.visit("ann", "/console/workers/paused").wants(t, 200, "in 10 min", "Resume now")
	w.visit("ann", "/console/workers/shop").wants(t, 200, "https://shop.example/in", "It answered 410.", "End the former secret", "Send a test event")
	for page, lacks := range map[string][]string{
		"ann /console/workers/filed":   {"/console/workers/filed/remove"},
		"ann /console/workers/courier": {"New credential", "/remove", "/check"},
		"bob /console/workers/crm":     {"New credential", "/remove"},
	} {
		who, path, _ := strings.Cut(page, " ")
		p := w.visit(who, path)
		p.wants(t, 200)
		for _, text := range lacks {
			if strings.Contains(p.text, text) {
				t.Errorf("%s shows %q", page, text)
			}
		}
	}
	w.visit("ann", "/console/workers/none").wants(t, 404, "There is no worker or webhook of this name.")
	w.answers("GET /admin/hooks/none", 404, problemOf(404, "no such hook"))
	w.visit("ann", "/console/workers/none?look=true").wants(t, 404, "No such hook.")
	r := httptest.NewRequest(http.MethodGet, "https://admin.example/console/workers/crm?look=true", nil)
	r.Header.Set("HX-Request", "true")
	p := w.send("bob", r)
	if p.wants(t, 200, "none seen"); strings.Contains(p.text, "<html") || strings.Contains(p.text, "Replay") {
		t.Errorf("what is filled in is more than the facts: %s", p.text)
	}
}

// A name leads to the routes of hooks and to no other.
func TestWorkerNamesLeadNowhereElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"..%2Fidentities", "crm%2Frotate", "%2e%2e", "a%00", "x%3Fy", strings.Repeat("a", 300)} {
		w.visit("ann", "/console/workers/"+name).wants(t, 404)
		for _, act := range []string{"pause", "resume", "check", "replay", "rotate", "remove", "enable", "test", "rotate/finish", "credential"} {
			if p := w.submit("ann", "/console/workers/"+name+"/"+act, url.Values{"credential": {"x"}}); p.StatusCode < 400 {
				t.Errorf("%s of %s = %d", act, name, p.StatusCode)
			}
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("the admin API was asked for %q", w.asked)
	}
}

func TestWorkerActs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		act, order string
		form       url.Values
		body, said string
	}{
		{"pause", "POST /admin/hooks/crm/pause", url.Values{"for": {"10m"}}, `{"for":"10m"}`, "It is paused"},
		{"pause", "POST /admin/hooks/crm/pause", url.Values{"for": {""}}, `{}`, "It is paused"},
		{"resume", "POST /admin/hooks/crm/resume", nil, `{}`, "It gets events again"},
		{"enable", "POST /admin/webhooks/crm/enable", nil, ``, "It gets events again"},
		{"rotate/finish", "POST /admin/webhooks/crm/rotate/finish", nil, ``, "new secret alone"},
		{"remove", "DELETE /admin/hooks/crm", nil, ``, "crm is removed"},
		{"remove", "DELETE /admin/webhooks/crm", url.Values{"kind": {"webhook"}}, ``, "crm is removed"},
	} {
		w := newWorld(t)
		bodies := w.records(c.order, 200, nil)
		p := w.submit("ann", "/console/workers/crm/"+c.act, c.form)
		p.wants(t, http.StatusSeeOther)
		if want := []string{c.body}; !slices.Equal(*bodies, want) || !slices.Equal(w.actors, []string{"admin:ann"}) {
			t.Errorf("%s: the API got %q by %q, want %q by ann", c.act, *bodies, w.actors, want)
		}
		if got := noticeOf(t, p); !strings.Contains(got, c.said) {
			t.Errorf("%s said %q, want %q", c.act, got, c.said)
		}
	}
	w := newWorld(t)
	w.answers("POST /admin/hooks/crm/pause", 409, problemOf(409, "the bus does not have it yet"))
	w.submit("ann", "/console/workers/crm/pause", nil).wants(t, 409, "The bus does not have it yet.")
}

// TestOnlyOwnersHandleSecrets also holds that asking to remove does not.
func TestOnlyOwnersHandleSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"crm/rotate", "crm/rotate/finish", "crm/credential", "crm/remove", "new"} {
		w.submit("bob", "/console/workers/"+path, url.Values{"credential": {"x"}}).wants(t, 403)
	}
	w.visit("bob", "/console/workers/new").wants(t, 403)
	w.visit("bob", "/console/workers/crm/remove").wants(t, 403)
	if len(w.asked) > 0 {
		t.Errorf("the admin API was asked for %q", w.asked)
	}
	w.hooks(hookOf("crm", nil))
	w.visit("ann", "/console/workers/crm/remove").wants(t, 200, "This cannot be taken back", "12\u202f347 events", "Keep it")
	if want := []string{"GET /admin/hooks/crm"}; !slices.Equal(w.asked, want) {
		t.Errorf("the admin API was asked for %q, want %q", w.asked, want)
	}
}

// TestACredentialIsShownOnce: in the answer, and in no address, cookie or log.
func TestACredentialIsShownOnce(t *testing.T) {
	t.Parallel()
	const secret = "-----BEGIN NATS USER JWT-----\ncreds-4711"
	w := newWorld(t)
	w.answers("POST /admin/hooks/crm/rotate", 200, fields{"credential": secret, "nats_url": "tls://bus.example"})
	w.answers("POST /admin/hooks", 201, fields{"credential": secret, "nats_url": "tls://bus.example"})
	w.answers("POST /admin/webhooks", 201, fields{"secret": "whsec_4711", "ready": false})
	w.answers("POST /admin/webhooks/crm/rotate", 200, fields{"secret": "whsec_4711", "ready": true})
	for _, p := range []page{
		w.submit("ann", "/console/workers/crm/rotate", nil),
		w.submit("ann", "/console/workers/crm/rotate", url.Values{"kind": {"webhook"}}),
		w.submit("ann", "/console/workers/new", url.Values{"name": {"crm"}, "kind": {"worker"}, "event": {"identity.created"}}),
		w.submit("ann", "/console/workers/new", url.Values{"name": {"crm"}, "kind": {"webhook"}, "url": {"https://crm.example"}}),
	} {
		p.wants(t, p.StatusCode, "4711", "It is not shown again")
		for name, values := range p.Header {
			if strings.Contains(strings.Join(values, " "), "4711") {
				t.Errorf("header %s shows it: %q", name, values)
			}
		}
		if p.Header.Get("Cache-Control") != "no-store" || strings.Contains(p.text, "?credential") {
			t.Errorf("the answer may be kept: %v", p.Header)
		}
	}
	p := w.submit("ann", "/console/workers/crm/credential", url.Values{"credential": {secret}})
	p.wants(t, 200)
	if p.text != secret || p.Header.Get("Content-Disposition") != `attachment; filename="crm.creds"` || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("the file is %q, %v", p.text, p.Header)
	}
}

func TestNewWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := w.records("POST /admin/hooks", 201, fields{"credential": "c"})
	hooks := w.records("POST /admin/webhooks", 201, fields{"secret": "s"})
	w.submit("ann", "/console/workers/new", url.Values{"name": {" crm "}, "kind": {"worker"}, "event": {"identity.created", "identity.deleted"}, "traits": {"email, name"}, "url": {"x"}})
	w.submit("ann", "/console/workers/new", url.Values{"name": {"gate"}, "kind": {"answer"}, "event": {"identity.created"}, "reuse_name": {"true"}})
	w.submit("ann", "/console/workers/new", url.Values{"name": {"shop"}, "kind": {"webhook"}, "event": {"identity.created"}, "url": {"https://shop.example"}})
	want := []string{
		`{"events":["identity.created","identity.deleted"],"kind":"worker","name":"crm","traits":["email","name"]}`,
		`{"events":[],"kind":"answer","name":"gate","reuse_name":true,"traits":[]}`,
	}
	if !slices.Equal(*bodies, want) || !slices.Equal(*hooks, []string{`{"events":["identity.created"],"name":"shop","url":"https://shop.example"}`}) {
		t.Errorf("the API got %q and %q", *bodies, *hooks)
	}
	refusing := newWorld(t)
	refusing.answers("POST /admin/hooks", 409, problemOf(409, "credentials of crm are good. reuse_name lets it"))
	refusing.submit("ann", "/console/workers/new", url.Values{"name": {"<b>crm"}, "kind": {"worker"}, "event": {"identity.deleted"}}).
		wants(t, 409, "Nothing was declared.", `value="&lt;b&gt;crm"`, `value="identity.deleted" checked`, `name="reuse_name"`)
}

func TestCheckAndTest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := w.records("POST /admin/hooks/crm/check", 200, fields{"case": "no-json", "type": "identity.created", "verdict": "failed", "took_ms": 1500, "events": 1, "reason": "<script>", "note": "it has acked"})
	w.submit("bob", "/console/workers/crm/check", url.Values{"case": {"no-json"}, "type": {"identity.created"}}).
		wants(t, 200, "It did not do as it should", "1.5 s", "&lt;script&gt;", "It has acked.")
	if want := []string{`{"case":"no-json","for":"40s","type":"identity.created"}`}; !slices.Equal(*bodies, want) {
		t.Errorf("the API got %q, want %q", *bodies, want)
	}
	w.answers("POST /admin/webhooks/shop/test", 200, fields{"event_id": "e", "status": 204, "took_ms": 12})
	w.submit("bob", "/console/workers/shop/test", nil).wants(t, 200, "204 after 12 ms")
	w.answers("POST /admin/webhooks/down/test", 200, fields{"failed": "connection refused", "took_ms": 1})
	w.submit("bob", "/console/workers/down/test", nil).wants(t, 200, "Connection refused.")
}

// TestReplay goes on where the answer before has ended, with the same limits.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("bob", "/console/workers/crm/replay?since=2026-11-20T08:30&type=identity.created&per_second=50").
		wants(t, 200, "Nothing is done yet", "2026-11-20 08:30 UTC", "50 events a second", "cannot be taken back", `value="2026-11-26T12:00:00"`)
	w.visit("bob", "/console/workers/crm/replay?since=soon").wants(t, 400, "nothing was replayed")
	w.visit("bob", "/console/workers/crm/replay?per_second=-1").wants(t, 400, "nothing was replayed")
	if len(w.asked) > 0 {
		t.Errorf("looking at it asked for %q", w.asked)
	}
	bodies := w.records("POST /admin/hooks/crm/replay", 200, fields{"id": "r1", "after": 77, "until": at, "count": 500, "more": true})
	form := url.Values{"since": {"2026-11-20T08:30"}, "until": {"2026-11-26T12:00:00"}, "type": {"identity.created"}, "per_second": {"50"}}
	p := w.submit("bob", "/console/workers/crm/replay", form)
	p.wants(t, 200, "500 events were replayed so far", `name="id" value="r1"`, `name="after" value="77"`, `hx-post="/console/workers/crm/replay"`, "<html")
	form.Set("id", "r1")
	form.Set("after", "77")
	form.Set("total", "500")
	r := httptest.NewRequest(http.MethodPost, "https://admin.example/console/workers/crm/replay", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("HX-Request", "true")
	p = w.send("bob", r)
	if p.wants(t, 200, "1\u202f000 events"); strings.Contains(p.text, "<html") {
		t.Error("what goes on by itself is a whole page")
	}
	want := []string{
		`{"per_second":50,"since":"2026-11-20T08:30:00Z","types":["identity.created"],"until":"2026-11-26T12:00:00Z"}`,
		`{"after":77,"id":"r1","per_second":50,"since":"2026-11-20T08:30:00Z","types":["identity.created"],"until":"2026-11-26T12:00:00Z"}`,
	}
	if !slices.Equal(*bodies, want) {
		t.Errorf("the API got %q, want %q", *bodies, want)
	}
}

// TestWorkersSaysThatNobodyTakesEvents: where no process runs Usher's own hooks their
// events wait, and the page says so; where one does it does not.
func TestWorkersSaysThatNobodyTakesEvents(t *testing.T) {
	t.Parallel()
	for asks, gone := range map[int]bool{0: true, 1: false} {
		w := newWorld(t)
		w.answers("GET /admin/hooks", 200, fields{"hooks": []fields{
			{"name": "log", "kind": "worker", "declared": "fixed", "consumer": fields{"pending": 7, "waiting": asks}},
			{"name": "billing", "kind": "webhook", "declared": "stored", "consumer": fields{"ack_pending": 2}},
		}})
		w.answers("GET /admin/session-workers", 200, fields{"session_workers": []fields{}})
		p := w.visit("bob", "/console/workers?look=true")
		if got := strings.Contains(p.text, "Nobody takes the events") && strings.Contains(p.text, "9 deliveries"); got != gone {
			t.Errorf("asked for by %d: the page says that nobody takes events: %t, want %t", asks, got, gone)
		}
	}
}
