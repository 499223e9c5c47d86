package console_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const someEvent = "0193600d-7d8b-7000-8000-000000000001"

// nasty are texts that others write: markup, from right to left, and long.
var nasty = []string{`<script>alert(1)</script>"'><img src=x onerror=alert(1)>`, "\u202eמחק\u202d 'x'", strings.Repeat("long ", 2000)}

func letterOf(reason string) fields {
	return fields{
		"hook": "crm", "event_id": someEvent, "state": "dead", "attempts": 10, "round": 2, "reason": reason,
		"first_at": at.Add(-time.Hour), "last_at": at.Add(-5 * time.Minute), "event_type": "identity.created",
	}
}

// noticeOf is what the next page says once.
func noticeOf(t *testing.T, p page) string {
	t.Helper()
	for _, c := range p.Cookies() {
		if c.Name == "usher_console_notice" {
			text, err := base64.RawURLEncoding.DecodeString(c.Value)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	return ""
}

// harmless tells what of a nasty text stands in a page as markup.
func (p page) harmless(t *testing.T) {
	t.Helper()
	for _, text := range []string{"<script>alert", "<img src=x", `"'><`} {
		if strings.Contains(p.text, text) {
			t.Errorf("page holds %q as it was written", text)
		}
	}
}

func TestDeadLettersList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked url.Values
	letters := []fields{}
	for _, text := range nasty {
		letters = append(letters, letterOf(text))
	}
	w.admin.HandleFunc("GET /admin/dead-letters", func(rw http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		encode(rw, fields{"dead_letters": letters, "next": "99"})
	})
	p := w.visit("bob", "/console/dead-letters?hook=crm&type=identity.created&reason_contains=50%25")
	p.wants(t, 200, "identity.created", "5 min ago", "&lt;script&gt;", `dir="auto"`, "after=99", "Redeliver all of this filter", `value="crm/`+someEvent+`"`)
	p.harmless(t)
	want := url.Values{"hook": {"crm"}, "type": {"identity.created"}, "reason_contains": {"50%"}, "state": {"dead"}, "limit": {"50"}}
	if asked.Encode() != want.Encode() {
		t.Errorf("the API was asked for %s, want %s", asked.Encode(), want.Encode())
	}
	if p := w.visit("bob", "/console/dead-letters?state=waiting"); strings.Contains(p.text, "Redeliver") {
		t.Error("what is not dead can be redelivered")
	}
	letters = nil
	w.visit("bob", "/console/dead-letters").wants(t, 200, "There are no dead letters")
	w.visit("bob", "/console/dead-letters?hook=crm").wants(t, 200, "Nothing fits this filter")
}

func TestOneDeadLetter(t *testing.T) {
	t.Parallel()
	for _, text := range nasty {
		w := newWorld(t)
		l := letterOf(text)
		l["event"] = fields{"specversion": "1.0", "data": fields{"traits": fields{"name": text}}}
		w.answers("GET /admin/dead-letters/crm/"+someEvent, 200, l)
		p := w.visit("bob", "/console/dead-letters/crm/"+someEvent)
		p.wants(t, 200, "&#34;specversion&#34;: &#34;1.0&#34;", "10 in round 2", "Discard…")
		p.harmless(t)
	}
	w := newWorld(t)
	w.answers("GET /admin/dead-letters/crm/"+someEvent, 200, letterOf("x"))
	w.visit("bob", "/console/dead-letters/crm/"+someEvent).wants(t, 200, "does not hold the event any more")
	w = newWorld(t)
	for _, path := range []string{"crm/x", "..%2f..%2fidentities/" + someEvent, "crm/..%2f" + someEvent} {
		w.visit("bob", "/console/dead-letters/"+path).wants(t, 404)
	}
	if len(w.asked) > 0 {
		t.Errorf("the API was asked for %q", w.asked)
	}
}

func TestRedeliver(t *testing.T) {
	t.Parallel()
	const other = "0193600d-7d8b-7000-8000-000000000002"
	w := newWorld(t)
	bodies := w.records("POST /admin/dead-letters/redeliver", 200, fields{"count": 1, "more": true})
	p := w.submit("bob", "/console/dead-letters/redeliver", url.Values{"letter": {"crm/" + someEvent, "erp/" + other}, "hook": {""}})
	p.wants(t, http.StatusSeeOther)
	want := []string{`{"event":"` + someEvent + `","hook":"crm"}`, `{"event":"` + other + `","hook":"erp"}`}
	if !slices.Equal(*bodies, want) || noticeOf(t, p) != "2 redelivered; the hooks have them again, or get them now." {
		t.Errorf("the API got %q, said %q", *bodies, noticeOf(t, p))
	}
	*bodies = nil
	all := url.Values{"which": {"all"}, "hook": {"crm"}, "type": {"identity.created"}, "reason_contains": {"50%"}}
	w.submit("bob", "/console/dead-letters/redeliver", all).wants(t, 200, "Nothing is done yet", "500 at most", "of crm, of identity.created", "50%", `name="sure"`)
	if len(*bodies) > 0 {
		t.Fatalf("all of a filter were redelivered unasked: %q", *bodies)
	}
	all.Set("sure", "true")
	p = w.submit("bob", "/console/dead-letters/redeliver", all)
	p.wants(t, http.StatusSeeOther)
	if want := []string{`{"all":true,"hook":"crm","limit":500,"reason_contains":"50%","type":"identity.created"}`}; !slices.Equal(*bodies, want) || !strings.Contains(noticeOf(t, p), "There are more") {
		t.Errorf("the API got %q, said %q", *bodies, noticeOf(t, p))
	}
	for _, form := range []url.Values{{}, {"letter": {"crm"}}, {"letter": {"../x/" + someEvent}}, {"letter": slices.Repeat([]string{"crm/" + someEvent}, 101)}} {
		*bodies = nil
		w.submit("bob", "/console/dead-letters/redeliver", form).wants(t, 400)
		if len(*bodies) > 0 {
			t.Errorf("the API got %q", *bodies)
		}
	}
}

func TestDiscardNeedsAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := w.records("POST /admin/dead-letters/discard", 200, fields{"count": 1, "more": false})
	form := url.Values{"letter": {"crm/" + someEvent}}
	w.submit("bob", "/console/dead-letters/discard", form).wants(t, 200, "Nothing is done yet", "cannot be taken back", `name="reason"`)
	form.Set("sure", "true")
	form.Set("reason", "  ")
	w.submit("bob", "/console/dead-letters/discard", form).wants(t, 400, "needs a reason")
	if len(*bodies) > 0 {
		t.Fatalf("discarded without a reason: %q", *bodies)
	}
	form.Set("reason", "the CRM was retired")
	p := w.submit("bob", "/console/dead-letters/discard", form)
	p.wants(t, http.StatusSeeOther)
	if want := []string{`{"event":"` + someEvent + `","hook":"crm","reason":"the CRM was retired"}`}; !slices.Equal(*bodies, want) || noticeOf(t, p) != "1 discarded." {
		t.Errorf("the API got %q, said %q", *bodies, noticeOf(t, p))
	}
}

// What was done before something broke is said, as is what is safe to repeat.
func TestRedeliverBreaksOffHalfWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := 0
	w.admin.HandleFunc("POST /admin/dead-letters/redeliver", func(rw http.ResponseWriter, _ *http.Request) {
		if n++; n > 1 {
			rw.WriteHeader(http.StatusServiceUnavailable)
			encode(rw, problemOf(503, "the database is away"))
			return
		}
		encode(rw, fields{"count": 1})
	})
	w.submit("bob", "/console/dead-letters/redeliver", url.Values{"letter": {"crm/" + someEvent, "erp/" + someEvent}}).
		wants(t, 503, "The database is away after 1 of them; doing it again is safe.")
}
