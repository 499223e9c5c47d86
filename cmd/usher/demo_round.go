package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/events"
)

// demoBody is the Jsonnet body of the demo's hook.
const demoBody = "base64://ZnVuY3Rpb24oY3R4KSB7IGlkZW50aXR5OiBjdHguaWRlbnRpdHkuaWQsIGVtYWlsOiBjdHguaWRlbnRpdHkudHJhaXRzLmVtYWlsIH0="

// demoEndpoint is the other side of the demo's background hook.
type demoEndpoint struct {
	URL    string
	server *http.Server
	mu     sync.Mutex
	called map[string]time.Time // by identity
}

func newDemoEndpoint(ctx context.Context) (*demoEndpoint, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &demoEndpoint{URL: "http://" + l.Addr().String() + "/welcome", called: map[string]time.Time{}}
	e.server = &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = e.server.Serve(l) }() // ends with Close
	return e, nil
}

func (e *demoEndpoint) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body struct {
		Identity string `json:"identity"`
	}
	if json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&body) == nil {
		e.mu.Lock()
		e.called[body.Identity] = time.Now()
		e.mu.Unlock()
	}
}

func (e *demoEndpoint) calledFor(identity string) (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.called[identity]
	return t, ok
}

// Close ends the endpoint.
func (e *demoEndpoint) Close() { _ = e.server.Close() }

// demoRound registers two people and shows what it sees.
type demoRound struct {
	out      io.Writer
	at       app.Addresses
	endpoint *demoEndpoint
}

func (d *demoRound) play(ctx context.Context) error {
	if err := d.asApp(ctx); err != nil {
		return fmt.Errorf("register as an app: %w", err)
	}
	if err := d.asBrowser(ctx); err != nil {
		return fmt.Errorf("register as a browser: %w", err)
	}
	if err := d.comesBack(ctx); err != nil {
		return fmt.Errorf("come back: %w", err)
	}
	return nil
}

// asApp registers by the native flow: the answer carries the token.
func (d *demoRound) asApp(ctx context.Context) error {
	c := &demoClient{base: d.at.Public}
	fmt.Fprint(d.out, "\nAs an app would: a native flow\n")
	var flow struct{ ID string }
	if err := c.json(ctx, "GET", "/self-service/registration/api", nil, nil, &flow); err != nil {
		return err
	}
	began := time.Now()
	var answer struct {
		SessionToken string          `json:"session_token"`
		Session      json.RawMessage `json:"session"`
		Identity     struct{ ID string }
	}
	body, err := json.Marshal(map[string]any{
		"method": "password", "password": demoPassword,
		"traits": map[string]any{"email": "app@example.org"},
	})
	if err != nil {
		return err
	}
	path := "/self-service/registration?flow=" + flow.ID
	if err := c.json(ctx, "POST", path, http.Header{"Content-Type": {"application/json"}}, body, &answer); err != nil {
		return err
	}
	if answer.SessionToken == "" || answer.Session == nil {
		return errors.New("the answer carries no session")
	}
	fmt.Fprintf(d.out, "  POST %s → 200 after %s\n    session_token: %s\n    session: %.120s…\n    identity: %s\n",
		path, since(began), answer.SessionToken, answer.Session, answer.Identity.ID)
	if err := d.whoami(ctx, c, http.Header{"X-Session-Token": {answer.SessionToken}}, answer.Identity.ID); err != nil {
		return err
	}
	return d.tree(ctx, answer.Identity.ID, began)
}

// asBrowser registers by a form post: the answer is a redirect with a cookie.
func (d *demoRound) asBrowser(ctx context.Context) error {
	c := &demoClient{base: d.at.Public}
	c.http.Jar, _ = cookiejar.New(nil) // fails never without options
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	fmt.Fprint(d.out, "\nAs a browser would: a form\n")
	var flow struct {
		ID string
		UI struct {
			Nodes []struct{ Attributes struct{ Name, Value any } }
		}
	}
	if err := c.json(ctx, "GET", "/self-service/registration/browser", http.Header{"Accept": {"application/json"}}, nil, &flow); err != nil {
		return err
	}
	form := url.Values{"method": {"password"}, "password": {demoPassword}, "traits.email": {"browser@example.org"}}
	for _, n := range flow.UI.Nodes {
		if n.Attributes.Name == "csrf_token" {
			form.Set("csrf_token", fmt.Sprint(n.Attributes.Value))
		}
	}
	began := time.Now()
	path := "/self-service/registration?flow=" + flow.ID
	answer, err := c.do(ctx, "POST", path, http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"text/html"},
		"Origin": {d.at.Public}, "Sec-Fetch-Site": {"same-origin"},
	}, []byte(form.Encode()))
	if err != nil {
		return err
	}
	if answer.status != http.StatusSeeOther {
		return fmt.Errorf("POST %s: %d, want 303", path, answer.status)
	}
	fmt.Fprintf(d.out, "  POST %s → 303 after %s\n    Location: %s\n", path, since(began), answer.header.Get("Location"))
	for _, cookie := range answer.header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "ory_kratos_session=") {
			fmt.Fprintf(d.out, "    Set-Cookie: %.60s…\n", cookie)
		}
	}
	var who struct{ Identity struct{ ID string } }
	if err := c.json(ctx, "GET", "/sessions/whoami", nil, nil, &who); err != nil {
		return err
	}
	if err := d.whoami(ctx, c, nil, who.Identity.ID); err != nil {
		return err
	}
	return d.tree(ctx, who.Identity.ID, began)
}

func (d *demoRound) whoami(ctx context.Context, c *demoClient, header http.Header, identity string) error {
	var who struct {
		ID       string
		Active   bool
		Identity struct {
			ID     string
			Traits json.RawMessage
		}
	}
	if err := c.json(ctx, "GET", "/sessions/whoami", header, nil, &who); err != nil {
		return err
	}
	if !who.Active || who.Identity.ID != identity {
		return fmt.Errorf("whoami says %+v, want an active session of %s", who, identity)
	}
	fmt.Fprintf(d.out, "  GET /sessions/whoami → session %s is active, traits %s\n", who.ID, who.Identity.Traits)
	return nil
}

// tree prints the events of an identity and the hook as they come, with the
// time since the submit.
func (d *demoRound) tree(ctx context.Context, identity string, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	fmt.Fprintln(d.out, "  what happened behind the answer:")
	f := filter{subject: identity}
	c := &adminClient{base: d.at.Admin}
	want := map[string]bool{"identity.created": true, "session.issued": true}
	err := f.tail(ctx, c, "", 200*time.Millisecond, func(page eventPage) error {
		for _, raw := range page.Events {
			e, err := events.Decode(raw)
			if err != nil {
				return err
			}
			fmt.Fprintf(d.out, "  ├─ %-22s committed after %7s, in the log and on the stream\n", e.Type, e.Time.Sub(began).Round(100*time.Microsecond))
			delete(want, e.Type)
		}
		if at, ok := d.endpoint.calledFor(identity); ok && len(want) == 0 {
			fmt.Fprintf(d.out, "  └─ web_hook welcome-mail called after %7s, from identity.created\n", at.Sub(began).Round(100*time.Microsecond))
			return errDone
		}
		return nil
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return fmt.Errorf("events still missing: %v, hook called: %t: %w", want, len(want) == 0, err)
}

var errDone = errors.New("all has been seen")

// demoClient is a small HTTP client.
type demoClient struct {
	base string
	http http.Client
}

func (c *demoClient) do(ctx context.Context, method, path string, header http.Header, body []byte) (*demoAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return &demoAnswer{resp.StatusCode, resp.Header, body}, err
}

// demoAnswer is a response, read to its end.
type demoAnswer struct {
	status int
	header http.Header
	body   []byte
}

// json wants 200 and decodes the body.
func (c *demoClient) json(ctx context.Context, method, path string, header http.Header, body []byte, v any) error {
	a, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return json.Unmarshal(a.body, v)
}
