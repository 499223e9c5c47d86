package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// An external id is made, replaced, patched and taken away, shown wherever the identity
// is, and only one identity's.
func TestExternalID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.admin()
	const external = "crm://7/ü?x=1"
	g := c.postJSON("/admin/identities", `{"traits":{"email":"anna@example.org"},"external_id":"`+external+`"}`)
	if g.status != 201 || !strings.Contains(g.body, `"external_id":"`+external+`"`) {
		t.Fatalf("create = %d %s, want 201 with the external id", g.status, g.body)
	}
	id := g.shown(t).ID
	path := "/admin/identities/" + id
	const by = "/admin/identities/by/external/"
	before := len(w.journal.acts())
	if g := c.get(by + "crm:%2F%2F7%2F%C3%BC%3Fx=1?include_credential=password"); g.status != 200 || g.shown(t).ID != id {
		t.Errorf("by external id = %d %s, want %s", g.status, g.body, id)
	}
	if got, want := w.journal.acts()[before:], []string{`admin:local {"action":"identity.read","target":"` + id + `"}`}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	for _, nothing := range []string{"crm:%2F%2F7", "crm://7/%C3%BC%3Fx=1", "CRM:%2F%2F7%2F%C3%BC%3Fx=1", "%2e%2e", "..%2f..%2f..%2fversion", "%00", ""} {
		if g := c.get(by + nothing); g.status != http.StatusNotFound || strings.Contains(g.body, "crm") {
			t.Errorf("by external id %q = %d %s, want 404 that does not quote it", nothing, g.status, g.body)
		}
	}
	other := c.postJSON("/admin/identities", `{"traits":{"email":"ben@example.org"}}`).shown(t).ID
	if g := c.postJSON("/admin/identities", `{"traits":{"email":"carl@example.org"},"external_id":"`+external+`"}`); g.status != 409 {
		t.Errorf("create with a taken one = %d %s, want 409", g.status, g.body)
	}
	if g := c.patch("/admin/identities/"+other, `[{"op":"replace","path":"/external_id","value":"`+external+`"}]`); g.status != 409 {
		t.Errorf("patch to a taken one = %d %s, want 409", g.status, g.body)
	}
	for _, step := range []struct {
		g    got
		want string
	}{
		{c.patch(path, `[{"op":"test","path":"/external_id","value":"`+external+`"},{"op":"replace","path":"/external_id","value":"b"}]`), `"external_id":"b"`},
		{c.patch(path, `[{"op":"remove","path":"/external_id"}]`), ""},
		{c.patch(path, `[{"op":"test","path":"/external_id","value":null},{"op":"replace","path":"/external_id","value":"c"}]`), `"external_id":"c"`},
		{c.patch(path, `[{"op":"add","path":"/metadata_public","value":1}]`), `"external_id":"c"`},
		{c.putJSON(path, `{"traits":{"email":"anna@example.org"},"external_id":"d"}`), `"external_id":"d"`},
		{c.putJSON(path, `{"traits":{"email":"anna@example.org"}}`), ""},
	} {
		if has := strings.Contains(step.g.body, `"external_id"`); step.g.status != 200 || has != (step.want != "") || !strings.Contains(step.g.body, step.want) {
			t.Errorf("answer %d %s, want %q", step.g.status, step.g.body, step.want)
		}
	}
	if e := w.told[len(w.told)-2]; !strings.Contains(string(e.Data), `"changed":["external_id","metadata_public"]`) {
		t.Errorf("event %s, want the name of what has changed", e.Data)
	}
	for _, bad := range []string{`1`, `{}`, `"a\u0007"`, `"` + strings.Repeat("a", 256) + `"`} {
		if g := c.patch(path, `[{"op":"add","path":"/external_id","value":`+bad+`}]`); g.status != 400 {
			t.Errorf("patch to %.20s = %d, want 400", bad, g.status)
		}
	}
	for _, e := range w.told {
		if strings.Contains(string(e.Data), "crm") {
			t.Errorf("event %s holds the external id", e.Data)
		}
	}
	if strings.Contains(w.log.String(), "crm") {
		t.Errorf("the log holds the external id")
	}
}
