package console_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func encode(rw http.ResponseWriter, body any) { _ = json.NewEncoder(rw).Encode(body) }

func mailOf(changes fields) fields {
	m := fields{
		"id": someEvent, "status": "sent", "recipient": "anna@example.org", "template_type": "verification_code_valid", "send_count": 1,
		"body": "[shown in development only]", "subject": "[shown in development only]", "created_at": at.Add(-3 * time.Minute), "updated_at": at,
	}
	for key, value := range changes {
		m[key] = value
	}
	return m
}

func TestMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked url.Values
	list := []fields{mailOf(nil), mailOf(fields{"status": "abandoned", "last_error": nasty[0], "recipient": nasty[1]})}
	w.admin.HandleFunc("GET /admin/courier/messages", func(rw http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		rw.Header().Set("Link", `</admin/courier/messages?page_size=25>; rel="first",</admin/courier/messages?page_size=25&page_token=n3xt&status=sent>; rel="next"`)
		encode(rw, list)
	})
	p := w.submit("bob", "/console/mail", url.Values{"status": {"sent"}, "recipient": {"anna@example.org"}})
	p.wants(t, 200, "anna@example.org", "Verification code", "3 min ago", "abandoned", `name="after" value="n3xt"`, `name="recipient" value="anna@example.org"`, "&lt;script&gt;")
	p.harmless(t)
	if want := (url.Values{"status": {"sent"}, "recipient": {"anna@example.org"}, "page_size": {"25"}}); asked.Encode() != want.Encode() {
		t.Errorf("the API was asked for %s, want %s", asked.Encode(), want.Encode())
	}
	if strings.Contains(p.text, `class="mailed"`) || strings.Contains(p.text, "shown in development") {
		t.Errorf("a list that shows no code has a place for it: %s", p.text)
	}
	list = []fields{mailOf(fields{"body": "Your code: 246810\n" + nasty[0], "subject": nasty[0]})}
	p = w.visit("bob", "/console/mail")
	p.wants(t, 200, ">246810<")
	p.harmless(t)
	list = nil
	w.visit("bob", "/console/mail").wants(t, 200, "No mail has been written yet")
	w.visit("bob", "/console/mail?status=queued").wants(t, 200, "No mail fits this")
}

func TestOneMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers("GET /admin/courier/messages/"+someEvent, 200, mailOf(nil))
	w.visit("bob", "/console/mail/"+someEvent).wants(t, 200, "anna@example.org", "in development only")
	for _, text := range nasty {
		w := newWorld(t)
		w.answers("GET /admin/courier/messages/"+someEvent, 200, mailOf(fields{"body": text + " code 135790", "subject": text, "recipient": text, "last_error": text}))
		p := w.visit("bob", "/console/mail/"+someEvent)
		p.wants(t, 200, `>135790<`)
		p.harmless(t)
	}
	for _, id := range []string{"x", "..%2f..%2fhooks", "%00"} {
		w := newWorld(t)
		w.visit("bob", "/console/mail/"+id).wants(t, 404)
		if len(w.asked) > 0 {
			t.Errorf("%s asks the API for %q", id, w.asked)
		}
	}
}
