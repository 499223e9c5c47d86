package api_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
)

// annas makes one identity and gives its path and id.
func annas(t *testing.T, c *client) (path, id string) {
	t.Helper()
	g := c.postJSON("/admin/identities", `{"traits":{"email":"anna@example.org","name":{"first":"A"}},"metadata_admin":{"a":1},
		"credentials":{"password":{"config":{"password":"short"}}},"verifiable_addresses":[{"value":"anna@example.org","via":"email","verified":true,"status":"completed"}]}`)
	if g.status != 201 {
		t.Fatalf("create = %d %s, want 201", g.status, g.body)
	}
	id = g.shown(t).ID
	return "/admin/identities/" + id, id
}

func (c *client) putJSON(path, body string) got {
	return c.do("PUT", path, body, "Content-Type", "application/json")
}

func (c *client) patch(path, body string) got {
	return c.do("PATCH", path, body, "Content-Type", "application/json")
}

// person is what these tests look at in an identity.
type person struct {
	SchemaID       string          `json:"schema_id"`
	State          string          `json:"state"`
	Traits         json.RawMessage `json:"traits"`
	MetadataPublic json.RawMessage `json:"metadata_public"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin"`
	Addresses      []struct {
		ID       string
		Value    string
		Verified bool
	} `json:"verifiable_addresses"`
	Credentials map[string]struct{ Identifiers []string }
}

func (g got) person(t *testing.T) (p person) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), &p); err != nil || g.status != 200 {
		t.Fatalf("answer %d %s, want an identity", g.status, g.body)
	}
	return p
}

func TestReplaceIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	path, id := annas(t, c)
	p := c.putJSON(path, `{"schema_id":"person","state":"inactive","traits":{"email":"ben@example.org"},"metadata_public":{"b":2}}`).person(t)
	if p.State != "inactive" || string(p.Traits) != `{"email":"ben@example.org"}` || string(p.MetadataPublic) != `{"b":2}` || string(p.MetadataAdmin) != "null" {
		t.Errorf("put gives %+v, want what was sent", p)
	}
	if len(p.Addresses) != 1 || p.Addresses[0].Value != "ben@example.org" || p.Addresses[0].Verified || p.Credentials["password"].Identifiers[0] != "ben@example.org" {
		t.Errorf("put gives %+v, want a new address that is not verified, to sign in with", p)
	}
	stored := w.identities[uuid.MustParse(id)]
	if config := string(stored.Credentials[0].Config); config != `{"hashed_password":"hash of short"}` {
		t.Errorf("credential = %s, want the password that was there", config)
	}
	c.putJSON(path, `{"traits":{"email":"ben@example.org"},"credentials":{"password":{"config":{"password":"other"}}}}`).person(t)
	if stored := w.identities[stored.ID]; stored.State != identity.Inactive || string(stored.Credentials[0].Config) != `{"hashed_password":"hash of other"}` || stored.Epoch != 2 {
		t.Errorf("stored = %+v, want inactive as before, the new password, no session", stored)
	}
	c.postJSON("/admin/identities", `{"traits":{"email":"carl@example.org"}}`)
	if g := c.putJSON(path, `{"traits":{"email":"Carl@example.org"}}`); g.status != 409 {
		t.Errorf("put of a taken address = %d %s, want 409", g.status, g.body)
	}
	if e := w.told[0]; e.Type != "identity.updated" || e.Actor != "admin:local" || e.Subject != id || e.RequestID == "" || e.TraceParent == "" {
		t.Errorf("event = %+v, want identity.updated by this administrator", e)
	}
	for _, body := range []string{
		`{}`, `{"traits":[]}`, `{"traits":{}}`, `{"traits":{"email":"x"}}`, `{"traits":{"email":"a@b.example"},"state":"gone"}`, `{"traits":{"email":"a@b.example"},"id":"` + id + `"}`,
		`{"schema_id":"unknown","traits":{"email":"a@b.example"}}`, `{"traits":{"email":"a@b.example"},"credentials":{"oidc":{"config":{"providers":[{"subject":"7"}]}}}}`,
		`{"traits":{"email":"a@b.example"},"credentials":{"password":{"config":{"hashed_password":"md5"}}}}`, `{"traits":{"email":"a@b.example"},"organization_id":"x"}`,
	} {
		if g := c.putJSON(path, body); g.status != 400 || g.shown(t).Error.Reason == "" {
			t.Errorf("put %s = %d %s, want 400 with a reason", body, g.status, g.body)
		}
	}
}

func TestPatchIdentity(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	path, _ := annas(t, c)
	before := c.get(path).person(t)
	p := c.patch(path, `[{"op":"test","path":"/traits/email","value":"anna@example.org"},{"op":"replace","path":"/traits/name/first","value":"<&>\u00fc"},
		{"op":"add","path":"/metadata_public","value":{"x":[1]}},{"op":"add","path":"/metadata_public/x/-","value":2.50},{"op":"copy","from":"/metadata_admin","path":"/metadata_public/y"},
		{"op":"remove","path":"/metadata_admin"},{"op":"replace","path":"/state","value":"inactive"}]`).person(t)
	if string(p.Traits) != `{"email":"anna@example.org","name":{"first":"<&>\u00fc"}}` || string(p.MetadataPublic) != `{"x":[1,2.50],"y":{"a":1}}` ||
		string(p.MetadataAdmin) != "null" || p.State != "inactive" {
		t.Errorf("patch gives %+v, want what it says", p)
	}
	if p.Addresses[0] != before.Addresses[0] || !p.Addresses[0].Verified {
		t.Errorf("address = %+v, want that of before: %+v", p.Addresses[0], before.Addresses[0])
	}
	if p := c.do("PATCH", path, `[{"op":"move","from":"/traits/name","path":"/metadata_admin"}]`, "Content-Type", "application/json-patch+json").person(t); string(p.MetadataAdmin) == "null" {
		t.Errorf("patch gives %+v, want what was moved", p)
	}
}

func TestPatchIdentityRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	path, _ := annas(t, c)
	before := c.get(path).body
	nest := strings.Repeat(`{"op":"copy","from":"/metadata_admin","path":"/metadata_admin/a"},`, 20)
	for _, body := range []string{
		`[{"op":"replace","path":"/id","value":"x"}]`, `[{"op":"replace","path":"/stateChangedAt","value":"x"}]`, `[{"op":"replace","path":"/state_changed_at","value":"x"}]`,
		`[{"op":"remove","path":"/credentials"}]`, `[{"op":"add","path":"/credentials/password/config/hashed_password","value":"x"}]`, `[{"op":"test","path":"/credentials","value":{}}]`,
		`[{"op":"add","path":"/credentials~1x","value":1}]`, `[{"op":"replace","path":"","value":{}}]`, `[{"op":"replace","path":"/","value":{}}]`, `[{"op":"replace","path":"//state","value":"x"}]`,
		`[{"op":"replace","path":"state","value":"inactive"}]`, `[{"op":"replace","PATH":"/state","path":"/id","value":"x"}]`, `[{"op":"replace","Path":"/state","value":"inactive"}]`,
		`[{"op":"copy","from":"/credentials","path":"/metadata_public"}]`, `[{"op":"move","from":"/id","path":"/metadata_public"}]`, `[{"op":"copy","from":"","path":"/metadata_public"}]`,
		`[{"op":"copy","path":"/metadata_public"}]`, `[{"op":"add","path":"/state"}]`, `[{"op":"test","path":"/state"}]`, `[{"op":"unknown","path":"/state","value":1}]`, `[{"path":"/state","value":1}]`, `[{"op":1,"path":"/state"}]`,
		`[{"op":"test","path":"/state","value":"inactive"}]`, `[{"op":"test","path":"/metadata_admin/none","value":1}]`, `[{"op":"remove","path":"/traits/none"}]`, `[{"op":"replace","path":"/traits/none","value":1}]`,
		`[{"op":"remove","path":"/traits"}]`, `[{"op":"replace","path":"/traits","value":null}]`, `[{"op":"replace","path":"/traits","value":[]}]`, `[{"op":"replace","path":"/traits/email","value":"no"}]`,
		`[{"op":"add","path":"/traits/other","value":1}]`, `[{"op":"remove","path":"/state"}]`, `[{"op":"replace","path":"/state","value":"gone"}]`, `[{"op":"replace","path":"/state","value":1}]`,
		`[{"op":"remove","path":"/schema_id"}]`, `[{"op":"replace","path":"/schema_id","value":"unknown"}]`, `[{"op":"add","path":"/metadata_public/x","value":1}]`,
		`[{"op":"add","path":"/metadata_admin/a","value":[null]},{"op":"test","path":"/metadata_admin/a","value":[null]}]`,
		`[{"op":"add","path":"/metadata_admin/a","value":[]},{"op":"add","path":"/metadata_admin/a/1000000000","value":1}]`, `[{"op":"add","path":"/metadata_admin/a","value":[1]},{"op":"replace","path":"/metadata_admin/a/-1","value":1}]`,
		"[" + nest + `{"op":"test","path":"/state","value":"active"}]`,
		"[" + strings.TrimSuffix(strings.Repeat(`{"op":"test","path":"/state","value":"active"},`, 101), ",") + "]",
	} {
		g := c.patch(path, body)
		if g.status != 400 || g.shown(t).Error.Reason == "" || strings.Contains(g.body, "/credentials") {
			t.Errorf("patch %.200s = %d %s, want 400 with a reason", body, g.status, g.body)
		}
	}
	if after := c.get(path).body; after != before || len(w.told) != 0 {
		t.Errorf("refused patches have changed\n%s to\n%s", before, after)
	}
	if log := w.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("log holds a panic or an error:\n%s", log)
	}
}

// Copies of copies double what is there each time.
func TestPatchedCopiesAreBounded(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	path, _ := annas(t, c)
	operations := make([]string, 16)
	for n := range operations {
		operations[n] = fmt.Sprintf(`{"op":"copy","from":"/metadata_admin","path":"/metadata_admin/%d"}`, n)
	}
	operations = append(operations, `{"op":"remove","path":"/metadata_admin"}`) // what is left would be small
	if g := c.patch(path, "["+strings.Join(operations, ",")+"]"); g.status != 400 || !strings.Contains(g.shown(t).Error.Reason, "copies") {
		t.Errorf("patch with copies of copies = %d %s, want 400 for what it copies", g.status, g.body)
	}
}

// Metadata grows to the limit over many patches, and not further.
func TestPatchedIdentityIsBounded(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	path, _ := annas(t, c)
	for n := range 4 {
		want := map[bool]int{true: 200, false: 400}[n < 2]
		if g := c.patch(path, fmt.Sprintf(`[{"op":"add","path":"/metadata_admin/%d","value":"%s"}]`, n, strings.Repeat("x", 30_000))); g.status != want {
			t.Errorf("patch %d with 30,000 bytes = %d, want %d", n, g.status, want)
		}
	}
}

func TestDeleteIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	path, id := annas(t, c)
	if g := c.do("DELETE", path, ""); g.status != 204 || g.body != "" {
		t.Errorf("delete = %d %q, want 204 and nothing", g.status, g.body)
	}
	if e := w.told[len(w.told)-1]; e.Type != "identity.deleted" || e.Actor != "admin:local" || e.Subject != id {
		t.Errorf("event = %+v, want identity.deleted", e)
	}
	for _, g := range []got{c.do("DELETE", path, ""), c.get(path)} {
		if g.status != 404 {
			t.Errorf("the deleted identity = %d, want 404", g.status)
		}
	}
}

func TestFilterIdentities(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	_, anna := annas(t, c)
	ben := c.postJSON("/admin/identities", `{"traits":{"email":"ben@example.org"}}`).shown(t).ID
	many := strings.Repeat("&ids="+uuid.NewString(), 499)
	account := func(id, subject string) {
		c.putJSON("/admin/identities/"+id, `{"traits":{"email":"`+map[string]string{anna: "anna", ben: "ben"}[id]+`@example.org"},"credentials":{"oidc":{"config":{"providers":[{"provider":"corp","subject":"`+subject+`"}]}}}}`)
	}
	account(anna, "Seven:7")
	account(ben, "8")
	const similar = "preview_credentials_identifier_similar="
	for _, tt := range []struct {
		query       string
		want        []string
		credentials bool
	}{
		{"ids=" + anna, []string{anna}, false},
		{"ids=" + anna + "&ids=" + anna + "&ids=" + uuid.NewString(), []string{anna}, false},
		{"ids=" + anna + "&include_credential=password", []string{anna}, true},
		{"ids=" + anna + many, []string{anna}, false},
		{"ids=&credentials_identifier=", []string{anna, ben}, false},
		{"credentials_identifier=Anna@EXAMPLE.org", []string{anna}, true},
		{"credentials_identifier=corp:Seven:7", []string{anna}, true},
		{"credentials_identifier=corp:8", []string{ben}, true},
		{"credentials_identifier=corp:seven:7", nil, false},
		{"credentials_identifier=OIDC:corp:8", nil, false},
		{"credentials_identifier=corp", nil, false},
		{"credentials_identifier=nobody", nil, false},
		{"credentials_identifier=%01", nil, false},
		{similar + "anna@", []string{anna}, true},
		{similar + "anna@&per_page=250&page_size=250", []string{anna}, true},
		{similar + "corp:", []string{anna, ben}, true},
		{similar + "nobody", nil, false},
		{similar, []string{anna, ben}, false},
		{"organization_id=" + ben, nil, false},
		{"organization_id=", []string{anna, ben}, false},
	} {
		var found []shown
		g := c.get("/admin/identities?" + tt.query)
		if err := json.Unmarshal([]byte(g.body), &found); err != nil || g.status != 200 || found == nil {
			t.Errorf("list with %.100s = %d %s, want a list", tt.query, g.status, g.body)
		}
		ids := map[string]bool{}
		for _, i := range found {
			ids[i.ID] = true
		}
		if len(found) != len(tt.want) || slices.ContainsFunc(tt.want, func(id string) bool { return !ids[id] }) {
			t.Errorf("list with %.100s = %v, want %v", tt.query, ids, tt.want)
		}
		if strings.Contains(g.body, `"credentials"`) != tt.credentials {
			t.Errorf("list with %.100s = %s, want credentials: %t", tt.query, g.body, tt.credentials)
		}
	}
	for _, query := range []string{
		"ids=" + anna + many + "&ids=" + ben, "ids=" + anna + "&ids=x", "ids=" + anna + "&credentials_identifier=a", "external_id=crm-7", "external_id=",
		"organization_id=x", "organization_id=" + ben + "&ids=" + ben,
		similar + "ab", similar + "%20a%20", similar + strings.Repeat("a", 255), similar + "anna&page=1", similar + "anna&page_token=x",
	} {
		if g := c.get("/admin/identities?" + query); g.status != 400 || g.shown(t).Error.Reason == "" {
			t.Errorf("list with %.100s = %d %s, want 400 with a reason", query, g.status, g.body)
		}
	}
}

// The next page is again one of those who were asked for.
func TestSimilarIdentitiesByPage(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	for _, name := range []string{"anna", "ben", "joanna", "susanna"} {
		c.postJSON("/admin/identities", `{"traits":{"email":"`+name+`@example.org"},"credentials":{"password":{"config":{"password":"long enough 1"}}}}`)
	}
	var addresses []string
	next := regexp.MustCompile(`<([^>]*)>; rel="next"`)
	for path := "/admin/identities?page_size=2&preview_credentials_identifier_similar=anna"; path != ""; {
		var page []struct{ Traits struct{ Email string } }
		g := c.get(path)
		if err := json.Unmarshal([]byte(g.body), &page); err != nil || len(page) == 0 {
			t.Fatalf("%s = %d %s, want identities", path, g.status, g.body)
		}
		for _, i := range page {
			addresses = append(addresses, i.Traits.Email)
		}
		link := next.FindStringSubmatch(g.header.Get("Link"))
		path = ""
		if link != nil {
			path = link[1]
		}
	}
	slices.Sort(addresses)
	if want := []string{"anna@example.org", "joanna@example.org", "susanna@example.org"}; !slices.Equal(addresses, want) {
		t.Errorf("all pages of those like anna = %v, want %v", addresses, want)
	}
}

func TestNumberedIdentities(t *testing.T) {
	t.Parallel()
	c := newWorld(t).admin()
	for n := range 5 {
		c.postJSON("/admin/identities", fmt.Sprintf(`{"traits":{"email":"person-%d@example.org"}}`, n))
	}
	for _, tt := range []struct {
		query, link string
		items       int
	}{
		{"page=0&per_page=2", `</admin/identities?page=1&per_page=2>; rel="first",</admin/identities?page=2&per_page=2>; rel="next",</admin/identities?page=3&per_page=2>; rel="last"`, 2},
		{"page=1&page_size=2", `</admin/identities?page=1&per_page=2>; rel="first",</admin/identities?page=2&per_page=2>; rel="next",</admin/identities?page=3&per_page=2>; rel="last"`, 2},
		{"page=3&per_page=2", `</admin/identities?page=1&per_page=2>; rel="first",</admin/identities?page=2&per_page=2>; rel="prev",</admin/identities?page=3&per_page=2>; rel="last"`, 1},
		{"page=9&per_page=2", `</admin/identities?page=1&per_page=2>; rel="first",</admin/identities?page=3&per_page=2>; rel="prev",</admin/identities?page=3&per_page=2>; rel="last"`, 0},
	} {
		var found []shown
		g := c.get("/admin/identities?" + tt.query)
		if err := json.Unmarshal([]byte(g.body), &found); err != nil || len(found) != tt.items || g.header.Get("Link") != tt.link || g.header.Get("X-Total-Count") != "5" {
			t.Errorf("list with %s = %d items, Link %s, of %s; want %d, %s, of 5", tt.query, len(found), g.header.Get("Link"), g.header.Get("X-Total-Count"), tt.items, tt.link)
		}
	}
}

func TestRemoveCredential(t *testing.T) {
	t.Parallel()
	w, _ := social(t)
	c := w.browser()
	c.ended(c.through(c.browserFlow(), nil)) // corp is the only way to sign in
	ann := w.person("corp:7")
	path := "/admin/identities/" + ann.ID.String() + "/credentials/"
	remove := func(what string, want int) {
		t.Helper()
		if g := w.admin().do("DELETE", path+what, ""); g.status != want || want == 204 && g.body != "" || want != 204 && g.shown(t).Error.Reason == "" {
			t.Errorf("delete %s = %d %s, want %d", what, g.status, g.body, want)
		}
	}
	remove("oidc?identifier=corp:7", 400)
	if person := w.admin().putJSON("/admin/identities/"+ann.ID.String(), `{"traits":{"email":"ann@example.org"},"credentials":{"password":{"config":{"password":"x"}}}}`); person.status != 200 {
		t.Fatal(person.body)
	}
	for what, want := range map[string]int{"oidc": 400, "oidc?identifier=": 400, "oidc?identifier=corp:8": 404, "oidc?identifier=corp": 404, "totp": 404, "OIDC": 404, "passwords": 404} {
		remove(what, want)
	}
	remove("oidc?identifier=corp:7", 204)
	remove("oidc?identifier=corp:7", 404)
	remove("password", 400)
	e := w.told[len(w.told)-1]
	if w.person("corp:7") != nil || e.Type != "identity.updated" || e.Actor != "admin:local" || !strings.Contains(string(e.Data), `"changed":["credentials"]`) {
		t.Errorf("the account is there, or the event is wrong: %+v %s", e, e.Data)
	}
}

// Accounts at providers are made with an identity, and added to it; those that are there
// stay as they are.
func TestAccountsByAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	body := func(address string, accounts ...string) string {
		return `{"traits":{"email":"` + address + `"},"credentials":{"oidc":{"config":{"providers":[` + strings.Join(accounts, ",") + `]}}}}`
	}
	const seven, eight = `{"provider":"corp","subject":"Seven:7","organization":null,"use_auto_link":false}`, `{"provider":"other","subject":"8","issuer":"https://other.example"}`
	g := c.postJSON("/admin/identities?include_credential=oidc", body("anna@example.org", seven))
	if g.status != 201 || !strings.Contains(g.body, `"identifiers":["corp:Seven:7"]`) || !strings.Contains(g.body, `"providers":[{"provider":"corp","subject":"Seven:7"}]`) {
		t.Fatalf("create = %d %s, want it with the account", g.status, g.body)
	}
	path := "/admin/identities/" + g.shown(t).ID
	if g := c.postJSON("/admin/identities", body("ben@example.org", seven)); g.status != 409 {
		t.Errorf("create with another's account = %d %s, want 409", g.status, g.body)
	}
	for _, accounts := range [][]string{{seven, eight}, {`{"provider":"other","subject":"8"}`}, nil} {
		g := c.putJSON(path+"?include_credential=oidc", body("anna@example.org", accounts...))
		if g.status != 200 || !strings.Contains(g.body, `"identifiers":["corp:Seven:7","other:8"]`) || !strings.Contains(g.body, `"issuer":"https://other.example"`) {
			t.Errorf("put with %q = %d %s, want both accounts", accounts, g.status, g.body)
		}
	}
	if len(w.told) != 1 || !strings.Contains(string(w.told[0].Data), `"changed":["credentials"]`) {
		t.Errorf("told %+v, want the change of the credentials, once", w.told)
	}
	if g := c.putJSON(path, body("anna@example.org", `{"provider":"other","subject":"8","issuer":"https://new.example"}`)); g.status != 400 {
		t.Errorf("put of another issuer's account = %d %s, want 400", g.status, g.body)
	}
	if g := c.postJSON("/admin/identities", body("ben@example.org")); g.status != 201 || strings.Contains(g.body, "oidc") {
		t.Errorf("create with no account = %d %s, want none", g.status, g.body)
	}
}
