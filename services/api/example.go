package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

// Example is one answer, as a client receives it. What is secret in a real one, and
// what nobody could know before, is made up, the same each time.
type Example struct {
	FlowType flow.Type
	// Client is who receives it: "app", "browser (script)" or "browser (page)".
	Client string
	// Fields are those of the body, in its order; what continue_with holds stands
	// behind it as "continue_with: <action>".
	Fields []string
	// Cookies are the names of those that it sets.
	Cookies []string
	// Text is the answer: status line, the headers that tell something, body.
	Text string
}

// Registered says which registration the examples are of.
type Registered struct {
	Method   string
	Provider string // of social sign-in
	Schema   *identity.Schema
	// Session says that it ends with one, which lasts for Lifespan.
	Session  bool
	Lifespan time.Duration
	// Verification is how long the verification flow lasts that it opens, 0 for none;
	// ShowVerification says that the answer leads there.
	Verification     time.Duration
	ShowVerification bool
}

// exampleTime is when examples happen.
var exampleTime = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// exampleToken is one that nobody has.
const exampleToken = "EXAMPLEexampleEXAMPLEexample0000"

// exampleID is an id of examples that says that it is one.
func exampleID(n int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
}

// exampleClients are those whose answers differ.
var exampleClients = []struct {
	name string
	kind flow.Type
	page bool
}{
	{"app", flow.API, false},
	{"browser (script)", flow.Browser, false},
	{"browser (page)", flow.Browser, true},
}

// Examples gives what each kind of client receives at the end of a registration,
// made by the code that answers one. Where registration is off it is what they
// receive instead of a flow.
func (c *Compiled) Examples(of Registered) ([]Example, error) {
	var all []Example
	for _, client := range exampleClients {
		answer := exampleAnswer(c, func(s *Server, x *exchange) error {
			x.page = client.page
			if !c.Registration.Enabled {
				_, err := x.asked(flow.Registration, client.kind)
				return err
			}
			result, err := of.result(client.kind)
			if err != nil {
				return err
			}
			if of.Method == identity.MethodOIDC {
				return s.greetProven(x, client.kind, result, csrfSecret{})
			}
			return s.greet(x, result, of.Method, csrfSecret{})
		})
		e := Example{FlowType: client.kind, Client: client.name}
		if err := e.read(answer); err != nil {
			return nil, fmt.Errorf("example of %s for %s: %w", of.Method, client.name, err)
		}
		all = append(all, e)
	}
	return all, nil
}

// exampleAnswer is what the public listener makes of an action.
func exampleAnswer(c *Compiled, answer func(*Server, *exchange) error) *exampleWriter {
	s := New(Options{
		Current:       func() InForce { return InForce{Settings: c} },
		PublicOptions: PublicOptions{Errors: noErrors{}},
		Log:           slog.New(slog.DiscardHandler),
		Now:           func() time.Time { return exampleTime },
	})
	e := &endpoint{server: s, route: "example", kind: public, methods: every(func(x *exchange) error { return answer(s, x) })}
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: route(flow.Registration)}, Header: http.Header{"X-Request-Id": {exampleID(1).String()}}}
	w := &exampleWriter{header: http.Header{}}
	e.ServeHTTP(w, r)
	return w
}

// exampleWriter keeps an answer.
type exampleWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is for [http.ResponseWriter].
func (w *exampleWriter) Header() http.Header { return w.header }

// WriteHeader is for [http.ResponseWriter].
func (w *exampleWriter) WriteHeader(status int) { w.status = status }

// Write is for [http.ResponseWriter].
func (w *exampleWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

// noErrors keeps no error for its page.
type noErrors struct{}

// SaveError is for [Errors].
func (noErrors) SaveError(context.Context, uuid.UUID, json.RawMessage) error { return nil }

// SavedError is for [Errors].
func (noErrors) SavedError(context.Context, uuid.UUID) (json.RawMessage, time.Time, error) {
	return nil, time.Time{}, flow.ErrNotFound
}

// result is what the use case would give for a person who is made up.
func (of Registered) result(t flow.Type) (*registration.Result, error) {
	i, err := of.person()
	if err != nil {
		return nil, err
	}
	r := &registration.Result{Identity: i, FlowType: t}
	if pending, verified := i.Verifiable(); of.Verification > 0 && pending != nil && !verified {
		r.Verification = flow.NewVerification(flow.Flow{Type: t}, pending.Value, flow.MethodCode, exampleTime, of.Verification)
		r.Verification.ID = exampleID(5)
		r.VerificationAddress, r.ShowVerification = pending.Value, of.ShowVerification
	}
	if !of.Session {
		return r, nil
	}
	prefix := session.NativePrefix
	if t == flow.Browser {
		prefix = session.BrowserPrefix
	}
	if r.Token, err = session.ParseToken(prefix + exampleToken); err != nil {
		return nil, err
	}
	r.Session = &session.Session{
		ID: exampleID(3), IdentityID: i.ID, AAL: session.AAL1,
		Methods:         []session.Method{{Method: of.Method, AAL: session.AAL1, Provider: of.Provider, CompletedAt: exampleTime}},
		Devices:         []session.Device{{ID: exampleID(4), Address: "192.0.2.1", UserAgent: "Example/1.0"}},
		AuthenticatedAt: exampleTime, IssuedAt: exampleTime, ExpiresAt: exampleTime.Add(of.Lifespan),
	}
	return r, nil
}

// person is somebody with all traits that people enter.
func (of Registered) person() (*identity.Identity, error) {
	tree := map[string]any{}
	for _, f := range of.Schema.Fields() {
		at, path := tree, strings.Split(strings.TrimPrefix(f.Name, "traits."), ".")
		for _, name := range path[:len(path)-1] {
			inner, ok := at[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[name] = inner
			}
			at = inner
		}
		at[path[len(path)-1]] = exampleTrait(f)
	}
	traits, err := encode(tree)
	if err != nil {
		return nil, err
	}
	i := &identity.Identity{
		ID: exampleID(2), SchemaID: of.Schema.ID(), State: identity.Active, Traits: traits,
		StateChangedAt: exampleTime, CreatedAt: exampleTime, UpdatedAt: exampleTime,
	}
	i.Addresses, _ = of.Schema.Extract(traits)
	for n := range i.Addresses {
		a := &i.Addresses[n]
		a.ID, a.Status, a.CreatedAt, a.UpdatedAt = exampleID(10+n), identity.AddressPending, exampleTime, exampleTime
	}
	return i, nil
}

// exampleTrait is what somebody might enter.
func exampleTrait(f identity.Field) any {
	switch {
	case len(f.Enum) > 0:
		return f.Enum[0]
	case strings.HasSuffix(f.Name, "first"):
		return "Ann"
	}
	switch f.Type {
	case "number":
		return 42
	case "checkbox":
		return true
	case "email":
		return "ann@example.org"
	case "tel":
		return "+15550100"
	case "url":
		return "https://example.org/ann"
	case "date":
		return "1990-01-02"
	case "datetime-local":
		return "1990-01-02T03:04:05Z"
	}
	return "Example"
}

// toldHeaders are those of an example, in this order.
var toldHeaders = []string{"Content-Type", "Cache-Control", "Location", "Set-Cookie"}

// read takes an example from an answer. Values of cookies are sealed: they are made
// up altogether.
func (e *Example) read(answer *exampleWriter) error {
	e.Fields, e.Cookies = []string{}, []string{}
	var text bytes.Buffer
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\n", answer.status, http.StatusText(answer.status))
	for _, name := range toldHeaders {
		for _, value := range answer.header.Values(name) {
			fmt.Fprintf(&text, "%s: %s\n", name, e.madeUp(name, value))
		}
	}
	if body := answer.body.Bytes(); len(body) > 0 {
		var err error
		if e.Fields, err = bodyFields(body); err != nil {
			return err
		}
		text.WriteString("\n")
		if err := json.Indent(&text, body, "", "  "); err != nil {
			return err
		}
	}
	e.Text = text.String()
	return nil
}

// madeUp is the value of a header without what is secret, or another each time.
func (e *Example) madeUp(name, value string) string {
	switch name {
	case "Location":
		return exampleLocation(value)
	case "Set-Cookie":
		cookie, rest, _ := strings.Cut(value, "=")
		_, attributes, _ := strings.Cut(rest, ";")
		e.Cookies = append(e.Cookies, cookie)
		return cookie + "=EXAMPLE;" + attributes
	}
	return value
}

// exampleLocation makes up the id of an error in a URL, which is another each time.
func exampleLocation(to string) string {
	u, err := url.Parse(to)
	if err != nil || !u.Query().Has("id") {
		return to
	}
	query := u.Query()
	query.Set("id", exampleID(6).String())
	u.RawQuery = query.Encode()
	return u.String()
}

// bodyFields are the names of an object's members in their order.
func bodyFields(body []byte) (fields []string, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if _, err = d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		fields = append(fields, fmt.Sprint(name))
		if name != "continue_with" {
			continue
		}
		var next []continuation
		if err := json.Unmarshal(value, &next); err != nil {
			return nil, err
		}
		for _, n := range next {
			fields = append(fields, "continue_with: "+n.Action)
		}
	}
	return fields, nil
}
