package console_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	annID     = "11111111-1111-4111-8111-111111111111"
	goneID    = "22222222-2222-4222-8222-222222222222"
	sessionID = "33333333-3333-4333-8333-333333333333"
	eventID   = "44444444-4444-7444-8444-444444444444"
)

type object = map[string]any

// someone is an identity as the admin API shows it.
func someone(change ...func(object)) object {
	o := object{
		"id": annID, "schema_id": "default", "state": "active", "state_changed_at": at, "created_at": at, "updated_at": at,
		"traits":               object{"email": "ann@example.org"},
		"verifiable_addresses": []object{{"value": "ann@example.org", "via": "email", "verified": false, "status": "sent"}},
		"credentials": object{
			"password": object{"type": "password", "identifiers": []string{"ann@example.org"}, "updated_at": at},
			"oidc":     object{"type": "oidc", "identifiers": []string{"google:sub|<7>"}, "updated_at": at},
		},
	}
	for _, c := range change {
		c(o)
	}
	return o
}

func told(eventType, subject string) object {
	return object{
		"id": eventID, "type": eventType, "subject": subject, "time": at, "actor": "client", "source": "/usher/api", "data": object{"method": "password"},
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// asks keeps what the admin API was asked at a pattern: its query and body.
func (w *world) asks(pattern string, status int, body any) *[]string {
	asked := &[]string{}
	w.admin.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body) // a test's own
		*asked = append(*asked, strings.TrimSpace(r.URL.RawQuery+" "+string(sent)))
		if link, ok := body.(http.Header); ok {
			rw.Header()["Link"] = link["Link"]
			body = []object{}
		}
		rw.WriteHeader(status)
		_ = json.NewEncoder(rw).Encode(body) // so is that
	})
	return asked
}

func notFound(text string) object { return object{"error": object{"reason": text}} }

func TestIdentitiesNewestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := w.asks("GET /admin/events", 200, object{"events": []object{told("identity.created", goneID), told("identity.created", annID)}, "next": "older", "latest": "x"})
	people := w.asks("GET /admin/identities", 200, []object{someone()})
	p := w.visit("bob", "/console/identities?after=before")
	p.wants(t, 200, "ann@example.org", "/console/identities/"+annID, "not verified", "deleted", "/console/identities?after=older", "To the start", "imported without --events created")
	if want := "after=before&limit=25&order=newest&type=identity.created"; (*events)[0] != want {
		t.Errorf("events were asked by %s, want %s", (*events)[0], want)
	}
	if want := "ids=" + goneID + "&ids=" + annID; (*people)[0] != want {
		t.Errorf("identities were asked by %s, want %s", (*people)[0], want)
	}
	if strings.Index(p.text, goneID) > strings.Index(p.text, annID) {
		t.Error("they do not stand in the order of the log")
	}
}

func TestIdentitiesByID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := w.asks("GET /admin/identities", 200, http.Header{"Link": {`</admin/identities?page_size=25>; rel="first",</admin/identities?page_size=25&page_token=abc>; rel="next"`}})
	w.visit("bob", "/console/identities?order=id&after=here").wants(t, 200, "There is nobody here")
	if want := "page_size=25&page_token=here"; (*asked)[0] != want {
		t.Errorf("identities were asked by %s, want %s", (*asked)[0], want)
	}
}

func TestWhatCannotBeHadIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers("GET /admin/events", 503, object{"error": object{"reason": "the database does not answer"}})
	w.visit("bob", "/console/identities").wants(t, 200, "cannot be shown just now", "The database does not answer.", "Find by id")
	w.answers("GET /admin/identities/{id}", 200, someone())
	w.answers("GET /admin/identities/{id}/grants", 503, notFound("the database does not answer"))
	w.answers("GET /admin/identities/{id}/sessions", 503, notFound("the database does not answer"))
	w.visit("bob", "/console/identities/"+annID).wants(t, 200, "ann@example.org", "The list of sessions cannot be shown", "The list of events cannot be shown")
}

// TestSearchLeavesNoTrace: what was looked for stands in no URL.
func TestSearchLeavesNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := w.asks("GET /admin/identities", 200, []object{someone()})
	find := func(text string) page { return w.submit("bob", "/console/identities/search", url.Values{"q": {text}}) }
	p := find(" ann@example.org ")
	p.wants(t, 303)
	if to := p.Header.Get("Location"); to != "/console/identities/"+annID {
		t.Errorf("Location = %s, want that of the identity", to)
	}
	if want := "credentials_identifier=ann%40example.org"; (*asked)[0] != want {
		t.Errorf("the API was asked by %s, want %s", (*asked)[0], want)
	}
	p = find(strings.ToUpper(annID))
	if p.wants(t, 303); p.Header.Get("Location") != "/console/identities/"+annID || len(*asked) != 1 {
		t.Errorf("an id leads to %s", p.Header.Get("Location"))
	}
	external := w.asks("GET /admin/identities/by/external/{id}", 200, someone())
	p = find("external:crm/6 x")
	if p.wants(t, 303); p.Header.Get("Location") != "/console/identities/"+annID || len(*asked) != 1 || len(*external) != 1 {
		t.Errorf("an external id leads to %s", p.Header.Get("Location"))
	}
	find("").wants(t, 400)
	find(strings.Repeat("a", 321)).wants(t, 400)
	w2 := newWorld(t)
	w2.answers("GET /admin/identities", 200, []object{})
	w2.answers("GET /admin/identities/by/external/{id}", 404, notFound("There is no identity with this id."))
	w2.submit("bob", "/console/identities/search", url.Values{"q": {"external:nobody"}}).wants(t, 200, "Nobody has exactly this identifier")
	w2.submit("bob", "/console/identities/search", url.Values{"q": {`"><b>x`}}).wants(t, 200, "Nobody has this identifier", `value="&#34;&gt;&lt;b&gt;x"`)
}

// Of more than one, and of a part, the list is shown: "ann" is not Joann.
func TestSearchByAPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked []string
	w.admin.HandleFunc("GET /admin/identities", func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		found := []object{}
		if r.URL.Query().Get("preview_credentials_identifier_similar") == "ann" {
			rw.Header().Set("Link", `</admin/identities?page_size=25&page_token=more>; rel="next"`)
			found = append(found, someone())
		}
		_ = json.NewEncoder(rw).Encode(found)
	})
	find := func(text string) page { return w.submit("bob", "/console/identities/search", url.Values{"q": {text}}) }
	find("ann").wants(t, 200, "ann@example.org", "These are the first 1.")
	if want := []string{"credentials_identifier=ann", "page_size=25&preview_credentials_identifier_similar=ann"}; !slices.Equal(asked, want) {
		t.Errorf("the API was asked by %q, want %q", asked, want)
	}
	asked = nil
	find("an").wants(t, 200, "Nobody has exactly this identifier")
	find(strings.Repeat("a", 255)).wants(t, 200, "Nobody has exactly this identifier")
	find("joe").wants(t, 200, "Nobody has this identifier, or one that holds it")
	if len(asked) != 4 {
		t.Errorf("the API was asked by %q, want no part that it refuses", asked)
	}
}

// withPerson lets the admin API know one identity.
func withPerson(change ...func(object)) func(*world) {
	return func(w *world) {
		w.answers("GET /admin/identities/"+annID, 200, someone(change...))
		w.answers("GET /admin/identities/{id}", 404, notFound("There is no identity with this id."))
		w.answers("GET /admin/identities/{id}/grants", 200, []object{{"method": "oidc", "provider": "google", "flow_type": "browser", "bypass": true, "session_id": sessionID, "created_at": at}})
		w.answers("GET /admin/identities/{id}/sessions", 200, []object{{
			"id": sessionID, "active": true, "issued_at": at, "expires_at": at.Add(3600e9), "authenticator_assurance_level": "aal1",
			"authentication_methods": []object{{"method": "oidc", "provider": "google"}}, "devices": []object{{"ip_address": "192.0.2.7", "user_agent": "<i>Firefox"}},
		}})
		w.answers("GET /admin/events", 200, object{"events": []object{told("session.issued", annID)}, "next": "", "latest": "x"})
	}
}

func TestOnePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPerson(func(o object) { o["external_id"] = "<crm>7" }))
	w.visit("bob", "/console/identities/"+annID).wants(t, 200, "External id", "&lt;crm&gt;7",
		"ann@example.org", "a code was sent", "password", "google", "sub|&lt;7&gt;", "used", sessionID, "oidc (google)", "192.0.2.7", "&lt;i&gt;Firefox",
		"session.issued", "/console/registrations/"+annID, "Disable this identity", "/console/identities/"+annID+"/delete", "cannot be taken back")
	w.visit("bob", "/console/identities/"+goneID).wants(t, 404, "No such identity", "session.issued")
	w.visit("bob", "/console/identities/x").wants(t, 404, "There is no identity with this id.")
}

// TestTraitsAreHarmless: whatever somebody has registered with.
func TestTraitsAreHarmless(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	hostile := `</pre><script>alert(1)</script><img src=x onerror=alert(1)>`
	w := newWorld(t, withPerson(func(o object) {
		o["traits"] = object{"name": hostile, "long": long, "arabic": "\u202eمرحبا"}
		o["verifiable_addresses"] = []object{{"value": hostile + long, "via": "email"}}
		o["schema_id"], o["metadata_admin"] = hostile, object{"note": hostile}
	}))
	for _, path := range []string{"", "/delete"} {
		p := w.visit("bob", "/console/identities/"+annID+path)
		p.wants(t, 200, "&lt;script&gt;")
		for _, text := range []string{"<script>alert", "<img src=x"} {
			if strings.Contains(p.text, text) {
				t.Errorf("%s shows %s as it is", path, text)
			}
		}
	}
	if p := w.visit("bob", "/console/identities/"+annID); !strings.Contains(p.text, `dir="auto">{`) || !strings.Contains(p.text, `\u202eمرحبا`) || strings.Contains(p.text, "\u202e") {
		t.Error("the traits do not say their own direction, or turn that of others")
	}
}

func TestActsOnAPerson(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct{ pattern, sent, to string }{
		"/disable":                           {"PATCH /admin/identities/" + annID, `[{"op":"replace","path":"/state","value":"inactive"}]`, "/console/identities/" + annID},
		"/enable":                            {"PATCH /admin/identities/" + annID, `[{"op":"replace","path":"/state","value":"active"}]`, "/console/identities/" + annID},
		"/sessions/revoke":                   {"DELETE /admin/identities/" + annID + "/sessions", "", "/console/identities/" + annID},
		"/delete":                            {"DELETE /admin/identities/" + annID, "", "/console/identities"},
		"/sessions/" + sessionID + "/revoke": {"DELETE /admin/sessions/" + sessionID, "", "/console/identities/" + annID},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withPerson())
			asked := w.asks(c.pattern, 204, nil)
			if path != "/sessions/revoke" && path != "/enable" { // what cannot be taken back, or ends something, asks once more
				w.visit("bob", "/console/identities/"+annID).wants(t, 200, "/console/identities/"+annID+path)
			}
			w.asked = nil
			p := w.submit("bob", "/console/identities/"+annID+path, nil)
			p.wants(t, 303)
			if to := p.Header.Get("Location"); to != c.to || !slices.Equal(*asked, []string{c.sent}) || len(w.asked) != 1 || w.actors[len(w.actors)-1] != "admin:bob" {
				t.Errorf("%s leads to %s, the API got %q at %q by %q", path, to, *asked, w.asked, w.actors)
			}
			for _, id := range []string{"x", "..", "%2e%2e%2fsessions"} {
				w.asked = nil
				if p := w.submit("bob", "/console/identities/"+id+path, nil); p.StatusCode == http.StatusSeeOther && strings.HasPrefix(p.Header.Get("Location"), "/console/identities") || len(w.asked) != 0 {
					t.Errorf("%s of %q = %d, the API got %q", path, id, p.StatusCode, w.asked)
				}
			}
		})
	}
}

// TestARefusalIsShown: what the API does not do is said, and nothing is claimed.
func TestARefusalIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPerson())
	w.answers("DELETE /admin/identities/{id}", 404, notFound("There is no identity with this id."))
	p := w.submit("bob", "/console/identities/"+annID+"/delete", nil)
	p.wants(t, 404, "There is no identity with this id.")
	if p.Header.Get("Set-Cookie") != "" {
		t.Error("a notice says that it was done")
	}
	w.visit("bob", "/console/identities/"+goneID+"/delete").wants(t, 404)
}

func TestSessionsList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := w.asks("GET /admin/sessions", 200, []object{
		{"id": sessionID, "active": true, "issued_at": at, "expires_at": at.Add(3600e9), "identity": someone()},
		{"id": goneID, "active": false, "issued_at": at, "expires_at": at.Add(-3600e9)},
		{"id": eventID, "active": false, "issued_at": at, "expires_at": at.Add(3600e9)},
	})
	for which, query := range map[string]string{
		"": "active=true&", "?which=ended": "active=false&", "?which=all": "", "?which=x": "active=true&",
	} {
		p := w.visit("bob", "/console/sessions"+which)
		p.wants(t, 200, "ann@example.org", "in use", "expired", "revoked", "not there any more", "unknown device")
		if got, want := (*asked)[len(*asked)-1], query+"expand=identity&expand=devices&page_size=25"; got != want {
			t.Errorf("%s asked by %s, want %s", which, got, want)
		}
		if n := strings.Count(p.text, "/revoke\""); n != 1 {
			t.Errorf("%s: %d sessions can be revoked, want the one in use", which, n)
		}
	}
	revoked := w.asks("DELETE /admin/sessions/{id}", 204, nil)
	p := w.submit("bob", "/console/sessions/"+sessionID+"/revoke", nil)
	if p.wants(t, 303); len(*revoked) != 1 || p.Header.Get("Location") != "/console/sessions" {
		t.Errorf("revoking leads to %s, the API got %q", p.Header.Get("Location"), *revoked)
	}
	w.submit("bob", "/console/sessions/x/revoke", nil).wants(t, 404)
}

// fromHTMX is a request as htmx sends it.
func fromHTMX(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://admin.example"+path, nil)
	r.Header.Set("HX-Request", "true")
	return r
}

// TestSendRecovery: what was made is shown in the answer to who has asked, and in no URL.
func TestSendRecovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPerson())
	w.visit("bob", "/console/identities/"+annID).wants(t, 200, "Make a recovery", "/console/identities/"+annID+"/recover")
	codes := w.asks("POST /admin/recovery/code", 201, object{"recovery_link": "https://ui.example/recovery?flow=" + goneID, "recovery_code": "012345", "expires_at": at.Add(3600e9)})
	links := w.asks("POST /admin/recovery/link", 200, object{"recovery_link": "https://id.example/?token=ABC", "expires_at": at.Add(3600e9)})
	send := func(by, expires string) page {
		return w.submit("bob", "/console/identities/"+annID+"/recover", url.Values{"by": {by}, "expires_in": {expires}})
	}
	send("code", "1h").wants(t, 200, "shown once", "012345", "https://ui.example/recovery?flow="+goneID, annID)
	if want := []string{`{"expires_in":"1h","identity_id":"` + annID + `"}`}; !slices.Equal(*codes, want) {
		t.Errorf("the API was asked for a code by %q, want %q", *codes, want)
	}
	send("link", "168h").wants(t, 200, "shown once", "https://id.example/?token=ABC")
	if want := []string{`{"expires_in":"168h","identity_id":"` + annID + `"}`}; !slices.Equal(*links, want) {
		t.Errorf("the API was asked for a link by %q, want %q", *links, want)
	}
	send("../identities", "1h").wants(t, 400, "a code or a link")
	if len(*codes)+len(*links) != 2 {
		t.Errorf("the API was asked %d times, want twice", len(*codes)+len(*links))
	}
	off := newWorld(t, withPerson(func(o object) { o["state"] = "inactive" }))
	if p := off.visit("bob", "/console/identities/"+annID); strings.Contains(p.text, "/recover\"") {
		t.Error("who is disabled can be sent a recovery, which would be refused")
	}
	off.answers("POST /admin/recovery/code", 400, notFound("This self-service flow is switched off."))
	off.submit("bob", "/console/identities/"+annID+"/recover", url.Values{"by": {"code"}, "expires_in": {"1h"}}).wants(t, 400, "switched off")
}
