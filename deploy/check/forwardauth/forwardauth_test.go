package forwardauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/deploy/check/checkout"
)

const file = "deploy/nginx/forward-auth.conf"

// setup is nginx, Usher and an application behind it, for one test.
type setup struct {
	url   string // nginx's
	usher *exec.Cmd
}

// start starts all of it, with the configuration that change makes of the file.
func start(t *testing.T, change func(string) string) setup {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no nginx: .ci/run installs nginx-light")
		}
		t.Skip("no nginx on this machine: install nginx-light")
	}
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.RequestURI(), "headers": r.Header})
	}))
	t.Cleanup(application.Close)
	front, public, admin := free(t), free(t), free(t)
	s := setup{url: "http://" + front, usher: startUsher(t, front, public, admin)}

	text := change(checkout.Read(t, file))
	for from, to := range map[string]string{
		"127.0.0.1:4433": public, "127.0.0.1:4443": public,
		"127.0.0.1:3000": application.Listener.Addr().String(), "127.0.0.1:8000": front,
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("%s has no %s any more", file, from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	startNginx(t, text, front)
	return s
}

func startUsher(t *testing.T, front, public, admin string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	_, publicPort, _ := net.SplitHostPort(public)
	_, adminPort, _ := net.SplitHostPort(admin)
	config := fmt.Sprintf(`
serve:
  public: {base_url: "http://%[1]s/", host: 127.0.0.1, port: %[2]s}
  admin: {port: %[3]s}
  trusted_proxies: [127.0.0.1]
selfservice: {allowed_return_urls: ["http://%[1]s/"]}
console: {setup_link: false}
bus: {listen: %[4]q}
`, front, publicPort, adminPort, free(t))
	if err := os.WriteFile(filepath.Join(dir, "usher.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(checkout.Usher(t), "serve", "--dev", "-c", "usher.yaml")
	c.Dir = dir
	run(t, c)
	wait(t, "http://"+public+"/health/ready")
	return c
}

func startNginx(t *testing.T, text, front string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Places that may be written to without being root.
	var places string
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		places += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	text = strings.Replace(text, "http {", "http {\naccess_log off;\n"+places, 1)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("nginx", "-p", dir, "-c", path, "-e", "stderr", "-g", "daemon off; master_process off; pid "+filepath.Join(dir, "pid")+";"))
	for range 200 {
		if c, err := net.Dial("tcp", front); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("nginx does not listen")
}

// run starts a program that ends with the test, and shows what it said if that failed.
func run(t *testing.T, c *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", c.Args[0], said.String())
		}
	})
}

func wait(t *testing.T, url string) {
	t.Helper()
	for range 600 {
		if r, err := http.Get(url); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not say 200", url)
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// client is a browser or an app: it keeps cookies, and follows nothing.
func client(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type answer struct {
	status   int
	body     []byte
	header   http.Header
	location string
}

func ask(t *testing.T, c *http.Client, method, url string, body any, header ...string) answer {
	t.Helper()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, text, got.Header, got.Header.Get("Location")}
}

// identity is whom the application believes it speaks with.
func (a answer) identity(t *testing.T) string {
	t.Helper()
	var seen struct{ Headers http.Header }
	if a.status != http.StatusOK || json.Unmarshal(a.body, &seen) != nil {
		t.Fatalf("the application was not reached: %d %s", a.status, a.body)
	}
	return strings.Join(seen.Headers.Values("X-Identity-Id"), ",")
}

// leaks says whether the application got something of the person's session.
func (a answer) leaks(secret string) bool {
	return secret == "" || bytes.Contains(a.body, []byte(secret))
}

const sessionCookie = "ory_kratos_session"

// sessionOf is the value of the cookie that a browser sends there.
func sessionOf(t *testing.T, c *http.Client, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range c.Jar.Cookies(u) {
		if one.Name == sessionCookie {
			return one.Value
		}
	}
	t.Fatalf("the browser has no cookie %s", sessionCookie)
	return ""
}

var csrf = regexp.MustCompile(`"name":"csrf_token","type":"hidden","value":"([^"]*)"`)

type registered struct {
	SessionToken string `json:"session_token"`
	Identity     struct{ ID string }
}

// register registers through nginx, in a browser's script or as an app.
func register(t *testing.T, s setup, c *http.Client, kind string) registered {
	t.Helper()
	begun := ask(t, c, "GET", s.url+"/self-service/registration/"+kind, nil)
	var flow struct {
		UI struct{ Action string }
	}
	if err := json.Unmarshal(begun.body, &flow); err != nil {
		t.Fatalf("begin: %d %s", begun.status, begun.body)
	}
	form := map[string]any{"method": "password", "traits": map[string]any{"email": kind + "@example.org"}, "password": "correct horse battery"}
	if token := csrf.FindSubmatch(begun.body); token != nil {
		var text string
		if err := json.Unmarshal([]byte(`"`+string(token[1])+`"`), &text); err != nil {
			t.Fatal(err)
		}
		form["csrf_token"] = text
	}
	got := ask(t, c, "POST", flow.UI.Action, form)
	var r registered
	if err := json.Unmarshal(got.body, &r); got.status != http.StatusOK || err != nil || r.Identity.ID == "" {
		t.Fatalf("register: %d %s", got.status, got.body)
	}
	return r
}

const html = "text/html,application/xhtml+xml"

func TestBrowser(t *testing.T) {
	t.Parallel()
	s := start(t, func(text string) string { return text })
	c := client(t)

	led := ask(t, c, "GET", s.url+"/orders?page=2", nil, "Accept", html)
	if want := s.url + "/self-service/login/browser?return_to=" + s.url + "/orders?page=2"; led.status != 303 || led.location != want {
		t.Fatalf("a page without a session: %d %q, want 303 to %q", led.status, led.location, want)
	}
	// Usher takes that return_to.
	login := ask(t, c, "GET", led.location, nil, "Accept", html)
	if u, err := url.Parse(login.location); login.status != 303 || err != nil || u.Path != "/ui/login" {
		t.Errorf("the login: %d %q, want 303 to /ui/login", login.status, login.location)
	}
	for address, back := range map[string]string{"/a?b=1&c=2": "/a", "/a%26b": "/a", "/": "/", "/x?evil=1&refresh=true": "/x"} {
		led := ask(t, c, "GET", s.url+address, nil, "Accept", html)
		if want := s.url + "/self-service/login/browser?return_to=" + s.url + back; led.location != want {
			t.Errorf("%s leads to %q, want %q", address, led.location, want)
		}
	}

	person := register(t, s, c, "browser")
	if got := ask(t, c, "GET", s.url+"/orders", nil).identity(t); got != person.Identity.ID {
		t.Errorf("the application got %q, want %q", got, person.Identity.ID)
	}
	forged := ask(t, c, "GET", s.url+"/orders", nil, "X-Identity-Id", "root", "X_Identity_Id", "root", "X-Kratos-Authenticated-Identity-Id", "root")
	if got := forged.identity(t); got != person.Identity.ID || bytes.Contains(forged.body, []byte("root")) {
		t.Errorf("with forged headers the application got %s", forged.body)
	}
	theSession(t, s, c)
	// A write goes through with its body, and is decided without it.
	if got := ask(t, c, "POST", s.url+"/orders", map[string]int{"amount": 1}).identity(t); got != person.Identity.ID {
		t.Errorf("POST: the application got %q", got)
	}

	var logout struct {
		URL string `json:"logout_url"`
	}
	if a := ask(t, c, "GET", s.url+"/self-service/logout/browser", nil); json.Unmarshal(a.body, &logout) != nil || logout.URL == "" {
		t.Fatalf("logout: %d %s", a.status, a.body)
	}
	ask(t, c, "GET", logout.URL, nil)
	if a := ask(t, c, "GET", s.url+"/orders", nil); a.status != 401 {
		t.Errorf("after the logout: %d, want 401", a.status)
	}
	if a := ask(t, c, "GET", s.url+"/orders", nil, "Accept", html); a.status != 303 {
		t.Errorf("a page after the logout: %d, want 303", a.status)
	}
}

// theSession sees that the application gets all cookies but that of the session,
// wherever it stands among the others.
func theSession(t *testing.T, s setup, c *http.Client) {
	t.Helper()
	session := sessionOf(t, c, s.url)
	plain := &http.Client{Timeout: 10 * time.Second}
	whole := sessionCookie + "=" + session
	for sent, want := range map[string]string{
		whole:                                     "",
		whole + "; a=1; b=2":                      "a=1; b=2",
		"a=1; " + whole + "; b=2":                 "a=1;b=2",
		"a=1; b=2; " + whole:                      "a=1; b=2;",
		"a=1;" + whole + ";b=2":                   "a=1;b=2",
		"x" + whole + "x; " + whole:               "x" + whole + "x;", // the name of another cookie
		whole + "; a=1; " + whole:                 "",                 // nothing rather than half of it
		whole + "; " + sessionCookie:              sessionCookie,
		"a=1;\t" + whole:                          "a=1;",
		sessionCookie + "\t=" + session + "; a=1": "a=1",
	} {
		got := ask(t, plain, "GET", s.url+"/orders", nil, "Cookie", sent)
		got.identity(t)
		var seen struct{ Headers http.Header }
		if err := json.Unmarshal(got.body, &seen); err != nil {
			t.Fatal(err)
		}
		if cookie := strings.Join(seen.Headers.Values("Cookie"), "|"); strings.TrimSpace(cookie) != want {
			t.Errorf("of the cookies %q the application got %q, want %q", sent, cookie, want)
		}
	}
}

func TestApp(t *testing.T) {
	t.Parallel()
	s := start(t, func(text string) string { return text })
	c := client(t)
	if a := ask(t, c, "GET", s.url+"/orders", nil, "X-Identity-Id", "root"); a.status != 401 {
		t.Fatalf("without a session: %d, want 401", a.status)
	}
	if a := ask(t, c, "POST", s.url+"/orders", map[string]int{"amount": 1}, "Accept", html); a.status != 401 {
		t.Errorf("a form without a session: %d, want 401: a redirect would lose it", a.status)
	}
	person := register(t, s, c, "api")
	for _, header := range [][2]string{{"X-Session-Token", ""}, {"Authorization", "Bearer "}, {"Authorization", "bearer "}} {
		got := ask(t, c, "GET", s.url+"/orders", nil, header[0], header[1]+person.SessionToken)
		if id := got.identity(t); id != person.Identity.ID {
			t.Errorf("by %s the application got %q, want %q", header[0], id, person.Identity.ID)
		}
		if got.leaks(person.SessionToken) {
			t.Errorf("by %s the application got the person's session", header[0])
		}
	}
	if a := ask(t, c, "GET", s.url+"/_whoami", nil, "X-Session-Token", person.SessionToken); a.status != 404 {
		t.Errorf("/_whoami from outside: %d, want 404", a.status)
	}

	_ = s.usher.Process.Kill()
	_ = s.usher.Wait()
	a := ask(t, c, "GET", s.url+"/orders", nil, "X-Session-Token", person.SessionToken)
	if a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("with Usher away: %d Retry-After %q, want 503 with one", a.status, a.header.Get("Retry-After"))
	}
	if a := ask(t, c, "GET", s.url+"/orders", nil, "Accept", html); a.status != 503 {
		t.Errorf("a page with Usher away: %d, want 503", a.status)
	}
}

// TestRefused sees that the tests above would notice: a configuration that lets
// through what it must not gives another answer.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, broken := range []struct {
		name, from, to string
		notices        func(t *testing.T, s setup) bool
	}{
		{"no decision", "auth_request /_whoami;\n", "\n", func(t *testing.T, s setup) bool {
			return ask(t, client(t), "GET", s.url+"/orders", nil).status != 401
		}},
		{"a header of the client's", "proxy_set_header X-Identity-Id $identity;", "", func(t *testing.T, s setup) bool {
			c := client(t)
			person := register(t, s, c, "browser")
			return ask(t, c, "GET", s.url+"/orders", nil, "X-Identity-Id", "root").identity(t) != person.Identity.ID
		}},
		{"the bearer token passed on", "proxy_set_header Authorization \"\";", "", func(t *testing.T, s setup) bool {
			c := client(t)
			token := register(t, s, c, "api").SessionToken
			return ask(t, c, "GET", s.url+"/orders", nil, "Authorization", "Bearer "+token).leaks(token)
		}},
		{"the session token passed on", "proxy_set_header X-Session-Token \"\";", "", func(t *testing.T, s setup) bool {
			c := client(t)
			token := register(t, s, c, "api").SessionToken
			return ask(t, c, "GET", s.url+"/orders", nil, "X-Session-Token", token).leaks(token)
		}},
		{"the cookie passed on", "proxy_set_header Cookie $other_cookies;", "", func(t *testing.T, s setup) bool {
			c := client(t)
			register(t, s, c, "browser")
			session := sessionOf(t, c, s.url)
			return ask(t, c, "GET", s.url+"/orders", nil).leaks(session)
		}},
		{"the cookie passed on behind another", "(?<before>(.*;)?)[ \\t]*", "(?<before>)", func(t *testing.T, s setup) bool {
			c := client(t)
			register(t, s, c, "browser")
			session := sessionOf(t, c, s.url)
			got := ask(t, &http.Client{Timeout: 10 * time.Second}, "GET", s.url+"/orders", nil, "Cookie", "a=1; "+sessionCookie+"="+session)
			var seen struct{ Headers http.Header }
			return json.Unmarshal(got.body, &seen) == nil && seen.Headers.Get("Cookie") != "a=1;"
		}},
		{"open when Usher is away", "proxy_pass http://usher/sessions/whoami;", "proxy_pass http://usher/sessions/whoami; proxy_intercept_errors on; error_page 502 504 =200 @open;", func(t *testing.T, s setup) bool {
			_ = s.usher.Process.Kill()
			_ = s.usher.Wait()
			return ask(t, client(t), "GET", s.url+"/orders", nil).status != 503
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(text string) string {
				if !strings.Contains(text, broken.from) {
					t.Fatalf("%s has no %q any more", file, broken.from)
				}
				text = strings.Replace(text, broken.from, broken.to, 1)
				return strings.Replace(text, "location @away {", "location @open { return 200; }\n    location @away {", 1)
			})
			if !broken.notices(t, s) {
				t.Error("the broken copy behaves like the good one")
			}
		})
	}
}
