package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/session"
)

// shownSession is what these tests look at in a session.
type shownSession struct {
	ID       string          `json:"id"`
	Active   bool            `json:"active"`
	Expires  time.Time       `json:"expires_at"`
	Identity json.RawMessage `json:"identity"`
	Devices  json.RawMessage `json:"devices"`
}

func (g got) sessions(t *testing.T) (all []shownSession) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), &all); err != nil || g.status != 200 || all == nil {
		t.Fatalf("answer %d %s, want a list", g.status, g.body)
	}
	return all
}

// newSession puts a session into the ledger, issued so long before noon; the
// clock of these worlds stands at noon.
func (w *world) newSession(of uuid.UUID, ago time.Duration, revoked bool) uuid.UUID {
	s := session.Session{
		ID: uuid.New(), IdentityID: of, AAL: "aal1", Revoked: revoked, IssuedAt: noon.Add(-ago), AuthenticatedAt: noon.Add(-ago), ExpiresAt: noon.Add(time.Hour),
		Methods: []session.Method{{Method: "password", AAL: "aal1", CompletedAt: noon}},
		Devices: []session.Device{{ID: uuid.New(), Address: "192.0.2.1:5", UserAgent: "test"}},
	}
	w.ledger.all = append(w.ledger.all, s)
	return s.ID
}

func atNoon(w *world) {
	w.options.Now = func() time.Time { return noon }
	w.inForce.Administrator.(*admin.Service).Now = w.options.Now
}

func TestListSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atNoon)
	c := w.admin()
	_, id := annas(t, c)
	anna := uuid.MustParse(id)
	for n := range 5 {
		w.newSession(anna, time.Minute, n == 0)
	}
	w.newSession(uuid.New(), time.Minute, false) // whose identity has just gone
	for query, want := range map[string]int{"": 6, "?active=true": 5, "?active=false": 1, "?active=": 6} {
		all := c.get("/admin/sessions" + query).sessions(t)
		if len(all) != want {
			t.Errorf("list%s = %d sessions, want %d", query, len(all), want)
		}
		for _, s := range all {
			if string(s.Identity) != "null" || string(s.Devices) != "null" {
				t.Errorf("list%s shows %+v, want no identity and no devices", query, s)
			}
		}
	}
	shown := 0
	for _, s := range c.get("/admin/sessions?expand=identity&expand=devices").sessions(t) {
		if strings.Contains(string(s.Identity), id) && !strings.Contains(string(s.Identity), "metadata_admin") {
			shown++
		}
		if !strings.Contains(string(s.Devices), "192.0.2.1:5") {
			t.Errorf("devices = %s, want the one", s.Devices)
		}
	}
	if shown != 5 {
		t.Errorf("the identity is shown %d times, want 5, in its public view", shown)
	}
	seen := map[string]bool{}
	pages := 0
	for path := "/admin/sessions?page_size=2&active=true&expand=devices"; path != ""; pages++ {
		g := c.get(path)
		for _, s := range g.sessions(t) {
			seen[s.ID] = s.Active && string(s.Devices) != "null"
		}
		path = ""
		if next := nextLink.FindStringSubmatch(g.header.Get("Link")); next != nil {
			path = next[1]
		}
	}
	if len(seen) != 5 || pages != 3 {
		t.Errorf("pages gave %d sessions on %d pages, want 5 on 3", len(seen), pages)
	}
}

func TestListSessionsOfAnIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atNoon)
	c := w.admin()
	path, id := annas(t, c)
	var want []string
	for n := range 3 {
		want = append(want, w.newSession(uuid.MustParse(id), time.Duration(n)*time.Minute, n == 2).String())
	}
	w.newSession(uuid.New(), 0, false)
	g := c.get(path + "/sessions")
	var ids []string
	for _, s := range g.sessions(t) {
		ids = append(ids, s.ID)
		if !strings.Contains(string(s.Identity), id) || string(s.Devices) == "null" {
			t.Errorf("session = %+v, want it whole", s)
		}
	}
	if !slices.Equal(ids, want) || g.header.Get("X-Total-Count") != "3" {
		t.Errorf("list = %v of %s, want %v, newest first", ids, g.header.Get("X-Total-Count"), want)
	}
	if g := c.get(path + "/sessions?active=true&per_page=1"); len(g.sessions(t)) != 1 || g.header.Get("X-Total-Count") != "2" || !strings.Contains(g.header.Get("Link"), "active=true&page=2&per_page=1>; rel=\"next\"") {
		t.Errorf("first page = %s, Link %s, want one of two", g.body, g.header.Get("Link"))
	}
	if g := c.get("/admin/identities/" + uuid.NewString() + "/sessions"); g.status != 200 || g.body != "[]" {
		t.Errorf("sessions of nobody = %d %s, want 200 []", g.status, g.body)
	}
}

func TestEndSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atNoon)
	c := w.admin()
	path, id := annas(t, c)
	first, second := w.newSession(uuid.MustParse(id), 0, false), w.newSession(uuid.MustParse(id), 0, false)
	for range 2 { // again changes nothing
		if g := c.do("DELETE", "/admin/sessions/"+first.String(), ""); g.status != 204 || g.body != "" {
			t.Errorf("revoke = %d %q, want 204", g.status, g.body)
		}
	}
	for id, active := range map[uuid.UUID]bool{first: false, second: true} {
		if g := c.get("/admin/sessions/" + id.String()); g.status != 200 || !strings.Contains(g.body, fmt.Sprintf(`"active":%t`, active)) || !strings.Contains(g.body, `"identity":null,"devices":null`) {
			t.Errorf("session = %d %s, want it with active %t, not expanded", g.status, g.body, active)
		}
	}
	if told := w.ledger.told; len(told) != 1 || told[0].Type != "session.revoked" || told[0].Actor != "admin:local" || !strings.Contains(string(told[0].Data), `"reason":"admin"`) {
		t.Errorf("events = %+v, want one session.revoked by the administrator", told)
	}
	if g := c.do("DELETE", path+"/sessions", ""); g.status != 204 || len(w.ledger.all) != 0 {
		t.Errorf("delete = %d, %d are left, want 204 and none", g.status, len(w.ledger.all))
	}
	if g := c.do("DELETE", path+"/sessions", ""); g.status != 404 {
		t.Errorf("delete again = %d, want 404", g.status)
	}
}

func TestExtendSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atNoon)
	c := w.admin()
	_, id := annas(t, c)
	live, old, over := w.newSession(uuid.MustParse(id), 0, false), w.newSession(uuid.MustParse(id), session.MaxLifespan-time.Minute, false), w.newSession(uuid.MustParse(id), 0, true)
	w.ledger.all[0].ExpiresAt = noon.Add(time.Minute)
	for id, want := range map[uuid.UUID]time.Time{live: noon.Add(time.Hour), old: noon.Add(time.Minute)} { // the lifespan of this world is an hour
		var s shownSession
		g := c.do("PATCH", "/admin/sessions/"+id.String()+"/extend", "")
		if err := json.Unmarshal([]byte(g.body), &s); err != nil || g.status != 200 || !s.Expires.Equal(want) || string(s.Identity) == "null" || string(s.Devices) == "null" {
			t.Errorf("extend = %d %s, want the whole session until %v", g.status, g.body, want)
		}
	}
	if g := c.do("PATCH", "/admin/sessions/"+over.String()+"/extend", ""); g.status != 404 {
		t.Errorf("extend of a revoked session = %d, want 404", g.status)
	}
	w.settings.ExtendWithoutSession = true
	w.compiled = compile(t, w.settings)
	w.ledger.all[0].ExpiresAt = noon.Add(time.Minute)
	g := c.do("PATCH", "/admin/sessions/"+live.String()+"/extend", "")
	if g.status != 204 || g.body != "" || !w.ledger.all[0].ExpiresAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("extend = %d %q, until %v, want 204 and nothing, an hour from now", g.status, g.body, w.ledger.all[0].ExpiresAt)
	}
	if g := c.do("PATCH", "/admin/sessions/"+over.String()+"/extend", ""); g.status != 404 {
		t.Errorf("extend of a revoked session = %d, want 404", g.status)
	}
}

// A store that cannot be used is no session that is not there.
func TestBrokenLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	w.ledger.broken = errors.New("broken for the test")
	id := w.newSession(uuid.New(), 0, false).String()
	for _, request := range [][2]string{
		{"GET", "/admin/sessions"}, {"GET", "/admin/identities/" + id + "/sessions"}, {"DELETE", "/admin/identities/" + id + "/sessions"},
	} {
		if g := c.do(request[0], request[1], ""); g.status != 500 || strings.Contains(g.body, "for the test") {
			t.Errorf("%s of a broken ledger = %d %s, want 500 without its text", request, g.status, g.body)
		}
	}
}
