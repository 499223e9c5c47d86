package api_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// badRequest is a line of testdata/bad_requests.jsonl. In path and body stand
// {flow}, {csrf}, {othercsrf} (the token of another flow), {unknown} (an id of
// nothing), {pad:N} (N letters) and {parts:N} (N parts of a multipart form).
type badRequest struct {
	Name    string
	To      string // "native", "browser", "stranger" (a browser without the flow's cookie), "login" and "verification" (an app's), "admin"
	Method  string // POST, if it is not said
	Path    string // the submit of the flow, if it is not said
	Header  map[string]string
	Body    string
	Status  int
	ID      string // of the envelope
	Message int64  // in the flow
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, admin := w.app(), w.admin()
	names := map[string]bool{}
	for _, b := range readBadRequests(t) {
		if names[b.Name] {
			t.Errorf("%s: the name stands twice", b.Name)
		}
		names[b.Name] = true
		c, f := app, shown{}
		switch b.To {
		case "native":
			f = app.nativeFlow()
		case "browser":
			c = w.browser()
			f = c.browserFlow()
		case "stranger":
			c = w.browser()
			f = w.browser().browserFlow()
		case "login", "verification":
			f = app.begin("/self-service/" + b.To)
			b.Path = cmp.Or(b.Path, f.at("/self-service/"+b.To))
		case "admin":
			c = admin
		}
		other := w.browser().browserFlow()
		if b.Path == "" {
			b.Path = f.submit()
		}
		fill := strings.NewReplacer("{flow}", f.ID, "{csrf}", f.csrf(), "{othercsrf}", other.csrf(), "{unknown}", uuid.NewString())
		g := c.send(b, pad(fill.Replace(b.Path)), pad(fill.Replace(b.Body)))
		s := shown{}
		if g.body != "" {
			s = g.shown(t)
		}
		switch {
		case g.status != b.Status:
			t.Errorf("%s: %d %s, want %d", b.Name, g.status, g.body, b.Status)
		case b.Message != 0 && !slices.Contains(s.messages(), b.Message):
			t.Errorf("%s: messages %v, want %d", b.Name, s.messages(), b.Message)
		case b.Message == 0 && (s.Error.Code != b.Status || s.Error.ID != b.ID):
			t.Errorf("%s: %s, want the envelope with %d and id %q", b.Name, g.body, b.Status, b.ID)
		}
	}
	if len(names) < 200 {
		t.Errorf("%d bad requests, want 200 or more", len(names))
	}
	if len(w.identities) != 0 {
		t.Errorf("%d of the bad requests made an identity", len(w.identities))
	}
	if log := w.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("log holds a panic or an error:\n%s", log)
	}
}

func readBadRequests(t testing.TB) (all []badRequest) {
	f, err := os.Open("testdata/bad_requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var b badRequest
		if err := json.Unmarshal(lines.Bytes(), &b); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, b)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// send writes the request by hand: the client of net/http would refuse or mend some.
func (c *client) send(b badRequest, path, body string) got {
	c.t.Helper()
	if b.Method == "" {
		b.Method = http.MethodPost
	}
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n", b.Method, strings.ReplaceAll(path, " ", "%20"))
	if c.http.Jar != nil && b.Header["Cookie"] == "" {
		for name := range c.cookies() {
			fmt.Fprintf(&raw, "Cookie: %s=%s\r\n", name, cookieValue(c, name))
		}
	}
	for name, value := range b.Header {
		fmt.Fprintf(&raw, "%s: %s\r\n", name, value)
	}
	if body != "" || b.Method == http.MethodPost {
		fmt.Fprintf(&raw, "Content-Length: %d\r\n", len(body))
	}
	raw.WriteString("\r\n" + body)
	return c.verified(sent(b, path), c.sendRaw(raw.Bytes(), b.Method))
}

// sent is what an answer is judged by.
func sent(b badRequest, path string) *http.Request {
	r := &http.Request{Method: b.Method, URL: &url.URL{}, Header: http.Header{}}
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(path, "?")
	for name, value := range b.Header {
		r.Header.Set(name, value)
	}
	return r
}

func (c *client) sendRaw(raw []byte, method string) got {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	go conn.Write(raw) // the answer may come before all of it is read
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("%.100q: no answer: %v", raw, err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header, string(body)}
}

var padding = regexp.MustCompile(`\{(pad|parts):(\d+)\}`)

func pad(text string) string {
	return padding.ReplaceAllStringFunc(text, func(place string) string {
		parts := padding.FindStringSubmatch(place)
		n, _ := strconv.Atoi(parts[2])
		if parts[1] == "pad" {
			return strings.Repeat("a", n)
		}
		return strings.Repeat("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n", n) + "--b--\r\n"
	})
}

// TestRawRequests sends what net/http itself refuses: it must stay a 4xx.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	const post = "POST /self-service/registration?flow=00000000-0000-0000-0000-000000000001 HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nConnection: close\r\n"
	for _, raw := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / \x00 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET relative HTTP/1.1\r\nHost: a\r\n\r\n",
		"G ET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
		"GET /sessions/whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Session-Token: \xff\xfe\r\n\r\n",
		"GET /sessions/whoami?\xff\xfe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		post + "Content-Length: -1\r\n\r\n",
		post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
		post + "Content-Length: x\r\n\r\n",
		post + "Transfer-Encoding: gzip\r\n\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
		post + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	} {
		g := c.sendRaw([]byte(raw), "GET")
		if strings.HasPrefix(raw, "OPTIONS *") && g.status == 200 {
			continue // net/http says so for the server as a whole
		}
		if g.status < 400 || g.status > 499 && g.status != 501 && g.status != 505 {
			t.Errorf("%q = %d %s, want a 4xx", raw, g.status, g.body)
		}
	}
	if log := w.log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("log holds an error:\n%s", log)
	}
}
