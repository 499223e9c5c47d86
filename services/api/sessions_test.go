package api_test

import (
	"encoding/json"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/session"
)

// ask puts a request to a handler without a connection.
func ask(h http.Handler, method, path, body string, header ...string) got {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return got{rec.Code, rec.Header(), rec.Body.String()}
}

// mutants are n texts that are almost a token: changed, cut, stretched, retyped.
func mutants(token string, n int) iter.Seq[string] {
	random := rand.New(rand.NewPCG(1, 2)) // the same ones in each run
	return func(yield func(string) bool) {
		for made := 0; made < n; {
			mutant := mutate(random, token)
			if strings.TrimSpace(mutant) == token || mutant == "" {
				continue
			}
			if made++; !yield(mutant) {
				return
			}
		}
	}
}

func mutate(random *rand.Rand, token string) string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.%"
	text := []byte(token)
	for range 1 + random.IntN(3) {
		at := random.IntN(len(text))
		switch random.IntN(5) {
		case 0:
			text[at] = letters[random.IntN(len(letters))]
		case 1:
			text = slices.Delete(text, at, at+1)
		case 2:
			text = slices.Insert(text, at, letters[random.IntN(len(letters))])
		case 3:
			text[at] ^= 0x20
		case 4:
			copy(text, []string{"ory_st_", "ory_sc_", "ory_lo_", "ory_xx_"}[random.IntN(4)])
		}
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return 'x'
		}
		return r
	}, string(text))
}

// more gives a person n sessions, the newest first.
func (w *world) more(token string, n int) (ids []string) {
	current := w.sessions[mustParse(w.t, token).Digest()]
	for at := range n {
		s := *current.Session
		s.ID, s.IssuedAt = uuid.New(), s.IssuedAt.Add(-time.Duration(at+1)*time.Minute)
		w.sessions[session.NewToken(session.NativePrefix).Digest()] = &api.Who{Session: &s, Identity: current.Identity}
		ids = append(ids, s.ID.String())
	}
	return ids
}

func idsOf(t testing.TB, g got) (ids []string) {
	t.Helper()
	var list []struct {
		ID       string
		Active   bool
		Identity struct{ ID string }
	}
	if err := json.Unmarshal([]byte(g.body), &list); err != nil {
		t.Fatalf("%d %s is no list: %v", g.status, g.body, err)
	}
	for _, s := range list {
		if !s.Active || s.Identity.ID == "" {
			t.Errorf("session %+v, want it active and with its identity", s)
		}
		ids = append(ids, s.ID)
	}
	return ids
}

func TestOtherSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	w.signUp("b@example.org")
	ids := w.more(token, 5)
	c := w.app()
	for query, want := range map[string][]string{
		"":                                       ids,
		"?page_size=2":                           ids[:2],
		"?per_page=2":                            ids[:2],
		"?page_size=2&per_page=5":                ids[:2],
		"?page=1&per_page=2":                     ids[:2],
		"?page=0&per_page=2":                     ids[:2],
		"?page=3&per_page=2":                     ids[4:],
		"?page=9&per_page=2":                     nil,
		"?page=&page_size=&page_token=&per_page": ids,
	} {
		g := c.get("/sessions"+query, "X-Session-Token", token)
		if g.status != 200 || !slices.Equal(idsOf(t, g), want) || g.header.Get("X-Total-Count") != "5" {
			t.Errorf("GET /sessions%s = %d %v of %s, want %v of 5", query, g.status, idsOf(t, g), g.header.Get("X-Total-Count"), want)
		}
	}
	if g := c.get("/sessions?page=9", "X-Session-Token", token); g.body != "[]" {
		t.Errorf("a page behind the last = %s, want []", g.body)
	}

	var walked []string
	for next := "/sessions?page_size=2"; next != ""; {
		g := c.get(next, "X-Session-Token", token)
		walked = append(walked, idsOf(t, g)...)
		next = ""
		for _, link := range strings.Split(g.header.Get("Link"), ",") {
			if at, ok := strings.CutSuffix(link, `>; rel="next"`); ok {
				next = strings.TrimPrefix(at, "<")
			}
		}
	}
	if !slices.Equal(walked, ids) {
		t.Errorf("the links lead over %v, want %v", walked, ids)
	}
	for _, query := range []string{"?page_size=0", "?page_size=1001", "?page_size=x", "?per_page=-1", "?page=-1", "?page=1000001", "?page_token=x", "?page_token=b2Zmc2V0Oi0x", "?page_token=b2Zmc2V0Ojk5OTk5OTk5OTk5OTk5"} {
		if g := c.get("/sessions"+query, "X-Session-Token", token); g.status != 400 {
			t.Errorf("GET /sessions%s = %d %s, want 400", query, g.status, g.body)
		}
	}
}

func TestRevokeOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	other := w.signUp("b@example.org")
	w.more(token, 3)
	c := w.app()
	for n, want := range []string{`{"count":3}`, `{"count":0}`} {
		if g := c.do("DELETE", "/sessions", "", "X-Session-Token", token); g.status != 200 || g.body != want {
			t.Errorf("DELETE /sessions, time %d = %d %s, want 200 %s", n+1, g.status, g.body, want)
		}
	}
	for _, token := range []string{token, other} {
		if g := c.get("/sessions/whoami", "X-Session-Token", token); g.status != 200 {
			t.Errorf("whoami afterwards = %d, want 200", g.status)
		}
	}
	if len(w.changed) != 2 || w.changed[0] != w.sessions[mustParse(t, token).Digest()].Identity.ID {
		t.Errorf("the cache was told %v, want the identity", w.changed)
	}
}

func TestRevokeOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, other := w.signUp("a@example.org"), w.signUp("b@example.org")
	ids := w.more(token, 2)
	current := w.sessions[mustParse(t, token).Digest()].Session.ID.String()
	theirs := w.sessions[mustParse(t, other).Digest()].Session.ID.String()
	c := w.app()
	for _, tt := range []struct {
		what, id string
		status   int
		ended    int
	}{
		{"own current one", current, 400, 0},
		{"malformed", "x", 400, 0},
		{"malformed in braces", "%7B" + ids[0] + "%7D", 400, 0},
		{"unknown", uuid.NewString(), 204, 0},
		{"somebody else's", theirs, 204, 0},
		{"own", ids[0], 204, 1},
		{"ended already", ids[0], 204, 1},
	} {
		g := c.do("DELETE", "/sessions/"+tt.id, "", "X-Session-Token", token)
		if g.status != tt.status || len(w.revoked) != tt.ended || len(w.changed) != tt.ended {
			t.Errorf("%s: DELETE = %d %s, ended %q, forgot %v, want %d and %d", tt.what, g.status, g.body, w.revoked, w.changed, tt.status, tt.ended)
		}
	}
	if g := c.get("/sessions/whoami", "X-Session-Token", other); g.status != 200 {
		t.Errorf("whoami of somebody else afterwards = %d, want 200", g.status)
	}
	if g := c.get("/sessions", "X-Session-Token", token); !slices.Equal(idsOf(t, g), ids[1:]) {
		t.Errorf("list afterwards = %s, want the other one", g.body)
	}
}

func TestSessionsNeedOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	for _, r := range []string{"GET /sessions", "DELETE /sessions", "DELETE /sessions/" + uuid.NewString(), "DELETE /sessions/x"} {
		method, path, _ := strings.Cut(r, " ")
		for _, header := range [][]string{nil, {"X-Session-Token", "nonsense"}, {"Cookie", "ory_kratos_session=nonsense"}} {
			g := c.do(method, path, "", header...)
			if g.status != 401 || g.shown(t).Error.ID != "" || cookiesOf(g) != "" {
				t.Errorf("%s with %q = %d %s, want 401 without id", r, header, g.status, g.body)
			}
		}
	}
}

// TestCrossIdentity: whose id it is makes no difference to what somebody else
// may do with it, nor to what they are told: the same as for an unknown one.
func TestCrossIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("victim@example.org")
	w.signUp("attacker@example.org")
	victim, attacker := w.browser(), w.browser()
	flows := map[string]string{}
	for _, route := range []string{routeRegistration, routeLogin, routeVerification} {
		flows[route] = victim.begin(route, "?return_to="+ui+"secret").ID
	}
	victim.signIn("victim@example.org")
	victimSession := w.sessionOf("victim@example.org")
	attacker.signIn("attacker@example.org")
	before := w.snapshot()
	for route, id := range flows {
		for _, r := range []string{"GET " + route + "/flows?id=" + id, "GET " + route + "?flow=" + id} {
			method, path, _ := strings.Cut(r, " ")
			g := attacker.do(method, path, "", "Accept", "application/json")
			if g.status != 403 || strings.Contains(g.body, "secret") {
				t.Errorf("%s by somebody else = %d %s, want 403 and nothing of it", r, g.status, g.body)
			}
		}
		g := attacker.postJSON(route+"?flow="+id, `{"method":"password","identifier":"victim@example.org","email":"x@example.org","password":"x"}`)
		if g.status < 400 || strings.Contains(g.body, "secret") {
			t.Errorf("submit of %s by somebody else = %d %s, want it refused and nothing of it", route, g.status, g.body)
		}
		for _, other := range []string{routeRegistration, routeLogin, routeVerification} {
			if other == route {
				continue
			}
			if g := victim.get(other + "/flows?id=" + id); g.status != 404 {
				t.Errorf("flow of %s at %s = %d, want 404", route, other, g.status)
			}
		}
	}
	unknown := attacker.do("DELETE", "/sessions/"+uuid.NewString(), "")
	if g := attacker.do("DELETE", "/sessions/"+victimSession.String(), ""); g.status != unknown.status || g.body != unknown.body {
		t.Errorf("DELETE of somebody else's session = %d %s, want what an unknown one gives: %d %s", g.status, g.body, unknown.status, unknown.body)
	}
	if after := w.snapshot(); after != before {
		t.Errorf("somebody else changed the store:\n%s\nwas\n%s", after, before)
	}
}

// sessionOf is the newest session of a person.
func (w *world) sessionOf(identifier string) uuid.UUID {
	i := w.person(identifier)
	defer w.lock()()
	return w.live(i.ID, uuid.Nil)[0].ID
}

// snapshot is all that the stores hold, but the errors for pages.
func (w *world) snapshot() string {
	defer w.lock()()
	sessions := map[string]session.Session{}
	for _, who := range w.sessions {
		sessions[who.Session.ID.String()] = *who.Session
	}
	text, err := json.Marshal([]any{w.flows, w.identities, sessions, w.tries, w.revoked})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// TestSafeRoutesChangeNothing is S60: a GET makes flows and nothing else. The
// link of a logout and of a mail are the contract's exceptions.
func TestSafeRoutesChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signUp("a@example.org")
	c := w.browser()
	ids := []string{}
	for _, route := range []string{routeRegistration, routeLogin, routeVerification} {
		ids = append(ids, route+"/flows?id="+c.begin(route).ID, route+"?method=password&identifier=a@example.org&password="+goodPassword+"&email=a@example.org&flow="+c.begin(route).ID)
	}
	sent := c.sent()
	signed := w.browser()
	signed.signIn("a@example.org")
	before := w.snapshot()
	for _, path := range append(ids,
		routeVerification+"/flows?id="+sent.ID, routeVerification+"?flow="+sent.ID, routeVerification+"?flow="+sent.ID+"&token=x",
		routeLogout+"/browser", routeLogout, routeLogout+"?token=x", routeLogout+"/api", "/sessions", "/sessions/"+uuid.NewString(), "/sessions/whoami",
		routeLogin+"?flow=x", routeVerification+"?code=123456", "/schemas", "/health/ready", "/self-service/errors?id=stub:500", "/nowhere",
	) {
		for _, c := range []*client{c, signed, w.app()} {
			for _, method := range []string{"GET", "HEAD"} {
				for _, accept := range []string{"application/json", "text/html"} {
					c.do(method, strings.ReplaceAll(path, " ", "%20"), "", "Accept", accept)
				}
			}
		}
		if after := w.snapshot(); after != before {
			t.Fatalf("GET %s changed the store:\n%s\nwas\n%s", path, after, before)
		}
	}
}

// TestRevocationGates is S58 for the routes that no token protects: what the
// browser says of the page.
func TestRevocationGates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.signUp("a@example.org")
	for _, path := range []string{"/sessions", "/sessions/" + uuid.NewString()} {
		for _, tt := range []struct {
			header []string
			passes bool
		}{
			{nil, true},
			{[]string{"Origin", "http://127.0.0.1:4455"}, true},
			{[]string{"Sec-Fetch-Site", "same-origin"}, true},
			{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://a.apps.example.com"}, true},
			{[]string{"Origin", "https://evil.example"}, false},
			{[]string{"Origin", "null"}, false},
			{[]string{"Sec-Fetch-Site", "cross-site"}, false},
			{[]string{"Sec-Fetch-Site", "same-site"}, false},
		} {
			cookie := "ory_kratos_session=" + w.seal(token, time.Now().Add(time.Hour))
			g := w.app().do("DELETE", path, "", append([]string{"Cookie", cookie}, tt.header...)...)
			if (g.status < 300) != tt.passes || !tt.passes && g.shown(t).Error.ID != "security_csrf_violation" {
				t.Errorf("DELETE %s with %q = %d %s, want it to pass: %v", path, tt.header, g.status, g.body, tt.passes)
			}
		}
	}
}

// TestMethods: each new route knows its methods and no other.
func TestMethods(t *testing.T) {
	t.Parallel()
	c := newWorld(t).app()
	for path, allow := range map[string]string{
		routeLogin + "/api": "GET", routeLogin + "/browser": "GET", routeLogin + "/flows": "GET", routeLogin: "GET, POST",
		routeRecovery + "/api": "GET", routeRecovery + "/browser": "GET", routeRecovery + "/flows": "GET", routeRecovery: "GET, POST",
		routeVerification + "/api": "GET", routeVerification + "/browser": "GET", routeVerification + "/flows": "GET", routeVerification: "GET, POST",
		routeLogout + "/browser": "GET", routeLogout: "GET", routeLogout + "/api": "DELETE",
		"/.well-known/change-password": "GET",
		"/sessions":                    "DELETE, GET", "/sessions/" + uuid.NewString(): "DELETE",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			g := c.do(method, path, "", "Accept", "application/json")
			known := slices.Contains(strings.Split(allow, ", "), method)
			if (g.status == 405) == known || !known && g.header.Get("Allow") != allow {
				t.Errorf("%s %s = %d, Allow %q, want Allow %q", method, path, g.status, g.header.Get("Allow"), allow)
			}
		}
	}
}
