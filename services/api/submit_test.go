package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

func TestSubmitShapes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.app()
	g := app.postJSON(app.nativeFlow().submit(), submitBody("", "app@example.org", goodPassword))
	if g.status != 200 || !strings.Contains(g.body, `"session_token":"ory_st_`) || g.header.Get("Set-Cookie") != "" {
		t.Errorf("native submit = %d %s, cookies %q, want a token and no cookie", g.status, g.body, g.header["Set-Cookie"])
	}

	script := w.browser()
	f := script.browserFlow()
	g = script.postJSON(f.submit(), submitBody(f.csrf(), "script@example.org", goodPassword))
	if g.status != 200 || strings.Contains(g.body, "session_token") || !strings.Contains(strings.Join(g.header["Set-Cookie"], ""), "ory_kratos_session=") {
		t.Errorf("script submit = %d %s, cookies %q, want a cookie and no token", g.status, g.body, g.header["Set-Cookie"])
	}
	if g := script.get("/sessions/whoami"); g.status != 200 || !strings.Contains(g.body, "script@example.org") {
		t.Errorf("whoami with the cookie = %d %s, want the person", g.status, g.body)
	}

	page := w.browser()
	f = page.browserFlow("?return_to=http://127.0.0.1:4455/deep?x=1%26y=2")
	g = page.postForm(f.submit(), submitForm(f.csrf(), "page@example.org", goodPassword))
	if g.status != 303 || g.header.Get("Location") != "http://127.0.0.1:4455/deep?x=1&y=2" || g.body != "" {
		t.Errorf("page submit = %d to %q, want 303 to return_to", g.status, g.header.Get("Location"))
	}
	if g := page.get("/sessions/whoami"); g.status != 200 {
		t.Errorf("whoami with the cookie = %d, want 200", g.status)
	}
}

// TestFirstCSRFSecretDiesWithTheSignIn: tokens of before the sign-in are void.
func TestFirstCSRFSecretDiesWithTheSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow()
	name := w.compiled.CSRFCookieName()
	if g := c.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)); !strings.Contains(strings.Join(g.header["Set-Cookie"], ""), name) {
		t.Errorf("submit sets %q, want a new CSRF cookie", g.header["Set-Cookie"])
	}
}

func TestReturnPrecedence(t *testing.T) {
	t.Parallel()
	const general, method, asked = "http://127.0.0.1:4455/general", "http://127.0.0.1:4455/method", "http://127.0.0.1:4455/asked"
	for _, tt := range []struct {
		query, general, method, want string
	}{
		{"", "", "", welcome},
		{"", general, "", general},
		{"", general, method, method},
		{"?return_to=" + asked, general, method, asked},
	} {
		w := newWorld(t, func(w *world) {
			w.settings.Registration.ReturnURL = tt.general
			w.settings.Registration.MethodReturnURLs = map[string]string{"password": tt.method}
			if tt.method == "" {
				w.settings.Registration.MethodReturnURLs = nil
			}
		})
		c := w.browser()
		f := c.browserFlow(tt.query)
		g := c.postForm(f.submit(), submitForm(f.csrf(), "a@example.org", goodPassword))
		if got := g.header.Get("Location"); got != tt.want {
			t.Errorf("submit of a flow with %q leads to %q, want %q", tt.query, got, tt.want)
		}
	}
}

func TestReturnToIsJudgedAgainAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow("?return_to=https://a.apps.example.com/")
	s := w.settings
	s.AllowedReturnURLs = nil
	w.compiled = compile(t, s)
	if g := c.postForm(f.submit(), submitForm(f.csrf(), "a@example.org", goodPassword)); g.header.Get("Location") != welcome {
		t.Errorf("submit leads to %q after the list has changed, want %q", g.header.Get("Location"), welcome)
	}
}

func TestInvalidInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.app()
	f := app.nativeFlow()
	g := app.postJSON(f.submit(), `{"method":"password","password":"","traits":{"email":"nonsense","age":"old"},"transient_payload":{"a":1}}`)
	s := g.shown(t)
	if ids := s.messages(); g.status != 400 || s.Active != "password" || !slices.Contains(ids, 4000002) || !slices.Contains(ids, 4000040) || !slices.Contains(ids, 4000026) {
		t.Errorf("submit = %d with messages %v, want 400 with 4000002, 4000040, 4000026", g.status, ids)
	}
	if !strings.Contains(g.body, `"transient_payload":{"a":1}`) {
		t.Errorf("submit = %s, want the transient payload in it", g.body)
	}
	if again := app.get(routeRegistration + "/flows?id=" + f.ID); len(again.shown(t).messages()) == 0 || strings.Contains(again.body, "transient_payload") {
		t.Errorf("fetch afterwards = %s, want the messages and no transient payload", again.body)
	}

	page := w.browser()
	f = page.browserFlow()
	g = page.postForm(f.submit(), submitForm(f.csrf(), "nonsense", goodPassword))
	if want := "http://127.0.0.1:4455/registration?flow=" + f.ID; g.status != 302 || g.header.Get("Location") != want {
		t.Errorf("page submit = %d to %q, want 302 to %q", g.status, g.header.Get("Location"), want)
	}
	if again := page.get(routeRegistration + "/flows?id=" + f.ID).shown(t); !slices.Contains(again.messages(), 4000040) {
		t.Errorf("fetch afterwards has messages %v, want 4000040", again.messages())
	}
}

func TestDuplicateIsToldApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	for n, want := range []int{200, 400} {
		g := c.postJSON(c.nativeFlow().submit(), submitBody("", "a@example.org", goodPassword))
		if g.status != want {
			t.Errorf("submit %d of the address = %d, want %d", n+1, g.status, want)
		}
		if n == 1 && !slices.Contains(g.shown(t).messages(), 4000007) {
			t.Errorf("second submit has messages %v, want 4000007", g.shown(t).messages())
		}
	}
}

func TestExpiredSubmitGoesOnInANewFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow("?return_to=http://127.0.0.1:4455/x")
	w.expire(f.ID)
	g := c.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword))
	s := g.shown(t)
	if g.status != 410 || s.Error.ID != "self_service_flow_expired" || s.UseFlowID == "" || s.ExpiredAt == "" || s.Since < int64(time.Minute) {
		t.Fatalf("submit of a dead flow = %d %s, want 410 with use_flow_id", g.status, g.body)
	}
	next := c.get(routeRegistration + "/flows?id=" + s.UseFlowID).shown(t)
	if next.Type != "browser" || next.ReturnTo != "http://127.0.0.1:4455/x" || !slices.Contains(next.messages(), 4040001) {
		t.Errorf("new flow = %+v, want 4040001 and return_to in it", next)
	}
	other := w.browser()
	s = other.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)).shown(t)
	if next := other.get(routeRegistration + "/flows?id=" + s.UseFlowID).shown(t); next.ID == "" || next.ReturnTo != "" {
		t.Errorf("new flow of somebody else = %+v, want a flow without return_to", next)
	}
	g = c.postForm(f.submit(), submitForm(f.csrf(), "a@example.org", goodPassword))
	if g.status != 303 || !strings.HasPrefix(g.header.Get("Location"), "http://127.0.0.1:4455/registration?flow=") || strings.Contains(g.header.Get("Location"), f.ID) {
		t.Errorf("page submit of a dead flow = %d to %q, want 303 to a new flow", g.status, g.header.Get("Location"))
	}
}

func TestRepeatedSubmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	f := c.nativeFlow()
	first := c.postJSON(f.submit(), submitBody("", "a@example.org", goodPassword))
	second := c.postJSON(f.submit(), submitBody("", "a@example.org", goodPassword))
	if second.status != 200 || second.body == first.body {
		t.Errorf("repeated submit = %d %s, want 200 with a new token", second.status, second.body)
	}
	for _, body := range []string{submitBody("", "a@example.org", "another password"), submitBody("", "b@example.org", goodPassword)} {
		if g := c.postJSON(f.submit(), body); g.status != 410 || g.shown(t).UseFlowID == "" {
			t.Errorf("other submit of a used flow = %d %s, want 410 with use_flow_id", g.status, g.body)
		}
	}
	w.mu.Lock()
	delete(w.flows, uuid.MustParse(f.ID))
	w.mu.Unlock()
	if g := c.postJSON(f.submit(), submitBody("", "a@example.org", goodPassword)); g.status != 200 || !strings.Contains(g.body, "ory_st_") {
		t.Errorf("repeated submit without the flow's row = %d %s, want 200", g.status, g.body)
	}
}

func TestRepeatedBrowserSubmitWithoutRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow()
	cookie := w.compiled.CSRFCookieName() + "=" + cookieValue(c, w.compiled.CSRFCookieName())
	if g := c.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)); g.status != 200 {
		t.Fatalf("submit = %d %s, want 200", g.status, g.body)
	}
	w.mu.Lock()
	delete(w.flows, uuid.MustParse(f.ID))
	w.mu.Unlock()
	lost := w.app() // the browser that never got the answer
	if g := lost.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword), "Cookie", cookie); g.status != 200 || strings.Contains(g.body, "ory_sc_") {
		t.Errorf("repeated submit with the flow's cookie = %d %s, want 200 and no token", g.status, g.body)
	}
	if g := lost.postJSON(f.submit(), submitBody("", "a@example.org", goodPassword), "Cookie", cookie); g.status != 403 {
		t.Errorf("repeated submit without the token = %d, want 403", g.status)
	}
	if g := lost.postJSON(f.submit(), submitBody("", "a@example.org", goodPassword)); g.status != 410 || strings.Contains(strings.Join(g.header["Set-Cookie"], ""), "ory_kratos_session") {
		t.Errorf("repeated submit as if by an app = %d %v, want 410 and no session", g.status, g.header)
	}
}

func cookieValue(c *client, name string) string { return c.cookies()[name] }

func (c *client) cookies() map[string]string {
	u, _ := url.Parse(c.base)
	all := map[string]string{}
	for _, cookie := range c.http.Jar.Cookies(u) {
		all[cookie.Name] = cookie.Value
	}
	return all
}

func TestAlreadySignedIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	other := c.browserFlow()
	f := c.browserFlow()
	if g := c.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)); g.status != 200 {
		t.Fatalf("submit = %d %s, want 200", g.status, g.body)
	}
	for _, tt := range []struct {
		method, path, accept string
		status               int
		location             string
	}{
		{"GET", "/api", "", 400, ""},
		{"GET", "/browser", "application/json", 400, ""},
		{"GET", "/browser", "text/html", 303, welcome},
		{"GET", "/browser?return_to=http://127.0.0.1:4455/x", "text/html", 303, "http://127.0.0.1:4455/x"},
		{"POST", "?flow=" + other.ID, "application/json", 400, ""},
		{"POST", "?flow=" + other.ID, "text/html", 302, welcome},
	} {
		g := c.do(tt.method, routeRegistration+tt.path, "", "Accept", tt.accept)
		if g.status != tt.status || g.header.Get("Location") != tt.location {
			t.Errorf("%s %s signed in = %d to %q, want %d to %q", tt.method, tt.path, g.status, g.header.Get("Location"), tt.status, tt.location)
		}
		if tt.status == 400 && g.shown(t).Error.ID != "session_already_available" {
			t.Errorf("%s %s signed in = %s, want session_already_available", tt.method, tt.path, g.body)
		}
	}
}

// registrar answers every submit with the same error.
type registrar struct{ err error }

func (r registrar) Register(context.Context, registration.Submit) (*registration.Result, error) {
	return nil, r.err
}

func (r registrar) Judge(registration.Submit) error { return r.err }

func (r registrar) Repeat(context.Context, registration.Submit) (*registration.Result, error) {
	return nil, r.err
}

type down struct{ error }

func (down) Unavailable() bool { return true }

func TestErrorsOfTheUseCase(t *testing.T) {
	t.Parallel()
	const secret = "pq: secret of the database"
	for _, tt := range []struct {
		err    error
		status int
		retry  bool
	}{
		{errors.New(secret), 500, false},
		{password.ErrBusy, 503, true},
		{errors.Join(registration.ErrNoSession, session.ErrUnavailable), 503, true},
		{down{errors.New(secret)}, 503, true},
		{&webhook.Failed{Endpoint: "audit", Status: 500, Err: errors.New(secret)}, 502, false},
		{&webhook.Failed{Endpoint: "audit", Err: context.DeadlineExceeded}, 504, false},
	} {
		w := newWorld(t, func(w *world) { w.inForce.Registration = registrar{tt.err} })
		app := w.app()
		g := app.postJSON(app.nativeFlow().submit(), submitBody("", "a@example.org", goodPassword))
		if g.status != tt.status || (g.header.Get("Retry-After") != "") != tt.retry || strings.Contains(g.body, "secret") {
			t.Errorf("submit with %v = %d Retry-After %q %s, want %d", tt.err, g.status, g.header.Get("Retry-After"), g.body, tt.status)
		}
		if s := g.shown(t); s.Error.Code != tt.status || s.Error.Request == "" {
			t.Errorf("submit with %v = %s, want code and request id", tt.err, g.body)
		}
		if tt.status == 500 && !strings.Contains(w.log.String(), secret) {
			t.Errorf("the log does not say %q: %s", secret, w.log)
		}
	}
}

// A body that does not come is the sender's fault, whatever else the end of the
// connection ends.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.app().nativeFlow()
	server := httptest.NewUnstartedServer(w.server.Public())
	server.Config.ReadTimeout = 300 * time.Millisecond
	server.Start()
	defer server.Close()
	for name, tt := range map[string]struct {
		end    func(*net.TCPConn) error
		status string
	}{
		"stalled":     {func(*net.TCPConn) error { return nil }, "408"},
		"half closed": {(*net.TCPConn).CloseWrite, "400"},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s?flow=%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", routeRegistration, f.ID)
		if err := tt.end(conn.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		if status := strings.Fields(string(answer) + " none none"); status[1] != tt.status {
			t.Errorf("%s: %q, want status %s", name, answer, tt.status)
		}
	}
}

// The size of a body counts also where it is not announced.
func TestChunkedBodyHasALimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	f := c.nativeFlow()
	long := submitForm("", "a@example.org", goodPassword)
	long.Set("traits.name.first", strings.Repeat("a", 65<<10))
	r, err := http.NewRequest(http.MethodPost, c.base+routeRegistration+"?flow="+f.ID, io.MultiReader(strings.NewReader(long.Encode()))) // of unknown length
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "larger than") {
		t.Errorf("a chunked form of 65 KiB = %d %s, want 400 and why", answer.StatusCode, text)
	}
}

func TestHowMuchAFlowHoldsIsNotTheSendersChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.app().get(routeRegistration + "/api?x=" + strings.Repeat("a", 5000))
	if g.status != http.StatusOK || len(g.body) > 4000 || !strings.Contains(g.body, `"request_url":"`) {
		t.Errorf("init with a long query = %d with %d bytes, want a flow of usual size", g.status, len(g.body))
	}
}

func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow()
	w.mu.Lock()
	w.broken = down{errors.New("connection refused")}
	w.mu.Unlock()
	token := session.NewToken(session.NativePrefix).Reveal()
	for _, g := range []got{
		c.get(routeRegistration + "/api"), c.get(routeRegistration + "/flows?id=" + f.ID),
		c.postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword)),
		c.get("/sessions/whoami", "X-Session-Token", token),
		c.get("/sessions", "X-Session-Token", token), c.do("DELETE", "/sessions", "", "X-Session-Token", token),
		c.do("DELETE", routeLogout+"/api", `{"session_token":"`+token+`"}`),
		c.get(routeLogin + "/api"), c.get(routeVerification + "/api"),
		c.postJSON(routeLogin+"?flow="+f.ID, `{}`), c.postJSON(routeVerification+"?flow="+f.ID, `{"code":"1"}`),
		c.get(routeLogout+"/browser", "X-Session-Token", token, "Accept", "application/json"),
		c.get(routeRegistration+"/api", "X-Session-Token", token),
		c.get("/self-service/errors?id=" + uuid.NewString()),
		w.admin().get("/admin/identities"), w.admin().get("/admin/events"),
	} {
		if g.status != http.StatusServiceUnavailable || g.header.Get("Retry-After") == "" {
			t.Errorf("answer without the store = %d %s, want 503 with Retry-After", g.status, g.body)
		}
	}
	for _, g := range []got{
		c.get(routeRegistration + "/browser"),
		c.postForm(f.submit(), submitForm(f.csrf(), "a@example.org", goodPassword)),
	} {
		at := g.header.Get("Location")
		if g.status != http.StatusSeeOther || !strings.Contains(at, "id="+url.QueryEscape("stub:503")) {
			t.Errorf("a browser without the store = %d %s, want it led to an error that needs none", g.status, at)
		}
	}
	if g := c.get("/self-service/errors?id=stub:503"); g.status != http.StatusOK || !strings.Contains(g.body, `"code":503`) {
		t.Errorf("that error = %d %s, want 200 and code 503", g.status, g.body)
	}
}

// TestSafeMethodsChangeNothing is S60 for links to a flow.
func TestSafeMethodsChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser()
	f := c.browserFlow()
	g := c.get(f.submit()+"&method=password&traits.email=a@example.org&password=x", "Accept", "application/json")
	if g.status != 400 || !slices.Contains(g.shown(t).messages(), 4010003) {
		t.Errorf("GET of a flow = %d %s, want 400 with 4010003", g.status, g.body)
	}
	defer w.lock()()
	if kept := w.flows[uuid.MustParse(f.ID)]; !kept.Form.Empty() || len(w.identities) != 0 {
		t.Errorf("GET of a flow stored %+v, want nothing", kept.Form)
	}
}
