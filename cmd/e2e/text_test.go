package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/usher-auth/usher/schemas"
)

// noText are what PostgreSQL keeps in no text and SQLite in any, as they stand in a URL.
var noText = []string{"%00", "a%00b", "%FF", "a%C3%28"}

// request is one of many that a table makes.
type request struct {
	method, path, kind, body string
	admin                    bool
}

// described are requests to every operation of the document, in each of which
// one path value, one parameter, or one member of the body is no text.
func described(t *testing.T) (all []request) {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData(schemas.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	for template, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			r := request{method: method, admin: len(item.Servers) > 0}
			plain := withValues(template, "00000000-0000-4000-8000-000000000000")
			for _, bad := range noText {
				if withValues(template, bad) != plain {
					r.path = withValues(template, bad)
					all = append(all, r)
				}
				for _, p := range slices.Concat(item.Parameters, o.Parameters) {
					if p.Value.In == openapi3.ParameterInQuery {
						r.path = plain + "?" + url.QueryEscape(p.Value.Name) + "=" + bad
						all = append(all, r)
					}
				}
			}
			if o.RequestBody == nil {
				continue
			}
			for kind, media := range o.RequestBody.Value.Content {
				r.path, r.kind = plain, kind
				for _, r.body = range bodies(kind, media.Schema.Value) {
					all = append(all, r)
				}
			}
		}
	}
	return all
}

func withValues(template, value string) string {
	parts := strings.Split(template, "/")
	for n, part := range parts {
		if strings.HasPrefix(part, "{") {
			parts[n] = value
		}
	}
	return strings.Join(parts, "/")
}

// bodies have one member each that is no text.
func bodies(kind string, s *openapi3.Schema) (all []string) {
	names := map[string]bool{}
	for _, schema := range append(openapi3.SchemaRefs{{Value: s}}, slices.Concat(s.AllOf, s.OneOf, s.AnyOf)...) {
		for name := range schema.Value.Properties {
			names[name] = true
		}
	}
	for name := range names {
		if kind != "application/json" {
			all = append(all, url.QueryEscape(name)+"=%00", url.QueryEscape(name)+"=%FF")
			continue
		}
		quoted, _ := json.Marshal(name) // a string always can be
		for _, value := range []string{`"\u0000"`, "\"\xff\"", `["\u0000"]`, `"\ud800"`} {
			all = append(all, "{"+string(quoted)+":"+value+"}")
		}
	}
	return all
}

// whole are requests that reach further than one with a single member.
var whole = []request{
	{"POST", "/admin/identities", "application/json", `{"schema_id":"default","traits":{"email":"a@example.org"},"metadata_admin":{"\u0000":1}}`, true},
	{"POST", "/admin/webhooks", "application/json", `{"name":"crm","url":"https://example.org/\u0000","events":["identity.created"]}`, true},
	{"POST", "/admin/webhooks", "application/json", `{"name":"crm","url":"https://example.org/","events":["\u0000"]}`, true},
	{"POST", "/admin/hooks", "application/json", `{"name":"crm","events":["identity.created"],"traits":["e\u0000mail"]}`, true},
	{"POST", "/admin/hooks", "application/json", `{"name":"crm","events":["identity.created"],"traits":["\ud800"]}`, true},
	{"POST", "/admin/dead-letters/discard", "application/json", `{"all":true,"reason":"\u0000"}`, true},
	{"GET", "/admin/identities?credentials_identifier=%00", "", "", true},
	{"GET", "/self-service/registration/browser?return_to=/self-service/%00", "", "", false},
	{"GET", "/self-service/registration/api?%FF=%00&\xff", "", "", false},
	{"GET", "/self-service/login/browser?login_challenge=%00&utm_source=caf%E9", "", "", false},
}

// TestNoTextIsNoServerError: what a database cannot keep is refused before it,
// on every route and whatever the database.
func TestNoTextIsNoServerError(t *testing.T) {
	for _, shape := range []string{"sqlite", "postgres"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, hooks(sessionHook))
			app, admin := newApp(t, s.apis[0]), newApp(t, s.admins[0])
			all := append(described(t), whole...)
			for _, r := range all {
				c := app
				if r.admin {
					c = admin
				}
				header := map[string]string{"Accept": "application/json"}
				if r.kind != "" {
					header["Content-Type"] = r.kind
				}
				if a := c.must(r.method, r.path, header, []byte(r.body)); a.status >= http.StatusInternalServerError {
					t.Errorf("%s %s %q = %d %s", r.method, r.path, r.body, a.status, a.body)
				}
			}
			f, err := app.initAPI()
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{
				"method=password&traits.email=a%00@example.org&password=" + url.QueryEscape(goodPassword),
				"method=password&traits.email=a%FF@example.org&password=" + url.QueryEscape(goodPassword),
				"method=password&traits.email=a@example.org&password=" + url.QueryEscape(goodPassword) + "&transient_payload.%00=1",
			} {
				a := app.must("POST", "/self-service/registration?flow="+f.ID, map[string]string{
					"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded",
				}, []byte(body))
				if a.status/100 != 4 {
					t.Errorf("form %s = %d %s, want it refused", body, a.status, a.body)
				}
			}
			if len(all) < 500 {
				t.Errorf("%d requests, want every string of the document", len(all))
			}
			t.Log(len(all), "requests")
		})
	}
}
