package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/api"
)

func TestCreateIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	g := c.postJSON("/admin/identities", `{"schema_id":"person","traits":{"email":"Anna@Example.org"},"metadata_admin":{"a":1},
		"credentials":{"password":{"config":{"password":"short"}}},"verifiable_addresses":[{"value":"anna@example.org","via":"email","verified":true,"status":"completed"}]}`)
	if g.status != 201 || strings.Contains(g.body, "hashed_password") || !strings.Contains(g.body, `"verified":true`) || !strings.Contains(g.body, `"metadata_admin":{"a":1}`) {
		t.Errorf("create = %d %s, want 201 without the hash", g.status, g.body)
	}
	id := g.shown(t).ID
	if want := "http://127.0.0.1:4434/admin/identities/" + id; g.header.Get("Location") != want {
		t.Errorf("create has Location %q, want %q", g.header.Get("Location"), want)
	}
	if g := c.get("/admin/identities/" + id); g.status != 200 || !strings.Contains(g.body, `"identifiers":["anna@example.org"]`) || strings.Contains(g.body, "hashed_password") {
		t.Errorf("show = %d %s, want the identity without the hash", g.status, g.body)
	}
	if g := c.get("/admin/identities/" + id + "?include_credential=password"); !strings.Contains(g.body, "hashed_password") {
		t.Errorf("show with include_credential = %s, want the hash", g.body)
	}
	if g := c.postJSON("/admin/identities", `{"traits":{"email":"anna@example.org"}}`); g.status != 409 {
		t.Errorf("second create = %d %s, want 409", g.status, g.body)
	}
	for _, path := range []string{uuid.NewString(), "x"} {
		if g := c.get("/admin/identities/" + path); g.status != 404 {
			t.Errorf("show %s = %d, want 404", path, g.status)
		}
	}
}

func TestCreateIdentityRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	for _, body := range []string{
		``, `[]`, `{`, `{}`, `{"traits":null}`, `{"traits":[]}`, `{"traits":{}}`, `{"traits":{"email":"nonsense"}}`, `{"traits":{"email":"a@b.example","other":1}}`,
		`{"schema_id":"unknown","traits":{"email":"a@b.example"}}`, `{"schema_id":1,"traits":{"email":"a@b.example"}}`,
		`{"traits":{"email":"a@b.example"},"unknown":1}`, `{"traits":{"email":"a@b.example"},"traits":{}}`,
		`{"traits":{"email":"a@b.example"},"state":"gone"}`, `{"traits":{"email":"a@b.example"},"organization_id":"x"}`, `{"traits":{"email":"a@b.example"},"external_id":1}`, `{"traits":{"email":"a@b.example"},"external_id":"a\tb"}`,
		`{"traits":{"email":"a@b.example"},"external_id":"` + strings.Repeat("a", 256) + `"}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"co:rp","subject":"7"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp","subject":"7","use_auto_link":true}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp","subject":"7","organization":"x"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp","subject":"` + strings.Repeat("7", 1024) + `"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp","subject":"7","initial_id_token":"x"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp","subject":"7","issuer":"https://a"},{"provider":"corp","subject":"7","issuer":"https://b"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"password":{"config":{"hashed_password":"md5"}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"password":{"config":{"hashed_password":"$2b$x","password":"x"}}}}`,
		`{"traits":{"email":"a@b.example"},"recovery_addresses":[{}]}`, `{"traits":{"email":"a@b.example"},"recovery_addresses":[{"value":"b@b.example","via":"email"}]}`,
		`{"traits":{"email":"a@b.example"},"verifiable_addresses":[{"value":"a@b.example","via":"sms"}]}`,
		`{"traits":{"email":"a@b.example"},"verifiable_addresses":[{"value":"b@b.example","verified":true}]}`,
		`{"traits":{"email":"a@b.example"},"verifiable_addresses":[{"verified":true}]}`,
		`{"traits":{"email":"a@b.example"},"verifiable_addresses":{}}`,
		`{"traits":{"email":"` + strings.Repeat("a", 64<<10) + `"}}`,
	} {
		if g := c.postJSON("/admin/identities", body); g.status != 400 || g.shown(t).Error.Reason == "" {
			t.Errorf("create with %.80s = %d %s, want 400 with a reason", body, g.status, g.body)
		}
	}
	const crypt = `"$2b$31$abcdefghijklmnopqrstuuN5mlt8IgGwLLIyTkZkyEVFDPS4iTHTq"`
	costly := c.postJSON("/admin/identities", `{"traits":{"email":"a@b.example"},"credentials":{"password":{"config":{"hashed_password":`+crypt+`}}}}`)
	if costly.status != 400 || !strings.Contains(costly.shown(t).Error.Reason, "too much time") {
		t.Errorf("create with a hash of cost 31 = %d %s, want 400 that says why", costly.status, costly.body)
	}
	if g := c.do("POST", "/admin/identities", `{"traits":{"email":"a@b.example"}}`, "Content-Type", "text/plain"); g.status != 400 {
		t.Errorf("create with text/plain = %d, want 400", g.status)
	}
}

var nextLink = regexp.MustCompile(`<([^>]+)>; rel="next"`)

func TestListIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	for n := range 5 {
		c.postJSON("/admin/identities", fmt.Sprintf(`{"traits":{"email":"person-%d@example.org"}}`, n))
	}
	seen := map[string]bool{}
	pages := 0
	for path := "/admin/identities?page_size=2"; path != ""; pages++ {
		g := c.get(path)
		var list []shown
		if err := json.Unmarshal([]byte(g.body), &list); err != nil || g.status != 200 {
			t.Fatalf("list = %d %s, want a list", g.status, g.body)
		}
		for _, i := range list {
			seen[i.ID] = true
		}
		path = ""
		if next := nextLink.FindStringSubmatch(g.header.Get("Link")); next != nil {
			path = next[1]
		}
	}
	if len(seen) != 5 || pages != 3 {
		t.Errorf("list gave %d identities on %d pages, want 5 on 3", len(seen), pages)
	}
	if g := newWorld(t).admin().get("/admin/identities"); g.body != "[]" {
		t.Errorf("empty list = %s, want []", g.body)
	}
	for _, query := range []string{"page_size=0", "page_size=1001", "page_size=x", "page_token=x", "page_token=!", "ids=1"} {
		if g := c.get("/admin/identities?" + query); g.status != 400 {
			t.Errorf("list with %s = %d, want 400", query, g.status)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	var page struct {
		Events []json.RawMessage `json:"events"`
		Next   string            `json:"next"`
	}
	read := func(query string) string {
		t.Helper()
		g := c.get("/admin/events?" + query)
		if err := json.Unmarshal([]byte(g.body), &page); err != nil || g.status != 200 {
			t.Fatalf("events = %d %s, want a page", g.status, g.body)
		}
		return g.header.Get("Link")
	}
	if link := read("limit=3"); len(page.Events) != 3 || string(page.Events[2]) != logged(3) || !strings.Contains(link, page.Next) {
		t.Errorf("first page = %s, Link %q, want three events and the cursor", page.Events, link)
	}
	if link := read("limit=3&after=" + page.Next); len(page.Events) != 2 || link != "" {
		t.Errorf("second page = %s, Link %q, want two events and no Link", page.Events, link)
	}
	end := page.Next
	if read("after=" + end); len(page.Events) != 0 || page.Next != end || page.Events == nil {
		t.Errorf("page at the end = %s, next %q, want [] and the same cursor", page.Events, page.Next)
	}
	if read("after=latest"); len(page.Events) != 0 || page.Next != end {
		t.Errorf("page at latest = %s, next %q, want [] and %q", page.Events, page.Next, end)
	}
	for _, query := range []string{"after=x", "after=!", "after=c2VxOi0x", "limit=0", "limit=1001", "limit=x"} {
		if g := c.get("/admin/events?" + query); g.status != 400 {
			t.Errorf("events with %s = %d, want 400", query, g.status)
		}
	}
	if seq, err := api.ParseCursor(api.FormatCursor(7)); seq != 7 || err != nil {
		t.Errorf("parseCursor = %d, %v, want 7", seq, err)
	}
}

// TestAdminGuard is A18.
func TestAdminGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.options.Guarded = true
		w.options.Metrics = http.NotFoundHandler()
	})
	c := w.admin()
	for _, tt := range []struct {
		path, authorization string
		status              int
	}{
		{"/health/alive", "", 200},
		{"/health/ready", "", 200},
		{"/health/accepting", "", 200},
		{"/admin/health/ready", "", 200},
		{"/admin/identities", "", 401},
		{"/admin/events", "", 401},
		{"/version", "", 401},
		{"/schemas", "", 401},
		{"/schemas/person", "", 401},
		{"/schemas", "Bearer usher_at_events", 403},
		{"/schemas", "Bearer usher_at_root", 200},
		{"/nowhere", "", 401},
		{"/metrics", "", 401},
		{"/admin/identities", "usher_at_root", 401},
		{"/admin/identities", "Basic usher_at_root", 401},
		{"/admin/identities", "Bearer root", 401},
		{"/admin/identities", "Bearer usher_at_unknown", 401},
		{"/admin/identities", "Bearer usher_at_" + strings.Repeat("x", 200), 401},
		{"/admin/identities", "Bearer usher_at_root", 200},
		{"/admin/identities", "bearer usher_at_root", 200},
		{"/admin/events", "Bearer usher_at_root", 200},
		{"/admin/events", "Bearer usher_at_events", 200},
		{"/admin/events", "Bearer usher_at_metrics", 403},
		{"/admin/identities", "Bearer usher_at_events", 403},
		{"/version", "Bearer usher_at_metrics", 403},
		{"/version", "Bearer usher_at_root", 200},
	} {
		g := c.get(tt.path, "Authorization", tt.authorization)
		if g.status != tt.status {
			t.Errorf("GET %s with %q = %d, want %d", tt.path, tt.authorization, g.status, tt.status)
		}
		if tt.status == 401 && (g.header.Get("Www-Authenticate") != "Bearer" || g.header.Get("Content-Type") != "application/json") {
			t.Errorf("GET %s has headers %v, want WWW-Authenticate Bearer and JSON", tt.path, g.header)
		}
	}
}

// TestOpenAdminKeepsPagesOut: a page in a browser on this machine is no administrator.
func TestOpenAdminKeepsPagesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	body := `{"traits":{"email":"a@example.org"}}`
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		if g := c.postJSON("/admin/identities", body, header...); g.status != 421 {
			t.Errorf("create with %q = %d, want 421", header, g.status)
		}
	}
	for host, want := range map[string]int{"127.0.0.1:4434": 200, "localhost": 200, "[::1]:4434": 200, "rebound.evil.example:4434": 421, "localhost.evil.example": 421} {
		if g := hostGet(c, host, "/version"); g != want {
			t.Errorf("GET /version of %s = %d, want %d", host, g, want)
		}
	}
}

func hostGet(c *client, host, path string) int {
	r, err := http.NewRequest(http.MethodGet, c.base+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Host = host
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// The SDKs have one base URL, and ask the listener that they administer by.
func TestAdminSchemas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, app := w.admin(), w.app()
	for path, status := range map[string]int{"/schemas": 200, "/schemas/person": 200, "/schemas/cGVyc29u": 200, "/schemas/unknown": 404} {
		got, want := admin.get(path, "X-Request-Id", "same"), app.get(path, "X-Request-Id", "same")
		if got.status != status || got.body != want.body || got.header.Get("Link") != want.header.Get("Link") || got.header.Get("X-Total-Count") != want.header.Get("X-Total-Count") {
			t.Errorf("GET %s of the admin listener = %d %s, want %d and what the public one gives: %s", path, got.status, got.body, status, want.body)
		}
		if cookiesOf(got) != "" {
			t.Errorf("GET %s of the admin listener sets cookies %q, want none", path, cookiesOf(got))
		}
	}
}
