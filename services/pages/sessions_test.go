package pages_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const (
	ownID   = "5b6ef0a6-35a5-4b3c-9b8f-000000000001"
	otherID = "5b6ef0a6-35a5-4b3c-9b8f-000000000002"
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"
)

func aSession(id, address, userAgent string) object {
	return object{
		"id": id, "active": true, "authenticated_at": "2026-11-24T18:39:12.123456Z", "expires_at": "2026-11-25T18:39:12.123456Z",
		"identity": object{"id": "2f1d", "traits": object{}},
		"devices":  []object{{"id": id, "ip_address": address, "user_agent": userAgent, "location": ""}},
	}
}

// signedIn is an API that knows a person with a session and others.
func signedIn(others ...object) api {
	if others == nil {
		others = []object{}
	}
	return api{
		whoamiPath:   answers(http.StatusOK, aSession(ownID, "192.0.2.7:1234", firefox)),
		sessionsPath: answers(http.StatusOK, others),
		logoutPath: answers(http.StatusOK, object{
			"logout_url": "https://accounts.example.com/self-service/logout?token=ory_lo_x&return_to=https%3A%2F%2Fapp.example.com%2F", "logout_token": "ory_lo_x",
		}),
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	var asked string
	public := signedIn()
	public[sessionsPath] = func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.RequestURI
		w.Header().Set("X-Total-Count", "7")
		answers(http.StatusOK, []object{aSession(otherID, "198.51.100.9:1", "curl/8.5.0")})(w, r)
	}
	got := get(t, newPages(t, public), "/ui/sessions")
	if got.status != http.StatusOK || heading(got.page) != "Your sessions" || asked != "GET /sessions?page_size=100" {
		t.Fatalf("sessions = %d %q, asked %q", got.status, heading(got.page), asked)
	}
	var sections []string
	for _, s := range got.page.tags("section") {
		sections = append(sections, s.text())
	}
	want := []string{
		"This one Firefox on Linux Signed in 24 Nov 2026, 18:39 UTC from 192.0.2.x Log out",
		"Others curl Signed in 24 Nov 2026, 18:39 UTC from 198.51.100.x Sign out and 6 older ones Sign out everywhere else",
	}
	if !slices.Equal(sections, want) {
		t.Errorf("sections = %q, want %q", sections, want)
	}
	end := got.page.input(t, "session")
	if text := got.page.one(t, "id", end.attr("aria-describedby")).text(); end.attr("value") != otherID || !strings.HasPrefix(text, "curl") {
		t.Errorf("button = %v, described by %q, want the id of the other session and its device", end.Attr, text)
	}
	for _, form := range got.page.tags("section")[1].tags("form") {
		if to := resolve(t, "/ui/sessions", form.attr("action")); form.attr("method") != "post" || to != "/ui/sessions" {
			t.Errorf("form = %v, want it posted to the page", form.Attr)
		}
	}
}

func TestSessionsWhenThereIsNoOther(t *testing.T) {
	t.Parallel()
	got := get(t, newPages(t, signedIn()), "/ui/sessions")
	others := got.page.tags("section")[1]
	if text := others.text(); text != "Others You are signed in nowhere else." || len(others.tags("form")) > 0 {
		t.Errorf("others = %q, want nothing to end", text)
	}
}

func TestSessionsOfNobodyShowTheWay(t *testing.T) {
	t.Parallel()
	late := signedIn()
	late[sessionsPath] = fails(http.StatusUnauthorized, "") // it ended between the two questions
	for name, public := range map[string]api{"never": {whoamiPath: fails(http.StatusUnauthorized, "")}, "late": late} {
		if got := get(t, newPages(t, public), "/ui/sessions"); got.status != http.StatusOK || heading(got.page) != "You are not signed in" {
			t.Errorf("%s: sessions = %d %q, want 200 and the way in", name, got.status, heading(got.page))
		}
	}
}

func TestDevicesAreNamedAndPlacedCoarsely(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ userAgent, address, name, network string }{
		{firefox, "192.0.2.7:1234", "Firefox on Linux", "from 192.0.2.x"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1", "192.0.2.7", "Safari on iPhone", "from 192.0.2.x"},
		{"Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36", "[2001:db8:1:2::3]:9", "Chrome on Android", "from 2001:db8:1:x"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "::ffff:192.0.2.7", "Edge on Windows", "from 192.0.2.x"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15", "127.0.0.1:5", "Safari on macOS", "from 127.0.0.1"},
		{"okhttp/5.1.0", "", "okhttp", ""},
		{"", "nonsense", "Unknown device", ""},
		{"/", "", "Unknown device", ""},
		{`<script>alert(1)</script>`, "<b>", "<script>alert(1)<", ""},
		{strings.Repeat("ä", 300), "", strings.Repeat("ä", 20), ""},
	} {
		page := get(t, newPages(t, signedIn(aSession(otherID, c.address, c.userAgent))), "/ui/sessions").page
		text := page.one(t, "id", "session-0").text()
		if want := strings.TrimSpace(c.name + " Signed in 24 Nov 2026, 18:39 UTC " + c.network); text != want {
			t.Errorf("%q at %q is %q, want %q", c.userAgent, c.address, text, want)
		}
	}
	none := aSession(otherID, "", "")
	none["devices"] = nil
	if text := get(t, newPages(t, signedIn(none)), "/ui/sessions").page.one(t, "id", "session-0").text(); !strings.HasPrefix(text, "Unknown device") {
		t.Errorf("a session without device is %q", text)
	}
}

// post sends a form to /ui/sessions.
func post(t *testing.T, h http.Handler, body string, header map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://accounts.example.com/ui/sessions", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var sameOrigin = map[string]string{"Origin": "https://accounts.example.com", "Sec-Fetch-Site": "same-origin", "Cookie": "session=mine"}

func TestEndingSessionsAsksTheAPIAndLeadsBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		answer     http.HandlerFunc
		asked      string
		status     int
		to         string
	}{
		{"one", "session=" + otherID, leads(http.StatusNoContent, ""), "DELETE /sessions/" + otherID, 303, "/ui/sessions?ended=one"},
		{"all others", "others=all", answers(http.StatusOK, object{"count": 2}), "DELETE /sessions", 303, "/ui/sessions?ended=all"},
		{"of nobody", "others=all", fails(http.StatusUnauthorized, ""), "DELETE /sessions", 303, "/ui/sessions"},
		{"this one", "session=" + ownID, fails(http.StatusBadRequest, "Log out instead."), "DELETE /sessions/" + ownID, 400, ""},
		{"refused", "others=all", fails(http.StatusForbidden, ""), "DELETE /sessions", 403, ""},
		{"unavailable", "others=all", fails(http.StatusServiceUnavailable, ""), "DELETE /sessions", 503, ""},
		{"an answer that nobody expects", "others=all", leads(http.StatusFound, "https://elsewhere.example/"), "DELETE /sessions", 500, ""},
		{"nothing", "", nil, "", 400, ""},
		{"another route", "session=..%2Fself-service%2Flogout%2Fapi", nil, "", 400, ""},
		{"too much", "others=" + strings.Repeat("x", 5000), nil, "", 400, ""},
		{"no form", "session=%", nil, "", 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked, cookie, from string
			h := newPages(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked, cookie, from = r.Method+" "+r.RequestURI, r.Header.Get("Cookie"), r.Header.Get("Origin")+" "+r.Header.Get("Sec-Fetch-Site")
				c.answer(w, r)
			}))
			w := post(t, h, c.body, sameOrigin)
			to := ""
			if location := w.Header().Get("Location"); location != "" {
				to = resolve(t, "/ui/sessions", location)
			}
			if w.Code != c.status || to != c.to || asked != c.asked {
				t.Errorf("POST %.60q: %d to %q, asked %q, want %d to %q, asked %q", c.body, w.Code, to, asked, c.status, c.to, c.asked)
			}
			if asked != "" && (cookie != "session=mine" || from != "https://accounts.example.com same-origin") {
				t.Errorf("asked with cookie %q from %q, want those of the browser", cookie, from)
			}
		})
	}
}

func TestOnlyOurOwnPagesEndSessions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		site, origin string
		ends         bool
	}{
		{"same-origin", "https://accounts.example.com", true},
		{"", "https://accounts.example.com", true},
		{"same-site", "https://app.example.com", false},
		{"cross-site", "https://evil.example", false},
		{"cross-site", "https://accounts.example.com", false}, // a lie
		{"cross-site", "", false},
		{"", "https://evil.example", false},
		{"", "https://accounts.example.com.evil.example", false},
		{"", "null", false},
	} {
		asked := false
		h := newPages(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked = true
			w.WriteHeader(http.StatusNoContent)
		}))
		header := map[string]string{"Cookie": "session=mine"}
		if c.site != "" {
			header["Sec-Fetch-Site"] = c.site
		}
		if c.origin != "" {
			header["Origin"] = c.origin
		}
		w := post(t, h, "others=all", header)
		if asked != c.ends || (w.Code == http.StatusForbidden) == c.ends {
			t.Errorf("Sec-Fetch-Site %q, Origin %q: %d, asked %t, want %t", c.site, c.origin, w.Code, asked, c.ends)
		}
	}
}

func TestWhatHasEndedIsSaidOnlyIfItMayBeTrue(t *testing.T) {
	t.Parallel()
	other := aSession(otherID, "", "")
	for _, c := range []struct {
		query  string
		others []object
		says   string
	}{
		{"", nil, ""},
		{"?ended=one", []object{other}, "That session is over."},
		{"?ended=all", nil, "You are signed out everywhere else."},
		{"?ended=all", []object{other}, ""},
		{"?ended=<b>", nil, ""},
	} {
		page := get(t, newPages(t, signedIn(c.others...)), "/ui/sessions"+c.query).page
		said := ""
		for _, e := range page.all(func(e element) bool { return e.attr("role") == "status" }) {
			said += e.text()
		}
		if said != c.says {
			t.Errorf("%q with %d others says %q, want %q", c.query, len(c.others), said, c.says)
		}
	}
}

func TestLogOutIsAFormOfTheAPIsURL(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/ui/welcome", "/ui/sessions"} {
		page := get(t, newPages(t, signedIn()), target).page
		form := page.one(t, "action", "https://accounts.example.com/self-service/logout")
		var fields []string
		for _, e := range form.tags("input") {
			fields = append(fields, e.attr("type")+" "+e.attr("name")+"="+e.attr("value"))
		}
		want := []string{"hidden return_to=https://app.example.com/", "hidden token=ory_lo_x"}
		if form.attr("method") != "get" || !slices.Equal(fields, want) || form.text() != "Log out" {
			t.Errorf("GET %s: form %v %q with %q, want a GET with %q", target, form.Attr, form.text(), fields, want)
		}
	}
}

func TestWithoutALogoutURLThePageIsThereAllTheSame(t *testing.T) {
	t.Parallel()
	for name, logout := range map[string]http.HandlerFunc{
		"refused":  fails(http.StatusServiceUnavailable, ""),
		"no URL":   answers(http.StatusOK, object{}),
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")) },
		"nonsense": answers(http.StatusOK, object{"logout_url": ":"}),
		"script":   answers(http.StatusOK, object{"logout_url": "javascript:alert(1)"}),
	} {
		public := signedIn()
		public[logoutPath] = logout
		got := get(t, newPages(t, public), "/ui/welcome")
		if got.status != http.StatusOK || heading(got.page) != "You are signed in" {
			t.Errorf("%s: welcome = %d %q, want it all the same", name, got.status, heading(got.page))
		}
		for _, form := range got.page.tags("form") {
			if strings.HasPrefix(form.attr("action"), "javascript") {
				t.Errorf("%s: form = %v", name, form.Attr)
			}
		}
	}
}

func TestWelcomeLeadsToWhatIsNotDone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verified bool
		status   string
		shown    bool
	}{{false, "sent", true}, {false, "pending", false}, {true, "completed", false}} {
		s := aSession(ownID, "", "")
		s["identity"] = object{"id": "2f1d", "verifiable_addresses": []object{{"value": "ada@example.com", "verified": c.verified, "status": c.status}}}
		page := get(t, newPages(t, api{whoamiPath: answers(http.StatusOK, s)}), "/ui/welcome").page
		var ways []string
		for _, a := range page.tags("a") {
			ways = append(ways, resolve(t, "/ui/welcome", a.attr("href")))
		}
		if slices.Contains(ways, "/ui/verification") != c.shown || !slices.Contains(ways, "/ui/sessions") {
			t.Errorf("verified %t, status %s: ways %q, want a verification: %t", c.verified, c.status, ways, c.shown)
		}
	}
}
