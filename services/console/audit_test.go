package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func withTrail(w *world) {
	w.answers("GET /admin/audit/verify", 200, object{"state": "none", "done": 0, "all": 0, "per_second": 0})
}

func TestAuditTrail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withTrail)
	asked := w.asks("GET /admin/events", 200, object{"events": []object{told("admin.acted", annID)}, "next": "older", "latest": "head"})
	p := w.visit("bob", "/console/audit?type=admin.acted&actor=admin:ann&subject="+annID+"&since=2026-11-26T10:00&until=")
	p.wants(t, 200, "admin.acted", "/console/audit/events/"+eventID, "method password", "Next page", `value="admin:ann"`, "An export holds all times")
	if want := "actor=admin%3Aann&limit=50&order=newest&since=2026-11-26T10%3A00%3A00Z&subject=" + annID + "&type=admin.acted"; (*asked)[0] != want {
		t.Errorf("the API was asked by\n%s, want\n%s", (*asked)[0], want)
	}
	if !strings.Contains(p.text, `hx-trigger="every 2s"`) || !strings.Contains(p.text, "head=head") {
		t.Error("it does not follow by itself")
	}
	for _, query := range []string{"?live=off", "?after=x", "?until=2026-11-26T10:00:30"} {
		if p := w.visit("bob", "/console/audit"+query); p.StatusCode != http.StatusOK || strings.Contains(p.text, "every 2s") {
			t.Errorf("audit%s = %d, and follows by itself", query, p.StatusCode)
		}
	}
	w.visit("bob", "/console/audit?since=yesterday").wants(t, 200, "cannot be shown", "Since must be a time")
}

// TestTheTailDoesNotGrow: nothing is sent while nothing is new, and as many rows as
// before when something is.
func TestTheTailDoesNotGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withTrail)
	w.answers("GET /admin/events", 200, object{"events": []object{told("admin.acted", "")}, "next": "", "latest": "head"})
	if p := w.send("bob", fromHTMX("/console/audit/tail?head=head")); p.StatusCode != http.StatusNoContent || p.text != "" {
		t.Errorf("with nothing new = %d %s, want 204", p.StatusCode, p.text)
	}
	p := w.send("bob", fromHTMX("/console/audit/tail?head=older&type=admin.acted"))
	p.wants(t, 200, "admin.acted", "head=head&amp;type=admin.acted", "every 2s")
	if strings.Contains(p.text, "<html") || strings.Count(p.text, `id="tail"`) != 1 {
		t.Errorf("it is no fragment that takes the place of the former: %s", p.text)
	}
}

func TestAnActorThatIsRare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withTrail)
	w.answers("GET /admin/events", 200, object{"events": []object{}, "next": "older", "latest": "head"})
	w.visit("bob", "/console/audit?actor=admin:zoe").wants(t, 200, "5,000 records", "after=older")
}

func TestOneRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hash := strings.Repeat("ab", 32)
	w.answers("GET /admin/events/"+eventID, 200, object{"seq": 7, "former": strings.Repeat("00", 32), "hash": hash, "logged_at": at, "event": told("session.issued", annID)})
	w.answers("GET /admin/events/{id}", 404, notFound("The event log holds no event with this id."))
	w.visit("bob", "/console/audit/events/"+eventID).wants(t, 200, hash, "0af7651916cd43dd8448eb211c80319c", "/console/identities/"+annID, "&#34;method&#34;: &#34;password&#34;")
	w.visit("bob", "/console/audit/events/"+annID).wants(t, 404, "no event with this id")
	w.visit("bob", "/console/audit/events/x").wants(t, 404)
}

func TestVerifyNow(t *testing.T) {
	t.Parallel()
	for of, sent := range map[string]string{"recent": `{"last":100000}`, "all": `{"last":0}`} {
		w := newWorld(t)
		asked := w.asks("POST /admin/audit/verify", 202, object{"state": "running"})
		if p := w.submit("bob", "/console/audit/verify", url.Values{"of": {of}}); p.StatusCode != http.StatusSeeOther || (*asked)[0] != sent {
			t.Errorf("verify %s = %d, the API got %q, want %s", of, p.StatusCode, *asked, sent)
		}
	}
	for name, c := range map[string]struct {
		check object
		wants []string
		polls bool
	}{
		"running": {object{"state": "running", "done": 1500, "all": 3000, "per_second": 70000}, []string{"<progress", `max="3000" value="1500"`}, true},
		"intact": {
			object{"state": "intact", "ended_at": at, "done": 9, "all": 9, "per_second": 9, "report": object{"records": 9, "checkpoints": 2, "first": 3, "last": 9, "signed": 7}},
			[]string{"Intact:", "9 records and 2 checkpoints", "began at record 3", "last 2 are behind no checkpoint"},
			false,
		},
		"broken": {
			object{"state": "broken", "ended_at": at, "broken": object{"kind": "altered", "seq": 4, "event_id": eventID, "detail": "its payload does not give its hash"}},
			[]string{"Record 4 altered:", "Its payload does not give its hash.", "/console/audit/events/" + eventID},
			false,
		},
		"failed": {object{"state": "failed", "ended_at": at}, []string{"could not be read to its end", "safe to verify again"}, false},
	} {
		w := newWorld(t)
		w.answers("GET /admin/events", 503, notFound("the database does not answer"))
		w.answers("GET /admin/audit/verify", 200, c.check)
		w.visit("bob", "/console/audit").wants(t, 200, c.wants...)
		p := w.send("bob", fromHTMX("/console/audit/verify"))
		p.wants(t, 200, c.wants...)
		if got := strings.Contains(p.text, "every 1s"); got != c.polls {
			t.Errorf("%s: it asks again: %t, want %t", name, got, c.polls)
		}
	}
	newWorld(t, withTrail).visit("bob", "/console/audit/verify").wants(t, 303)
}

func TestCheckpointsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers("GET /admin/audit/checkpoints", 200, object{"next": "older", "checkpoints": []object{{"seq": 12345, "head": strings.Repeat("ab", 32), "at": at, "key_id": "0123456789abcdef", "signature": "c2ln"}}})
	w.visit("bob", "/console/audit/checkpoints").wants(t, 200, "12\u202f345", "0123456789abcdef", "after=older")
}

func TestExportIsAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := w.asks("GET /admin/audit/export", 200, object{"end": 0})
	p := w.visit("bob", "/console/audit/export?type=login.failed&actor=x")
	p.wants(t, 200, `{"end":0}`)
	if got := p.Header.Get("Content-Disposition"); got != `attachment; filename="usher-audit-20261126-120000.jsonl"` || (*asked)[0] != "type=login.failed" {
		t.Errorf("Content-Disposition = %s, the API was asked by %q", got, *asked)
	}
}

// TestARefusedExportIsNoFile: the browser shows why instead of saving it.
func TestARefusedExportIsNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers("GET /admin/audit/export", 503, object{"error": object{"reason": "the store is away"}})
	w.answers("GET /admin/health/ready", 503, object{"errors": object{"database": "unavailable"}})
	p := w.visit("bob", "/console/audit/export")
	p.wants(t, 503, "The store is away.", "The database does not answer.", "safe to try again")
	if got := p.Header.Get("Content-Disposition"); got != "" {
		t.Errorf("Content-Disposition = %q of a refusal", got)
	}
}
