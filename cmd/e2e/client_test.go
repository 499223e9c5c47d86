package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api/apitest"
)

// client is a person's browser or app.
type client struct {
	t    testing.TB
	base string
	http *http.Client
	// verify holds each answer against the API's description and the rules of all
	// answers. Benchmarks do without: it costs more than what they measure.
	verify bool
}

// newApp is a client without cookies.
func newApp(t testing.TB, base string) *client {
	return &client{
		t: t, base: base, verify: os.Getenv("USHER_BENCH") == "",
		http: &http.Client{Timeout: 30 * time.Second, CheckRedirect: stay},
	}
}

// newBrowser keeps cookies and does not follow redirects by itself.
func newBrowser(t testing.TB, base string) *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newApp(t, base)
	c.http.Jar = jar
	return c
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// json decodes the body; it fails the test when it is none.
func (a *answer) json(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("answer %d %q: %v", a.status, a.body, err)
	}
}

// do sends a request; an error means that no answer came.
func (c *client) do(method, path string, header map[string]string, body []byte) (*answer, error) {
	c.t.Helper()
	target := path
	if strings.HasPrefix(path, "/") {
		target = c.base + path
	}
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	a, err := exchange(c.http, req)
	if err != nil {
		return nil, err
	}
	if c.verify && strings.HasPrefix(target, c.base) {
		apitest.Verify(c.t, apitest.Answer{Method: method, URL: req.URL, Sent: req.Header, Status: a.status, Header: a.header, Body: a.body})
	}
	return a, nil
}

// exchange sends a request and reads the answer to its end.
func exchange(c *http.Client, req *http.Request) (*answer, error) {
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: b}, nil
}

// must is do for requests that have to be answered.
func (c *client) must(method, path string, header map[string]string, body []byte) *answer {
	c.t.Helper()
	a, err := c.do(method, path, header, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

var asJSON = map[string]string{"Accept": "application/json", "Content-Type": "application/json"}

// flowView is what the tests read of a flow.
type flowView struct {
	ID    string `json:"id"`
	State string `json:"state"`
	UI    struct {
		Action   string        `json:"action"`
		Nodes    []nodeView    `json:"nodes"`
		Messages []messageView `json:"messages"`
	} `json:"ui"`
	// ExchangeCode is an app's half of the code for its session.
	ExchangeCode string `json:"session_token_exchange_code"`
}

type nodeView struct {
	Attributes struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	} `json:"attributes"`
	Messages []messageView `json:"messages"`
}

type messageView struct {
	ID int64 `json:"id"`
}

// csrf is the token in the flow's node.
func (f flowView) csrf() string {
	for _, n := range f.UI.Nodes {
		if n.Attributes.Name == "csrf_token" {
			token, _ := n.Attributes.Value.(string)
			return token
		}
	}
	return ""
}

// messages are the ids of all messages, those of nodes too.
func (f flowView) messages() (ids []int64) {
	for _, m := range f.UI.Messages {
		ids = append(ids, m.ID)
	}
	for _, n := range f.UI.Nodes {
		for _, m := range n.Messages {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// registered is what the tests read of a successful answer.
type registered struct {
	SessionToken string       `json:"session_token"`
	Session      *sessionView `json:"session"`
	Identity     struct {
		ID string `json:"id"`
	} `json:"identity"`
	ContinueWith []map[string]any `json:"continue_with"`
}

type sessionView struct {
	ID       string `json:"id"`
	Active   bool   `json:"active"`
	Identity struct {
		ID        string         `json:"id"`
		Traits    map[string]any `json:"traits"`
		Addresses []struct {
			Value    string `json:"value"`
			Verified bool   `json:"verified"`
		} `json:"verifiable_addresses"`
	} `json:"identity"`
	Methods []struct {
		Method   string `json:"method"`
		Provider string `json:"provider"`
	} `json:"authentication_methods"`
}

var people atomic.Int64

// newAddress is an address that no other person of this run has.
func newAddress() string { return fmt.Sprintf("person-%d@example.org", people.Add(1)) }

const goodPassword = "a long enough secret 7"

func submission(csrf, address, password string) []byte {
	b, err := json.Marshal(map[string]any{
		"method": "password", "password": password, "csrf_token": csrf,
		"traits": map[string]any{"email": address},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// initAPI begins a native flow.
func (c *client) initAPI() (f flowView, err error) {
	a, err := c.do("GET", "/self-service/registration/api", nil, nil)
	if err != nil {
		return f, err
	}
	if a.status != http.StatusOK {
		return f, fmt.Errorf("init: %d %s", a.status, a.body)
	}
	return f, json.Unmarshal(a.body, &f)
}

// submit posts a registration to a flow, at this client's base.
func (c *client) submit(flowID string, body []byte) (*answer, error) {
	return c.do("POST", "/self-service/registration?flow="+flowID, asJSON, body)
}

// register makes a person as an app would; it fails the test when that does not succeed.
func (c *client) register(address string) registered {
	c.t.Helper()
	f, err := c.initAPI()
	if err != nil {
		c.t.Fatal(err)
	}
	a, err := c.submit(f.ID, submission("", address, goodPassword))
	if err != nil {
		c.t.Fatal(err)
	}
	if a.status != http.StatusOK {
		c.t.Fatalf("register %s: %d %s", address, a.status, a.body)
	}
	var r registered
	a.json(c.t, &r)
	return r
}

// whoami asks with a token, or with the cookie when it is empty.
func (c *client) whoami(token string) (int, sessionView) {
	c.t.Helper()
	header := map[string]string{}
	if token != "" {
		header["X-Session-Token"] = token
	}
	a := c.must("GET", "/sessions/whoami", header, nil)
	var s sessionView
	if a.status == http.StatusOK {
		a.json(c.t, &s)
	}
	return a.status, s
}

// browserFlow begins a browser flow as a script would, which asks for JSON.
func (c *client) browserFlow() flowView {
	c.t.Helper()
	a := c.must("GET", "/self-service/registration/browser", map[string]string{"Accept": "application/json"}, nil)
	if a.status != http.StatusOK {
		c.t.Fatalf("init browser: %d %s", a.status, a.body)
	}
	var f flowView
	a.json(c.t, &f)
	return f
}

// form posts a registration as a page would.
func (c *client) form(f flowView, address string) *answer {
	c.t.Helper()
	values := url.Values{"method": {"password"}, "password": {goodPassword}, "csrf_token": {f.csrf()}, "traits.email": {address}}
	return c.must("POST", "/self-service/registration?flow="+f.ID, map[string]string{
		"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded",
		"Origin": c.base, "Sec-Fetch-Site": "same-origin",
	}, []byte(values.Encode()))
}
