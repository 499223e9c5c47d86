package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/usher-auth/usher/services/api/apitest"
	"github.com/usher-auth/usher/services/flow"
)

// client is one browser or app.
type client struct {
	t        testing.TB
	http     *http.Client
	base     string
	listener apitest.Listener
	foreign  bool // a handler of the test's own may answer
}

// browser has a cookie jar, an app has none. Redirects are looked at, not followed.
func (w *world) browser() *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.app()
	c.http.Jar = jar
	return c
}

func (w *world) app() *client { return w.client(apitest.Public, w.public()) }

func (w *world) admin() *client { return w.client(apitest.Admin, w.adminBase()) }

// serve starts a listener of the world.
func (w *world) serve(handler func() http.Handler) func() string {
	return sync.OnceValue(func() string {
		srv := httptest.NewServer(handler())
		w.t.Cleanup(srv.Close)
		return srv.URL
	})
}

func (w *world) client(l apitest.Listener, base string) *client {
	return &client{t: w.t, base: base, listener: l, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// got is an answer.
type got struct {
	status int
	header http.Header
	body   string
}

func (c *client) do(method, path, body string, header ...string) got {
	c.t.Helper()
	r, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for n := 0; n+1 < len(header); n += 2 {
		r.Header.Set(header[n], header[n+1])
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answered, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.verified(r, got{resp.StatusCode, resp.Header, string(answered)})
}

// verified holds an answer against the API's description and the rules of all answers.
func (c *client) verified(r *http.Request, g got) got {
	c.t.Helper()
	if !c.foreign {
		apitest.Verify(c.t, apitest.Answer{
			Listener: c.listener, Method: r.Method, URL: r.URL, Sent: r.Header,
			Status: g.status, Header: g.header, Body: []byte(g.body),
		})
	}
	return g
}

func (c *client) get(path string, header ...string) got { return c.do("GET", path, "", header...) }

func (c *client) postJSON(path, body string, header ...string) got {
	return c.do("POST", path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

func (c *client) postForm(path string, form url.Values, header ...string) got {
	return c.do("POST", path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html"}, header...)...)
}

// shown is what tests look at in a flow or an envelope.
type shown struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Active   string `json:"active"`
	ReturnTo string `json:"return_to"`
	UI       struct {
		Action   string
		Messages []flow.Message
		Nodes    []struct {
			Attributes struct {
				Name  string
				Value any
			}
			Messages []flow.Message
		}
	} `json:"ui"`
	Error struct {
		ID      string
		Code    int
		Reason  string
		Request string
		Details map[string]any
	} `json:"error"`
	UseFlowID string `json:"use_flow_id"`
	ExpiredAt string `json:"expired_at"`
	Since     int64  `json:"since"`
}

func (g got) shown(t testing.TB) (s shown) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.body), &s); err != nil {
		t.Fatalf("answer %d is no JSON: %v\n%s", g.status, err, g.body)
	}
	return s
}

// messages are the ids of all messages of a flow.
func (s shown) messages() (ids []int64) {
	for _, m := range s.UI.Messages {
		ids = append(ids, m.ID)
	}
	for _, n := range s.UI.Nodes {
		for _, m := range n.Messages {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (s shown) csrf() string {
	for _, n := range s.UI.Nodes {
		if n.Attributes.Name == "csrf_token" {
			text, _ := n.Attributes.Value.(string)
			return text
		}
	}
	return ""
}

const (
	routeRegistration = "/self-service/registration"
	goodPassword      = "correct horse battery"
)

func (c *client) nativeFlow(query ...string) shown {
	c.t.Helper()
	g := c.get(routeRegistration + "/api" + strings.Join(query, ""))
	if g.status != 200 {
		c.t.Fatalf("init api = %d %s, want 200", g.status, g.body)
	}
	return g.shown(c.t)
}

func (c *client) browserFlow(query ...string) shown {
	c.t.Helper()
	g := c.get(routeRegistration+"/browser"+strings.Join(query, ""), "Accept", "application/json")
	if g.status != 200 {
		c.t.Fatalf("init browser = %d %s, want 200", g.status, g.body)
	}
	return g.shown(c.t)
}

func submitBody(csrf, email, password string) string {
	body, _ := json.Marshal(map[string]any{"method": "password", "csrf_token": csrf, "password": password, "traits": map[string]any{"email": email}})
	return string(body)
}

func submitForm(csrf, email, password string) url.Values {
	return url.Values{"method": {"password"}, "csrf_token": {csrf}, "password": {password}, "traits.email": {email}}
}

func (s shown) submit() string { return routeRegistration + "?flow=" + s.ID }
