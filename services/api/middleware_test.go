package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

func TestHeadersOfAllAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []*client{w.app(), w.admin()} {
		for _, path := range []string{routeRegistration + "/api", routeRegistration + "/browser", "/sessions/whoami", "/schemas", "/health/alive", "/nowhere", "/admin/identities", "//x", "/a/../b"} {
			g := c.get(path, "X-Request-Id", "the-request")
			for name, want := range map[string]string{
				"X-Request-Id":            "the-request",
				"X-Content-Type-Options":  "nosniff",
				"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
				"Cache-Control":           "private, no-cache, no-store, must-revalidate",
				"Vary":                    "Cookie",
			} {
				if got := g.header.Get(name); got != want {
					t.Errorf("GET %s has %s: %q, want %q", path, name, got, want)
				}
			}
			if kind := g.header.Get("Content-Type"); g.body != "" && kind != "application/json" {
				t.Errorf("GET %s has Content-Type %q, want application/json", path, kind)
			}
			if g.header.Get("Server")+g.header.Get("Strict-Transport-Security") != "" {
				t.Errorf("GET %s has headers %v, want no Server and, over plain HTTP, no HSTS", path, g.header)
			}
		}
	}
	w = newWorld(t, func(w *world) { w.settings.PublicURL = "https://id.example.org/" })
	if g := w.app().get("/health/alive"); g.header.Get("Strict-Transport-Security") == "" {
		t.Error("over TLS there is no Strict-Transport-Security")
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		c            *client
		method, path string
		status       int
		allow        string
	}{
		{w.app(), "GET", "/", 404, ""},
		{w.app(), "GET", "/self-service/registration/", 404, ""},
		{w.app(), "GET", "//", 404, ""},
		{w.app(), "GET", "/self-service//registration/api", 404, ""},
		{w.app(), "GET", "/self-service/./registration/api", 404, ""},
		{w.app(), "GET", "/admin/identities", 404, ""},
		{w.app(), "GET", "/version", 404, ""},
		{w.app(), "GET", "/metrics", 404, ""},
		{w.app(), "GET", "/ui/", 404, ""},
		{w.app(), "POST", "/self-service/registration/api", 405, "GET"},
		{w.app(), "PUT", "/self-service/registration", 405, "GET, POST"},
		{w.app(), "OPTIONS", "/self-service/registration", 405, "GET, POST"},
		{w.app(), "HEAD", "/schemas", 200, ""},
		{w.admin(), "GET", "/sessions/whoami", 404, ""},
		{w.admin(), "DELETE", "/admin/identities", 405, "GET, PATCH, POST"},
	} {
		g := tt.c.do(tt.method, tt.path, "")
		if g.status != tt.status || g.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s = %d, Allow %q, want %d, %q", tt.method, tt.path, g.status, g.header.Get("Allow"), tt.status, tt.allow)
		}
		if tt.status >= 400 && g.shown(t).Error.Code != tt.status {
			t.Errorf("%s %s = %s, want the envelope", tt.method, tt.path, g.body)
		}
	}
}

type panicking struct{ registrar }

func (panicking) Register(context.Context, registration.Submit) (*registration.Result, error) {
	panic("a bug of the tests")
}

func TestPanicIsA500AndALogLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.inForce.Registration = panicking{} })
	c := w.app()
	g := c.postJSON(c.nativeFlow().submit(), submitBody("", "a@example.org", goodPassword))
	if g.status != 500 || strings.Contains(g.body, "bug") {
		t.Errorf("submit = %d %s, want a 500 that says nothing", g.status, g.body)
	}
	if line := w.log.String(); !strings.Contains(line, "a bug of the tests") || !strings.Contains(line, "middleware_test.go") {
		t.Errorf("log = %s, want the panic with its stack", line)
	}
}

// TestLogHoldsNoSecrets is S81 for the request log.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.app()
	f := c.nativeFlow("?return_to=http://127.0.0.1:4455/canary")
	c.postJSON(f.submit(), submitBody("", "canary@example.org", "canary canary"))
	c.get("/canary/"+f.ID+"?canary", "User-Agent", "canary")
	c.do("CANARY", "/sessions/whoami", "")
	log := w.log.String()
	if strings.Contains(strings.ToLower(log), "canary") || strings.Contains(log, f.ID) {
		t.Errorf("log holds what clients sent:\n%s", log)
	}
	for _, want := range []string{`"route":"/self-service/registration"`, `"method":"POST"`, `"status":200`, `"request_id":"`, `"trace_id":"`, `"took":`, `"method":"other"`, `"bytes":`, `"network":"127.0.0.0/24"`} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %s:\n%s", want, log)
		}
	}
}

// noWorker is a session worker that is not there.
type noWorker struct{}

func (noWorker) Issue(context.Context, session.Request) (*session.Session, error) {
	return nil, fmt.Errorf("%w: no responders", session.ErrUnavailable)
}

// To the client it is a success, and the metric says only how often.
func TestRegistrationWithoutItsSessionIsLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.inForce.Registration.(*registration.Service).Sessions = noWorker{} })
	c := w.app()
	f := c.nativeFlow()
	if g := c.postJSON(f.submit(), submitBody("", "canary@example.org", "canary canary"), "X-Request-Id", "the-request"); g.status != http.StatusOK {
		t.Fatalf("registration = %d %s, want 200", g.status, g.body)
	}
	log := w.log.String()
	var warnings []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"level":"WARN"`) {
			warnings = append(warnings, line)
		}
	}
	if len(warnings) != 1 {
		t.Fatalf("warnings = %q, want one", warnings)
	}
	for _, want := range []string{`"msg":"registered without a session"`, `"reason":"unavailable"`, `"identity_id":"`, `"request_id":"the-request"`} {
		if !strings.Contains(warnings[0], want) {
			t.Errorf("warning %s lacks %s", warnings[0], want)
		}
	}
	if strings.Contains(log, "canary") || strings.Contains(log, f.ID) || strings.Contains(log, "ory_st_") {
		t.Errorf("log holds what clients sent, or a token:\n%s", log)
	}
}

func TestTraceReachesTheUseCase(t *testing.T) {
	t.Parallel()
	var in registration.Submit
	w := newWorld(t, func(w *world) {
		w.settings.HeaderAllowlist = []string{"user-agent", "X-Kept"}
		w.inForce.Registration = recording{&in}
	})
	c := w.app()
	c.postJSON(c.nativeFlow().submit(), submitBody("", "a@example.org", goodPassword),
		"Traceparent", goodTrace, "X-Request-Id", "the-request", "X-Kept", "kept", "X-Other", "other", "User-Agent", "agent\xff", "Cookie", "__cf_bm=1; cf_x=2")
	untraced := strings.TrimSuffix(goodTrace, "01") + "00" // the same, and not recorded here
	if in.Client.TraceParent != untraced || in.Client.RequestID != "the-request" || in.Client.UserAgent != "agent" {
		t.Errorf("use case got %+v, want trace, request id and a valid user agent", in.Client)
	}
	r := in.Request
	if r.Method != http.MethodPost || !strings.HasPrefix(r.URL, publicURL+"self-service/registration?flow=") || len(r.Header) != 2 || r.Header.Get("X-Kept") != "kept" || r.Cookies["cf_x"] != "2" {
		t.Errorf("hooks may see %+v, want method, URL, allow-listed headers and foreign cookies", r)
	}
}

// TestHooksSeeNoCookieOfOurs: what signs people in is nobody else's business.
func TestHooksSeeNoCookieOfOurs(t *testing.T) {
	t.Parallel()
	var in registration.Submit
	w := newWorld(t, func(w *world) { w.inForce.Registration = recording{&in} })
	c := w.browser()
	f := c.browserFlow()
	cookies := w.compiled.CSRFCookieName() + "=" + cookieValue(c, w.compiled.CSRFCookieName()) + "; ory_kratos_session=old; theme=dark"
	w.app().postJSON(f.submit(), submitBody(f.csrf(), "a@example.org", goodPassword), "Cookie", cookies)
	if got := in.Request.Cookies; len(got) != 1 || got["theme"] != "dark" {
		t.Errorf("hooks may see the cookies %v, want only the foreign one", got)
	}
}

type recording struct{ in *registration.Submit }

func (r recording) Register(_ context.Context, in registration.Submit) (*registration.Result, error) {
	*r.in = in
	return nil, errors.New("that is all")
}

func (r recording) Repeat(ctx context.Context, in registration.Submit) (*registration.Result, error) {
	return r.Register(ctx, in)
}

func (recording) Judge(registration.Submit) error { return nil }

func TestMountedHandlers(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		rw.WriteHeader(http.StatusTeapot)
		_, _ = rw.Write([]byte(r.URL.Path))
	})
	var mu sync.Mutex
	seen := map[string]int{}
	w := newWorld(t, func(w *world) {
		w.options.Pages, w.options.Plan, w.options.Metrics = page, page, page
		w.options.Observe = func(_ context.Context, route, method string, status int, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[route] = status
		}
	})
	for path, c := range map[string]*client{"/ui/x": w.app(), "/ui": w.app(), "/metrics": w.admin(), "/admin/plan": w.admin()} {
		c.foreign = true
		g := c.get(path)
		if g.status != http.StatusTeapot || g.body != path || g.header.Get("Content-Security-Policy") != "" || g.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(g.header.Get("Cache-Control"), "no-store") {
			t.Errorf("GET %s = %d %s %v, want the mounted handler's answer", path, g.status, g.body, g.header)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if seen["/ui/"] != http.StatusTeapot || seen["/metrics"] != http.StatusTeapot {
		t.Errorf("observed %v, want the status of the mounted handlers", seen)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var leaving error
	down := errors.New("secret cause")
	w := newWorld(t, func(w *world) {
		w.options.Checks = []api.Check{
			{Name: "database", Run: func(context.Context) error { return nil }},
			{Name: "session_worker", Run: func(context.Context) error { return down }, Optional: func() bool { return true }},
		}
	})
	for _, c := range []*client{w.app(), w.admin()} {
		if g := c.get("/health/alive"); g.status != 200 || g.body != `{"status":"ok"}` {
			t.Errorf("alive = %d %s, want ok", g.status, g.body)
		}
		if g := c.get("/health/ready"); g.status != 200 || g.body != `{"status":"ok","warnings":{"session_worker":"unavailable"}}` {
			t.Errorf("ready = %d %s, want ok with a warning", g.status, g.body)
		}
	}
	w = newWorld(t, func(w *world) {
		w.options.Checks = []api.Check{
			{Name: "process", Own: true, Run: func(context.Context) error { return leaving }},
			{Name: "database", Run: func(context.Context) error { return down }},
		}
	})
	for _, c := range []*client{w.app(), w.admin()} {
		if g := c.get("/health/accepting"); g.status != 200 || g.body != `{"status":"ok"}` {
			t.Errorf("accepting without a database = %d %s, want ok", g.status, g.body)
		}
	}
	if g := w.admin().get("/admin/health/ready"); g.status != 503 || g.body != `{"errors":{"database":"unavailable"}}` {
		t.Errorf("ready = %d %s, want 503 without the cause", g.status, g.body)
	}
	leaving = down
	if g := w.app().get("/health/accepting"); g.status != 503 || g.body != `{"errors":{"process":"unavailable"}}` {
		t.Errorf("accepting while it drains = %d %s, want 503", g.status, g.body)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) {
		w.settings.CORS = api.CORS{
			Enabled: true, Origins: []string{"https://app.example"}, Credentials: true,
			Methods: []string{"GET", "POST"}, Headers: []string{"Content-Type"}, Exposed: []string{"X-Request-Id"},
		}
	})
	c := w.app()
	g := c.get("/schemas", "Origin", "https://app.example")
	if g.header.Get("Access-Control-Allow-Origin") != "https://app.example" || g.header.Get("Access-Control-Allow-Credentials") != "true" ||
		g.header.Get("Access-Control-Expose-Headers") != "X-Request-Id" || strings.Join(g.header["Vary"], ",") != "Cookie,Origin" {
		t.Errorf("answer to a listed origin has %v", g.header)
	}
	g = c.do("OPTIONS", routeRegistration, "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	if g.status != 204 || g.header.Get("Access-Control-Allow-Methods") != "GET, POST" || g.header.Get("Access-Control-Allow-Headers") != "Content-Type" {
		t.Errorf("preflight = %d %v, want 204 with methods and headers", g.status, g.header)
	}
	for _, origin := range []string{"https://evil.example", "null", "https://app.example.evil.example"} {
		g := c.get("/schemas", "Origin", origin)
		if g.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("answer to %s has %v, want no CORS headers", origin, g.header)
		}
	}
	if g := newWorld(t).app().get("/schemas", "Origin", "https://app.example"); g.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("answer without CORS has %v", g.header)
	}
}
