package api_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// settled answers every submit with the same person; its times and ids never change.
type settled struct{ withSession bool }

func (s settled) Register(_ context.Context, in registration.Submit) (*registration.Result, error) {
	id := uuid.MustParse("1b4e28ba-2fa1-41d2-883f-0016d3cca427")
	r := &registration.Result{FlowType: in.Flow.Type, ReturnTo: in.Flow.ReturnTo, Identity: &identity.Identity{
		ID: id, SchemaID: "person", State: identity.Active, StateChangedAt: noon,
		Traits: json.RawMessage(`{"email": "Anna@example.org", "name": {"first": "<&>"}}`),
		Addresses: []identity.Address{{
			ID: uuid.MustParse("2b4e28ba-2fa1-41d2-883f-0016d3cca427"), Via: "email", Value: "anna@example.org", Verifiable: true, Recovery: true, Identifier: true,
			Status: identity.AddressPending, CreatedAt: noon, UpdatedAt: noon,
		}},
		MetadataAdmin: json.RawMessage(`{"hidden":true}`),
		Credentials:   []identity.Credential{{Type: "password", Identifiers: []string{"anna@example.org"}, Config: json.RawMessage(`{"hidden":true}`)}},
		CreatedAt:     noon, UpdatedAt: noon.Truncate(time.Second),
	}}
	if !s.withSession {
		return r, nil
	}
	prefix := session.NativePrefix
	if in.Flow.Type == flow.Browser {
		prefix = session.BrowserPrefix
	}
	r.Token, _ = session.ParseToken(prefix + strings.Repeat("Token0", 6)[:32])
	r.Session = &session.Session{
		ID: uuid.MustParse("3b4e28ba-2fa1-41d2-883f-0016d3cca427"), IdentityID: id, AAL: "aal1",
		Methods:         []session.Method{{Method: "password", AAL: "aal1", CompletedAt: noon}},
		Devices:         []session.Device{{ID: uuid.MustParse("4b4e28ba-2fa1-41d2-883f-0016d3cca427"), Address: "127.0.0.1:1234", UserAgent: "golden"}},
		AuthenticatedAt: noon, IssuedAt: noon, ExpiresAt: noon.Add(24 * time.Hour),
	}
	return r, nil
}

func (s settled) Repeat(ctx context.Context, in registration.Submit) (*registration.Result, error) {
	return s.Register(ctx, in)
}

func (settled) Judge(registration.Submit) error { return nil }

// TestAnswersByteForByte: the answers to a submit, in all three shapes, with
// and without a session.
func TestAnswersByteForByte(t *testing.T) {
	t.Parallel()
	for _, withSession := range []bool{true, false} {
		w := newWorld(t, func(w *world) {
			w.inForce.Registration = settled{withSession}
			w.options.Now = func() time.Time { return noon }
		})
		app, script, page := w.app(), w.browser(), w.browser()
		scripted, paged := script.browserFlow("?return_to=http://127.0.0.1:4455/a%3Fx=1%26y"), page.browserFlow()
		for shape, g := range map[string]got{
			"native": app.postJSON(app.nativeFlow().submit(), submitBody("", "a@example.org", goodPassword), "X-Request-Id", "golden"),
			"script": script.postJSON(scripted.submit(), submitBody(scripted.csrf(), "a@example.org", goodPassword), "X-Request-Id", "golden"),
			"page":   page.postForm(paged.submit(), submitForm(paged.csrf(), "a@example.org", goodPassword), "X-Request-Id", "golden"),
		} {
			name := fmt.Sprintf("testdata/answer_%s_%v.golden", shape, map[bool]string{true: "session", false: "plain"}[withSession])
			compareGolden(t, name, written(g))
		}
	}
}

// TestWhoamiByteForByte also shows what whoami says of nobody.
func TestWhoamiByteForByte(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.options.Now = func() time.Time { return noon } })
	result, _ := settled{true}.Register(t.Context(), registration.Submit{Flow: &flow.Flow{Type: flow.API}})
	w.sessions[result.Token.Digest()] = who(result)
	c := w.app()
	compareGolden(t, "testdata/whoami.golden", written(c.get("/sessions/whoami", "X-Request-Id", "golden", "X-Session-Token", result.Token.Reveal())))
	compareGolden(t, "testdata/whoami_nobody.golden", written(c.get("/sessions/whoami", "X-Request-Id", "golden")))
}

var random = regexp.MustCompile(`(ory_kratos_session|csrf_token_[0-9a-f]{64})=[\w-]+`)

// written is an answer as text, its headers in order.
func written(g got) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", g.status)
	g.header.Del("Date")
	for _, name := range slices.Sorted(maps.Keys(g.header)) {
		for _, value := range g.header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, random.ReplaceAllString(value, "$1=…"))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", g.body)
	return b.String()
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: answer is\n%s\nwant\n%s", name, got, want)
	}
}
