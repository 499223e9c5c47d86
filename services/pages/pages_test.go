package pages_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/pages"
)

type object = map[string]any

// api is a public API that knows one answer for each path; what it has none
// for is not found.
type api map[string]http.HandlerFunc

func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer, ok := a[r.URL.Path]; ok {
		answer(w, r)
		return
	}
	fails(http.StatusNotFound, "There is nothing.")(w, r)
}

const (
	initPath         = "/self-service/registration/browser"
	flowsPath        = "/self-service/registration/flows"
	loginPath        = "/self-service/login/flows"
	verificationPath = "/self-service/verification/flows"
	logoutPath       = "/self-service/logout/browser"
	sessionsPath     = "/sessions"
	whoamiPath       = "/sessions/whoami"
	errorsPath       = "/self-service/errors"
)

// kinds are the flows that have a page.
var kinds = []string{"registration", "login", "verification", "recovery", "settings"}

func answers(status int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func fails(status int, reason string) http.HandlerFunc {
	return answers(status, object{"error": object{"code": status, "reason": reason, "message": http.StatusText(status)}})
}

func leads(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	}
}

func newPages(t *testing.T, public http.Handler) http.Handler {
	t.Helper()
	return pages.New(pages.Options{
		Public:      public,
		ProductName: "Harbour",
		Log:         slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{
		flowsPath:  answers(http.StatusOK, registration()),
		whoamiPath: fails(http.StatusUnauthorized, "No active session was found."),
		errorsPath: fails(http.StatusInternalServerError, ""),
	})
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/ui", 303},
		{"GET", "/ui/", 303},
		{"GET", "/ui/registration", 303},
		{"GET", "/ui/registration?flow=1", 200},
		{"HEAD", "/ui/registration?flow=1", 200},
		{"GET", "/ui/welcome", 200},
		{"GET", "/ui/error?id=1", 500},
		{"GET", "/ui/nothing", 404},
		{"GET", "/ui/assets/nothing.css", 404},
		{"GET", "/ui/login", 303},
		{"GET", "/ui/verification", 303},
		{"GET", "/ui/settings", 303},
		{"GET", "/ui/recovery", 303},
		{"GET", "/ui/sessions", 200},
		{"POST", "/ui/registration?flow=1", 405},
		{"POST", "/ui/login", 405},
		{"POST", "/ui/sessions", 400},
		{"PUT", "/ui/sessions", 405},
		{"DELETE", "/ui/welcome", 405},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.target, nil))
		if w.Code != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.target, w.Code, c.status)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy":      "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "same-origin",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control":                "no-store",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %s: %s = %q, want %q", c.method, c.target, name, got, want)
			}
		}
		if c.status != 303 && (w.Header().Get("Vary") != "Accept-Language" || w.Header().Get("Content-Language") != "en") {
			t.Errorf("%s %s: Vary = %q, Content-Language = %q, want the header that chooses, and en", c.method, c.target, w.Header().Get("Vary"), w.Header().Get("Content-Language"))
		}
		if c.status != 303 && w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s %s: Content-Type = %q, want HTML", c.method, c.target, w.Header().Get("Content-Type"))
		}
		allow := "GET, HEAD"
		if c.target == "/ui/sessions" {
			allow += ", POST"
		}
		if got := w.Header().Get("Allow"); c.status == 405 && got != allow {
			t.Errorf("%s %s: Allow = %q, want %q", c.method, c.target, got, allow)
		}
	}
}

func TestAssetsAreKeptForEver(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{whoamiPath: fails(http.StatusUnauthorized, "")})
	page := get(t, h, "/ui/welcome").page
	types := map[string]string{"stylesheet": "text/css; charset=utf-8", "icon": "image/svg+xml"}
	for rel, mediaType := range types {
		target := resolve(t, "/ui/welcome", page.one(t, "rel", rel).attr("href"))
		w := httptest.NewRecorder()
		w.Header().Set("Set-Cookie", "csrf=1") // as the API does around the pages
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		if w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("GET %s: status %d with %d bytes, want 200 and some", target, w.Code, w.Body.Len())
		}
		if got := w.Header().Get("Content-Type"); got != mediaType {
			t.Errorf("GET %s: Content-Type = %q, want %q", target, got, mediaType)
		}
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("GET %s: Cache-Control = %q, want immutable", target, got)
		}
		if got := w.Header().Get("Set-Cookie"); got != "" {
			t.Errorf("GET %s: Set-Cookie = %q: a kept answer must not hold a cookie", target, got)
		}
		for _, loads := range []string{"url(", "@import"} {
			if strings.Contains(w.Body.String(), loads) {
				t.Errorf("GET %s: the file loads another by %s", target, loads)
			}
		}
	}
}

// resolve gives the path that a browser on a page goes to.
func resolve(t *testing.T, page, reference string) string {
	t.Helper()
	base, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	to, err := base.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	return to.String()
}

func TestLinksWorkAtEveryDepthAndBelowAPrefix(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{whoamiPath: fails(http.StatusUnauthorized, "")})
	for _, path := range []string{"/ui/welcome", "/ui/nothing", "/ui/no/such/page", "/ui/nothing/"} {
		page := get(t, h, path).page
		for _, prefix := range []string{"", "/accounts"} {
			style := resolve(t, prefix+path, page.one(t, "rel", "stylesheet").attr("href"))
			if !strings.HasPrefix(style, prefix+"/ui/assets/style-") {
				t.Errorf("stylesheet of %s%s is %s, want it below %s/ui/assets", prefix, path, style, prefix)
			}
		}
	}
	for _, path := range []string{"/ui", "/ui/"} {
		to := resolve(t, "/accounts"+path, get(t, h, path).header.Get("Location"))
		if to != "/accounts/ui/welcome" {
			t.Errorf("GET %s leads to %s, want /accounts/ui/welcome", path, to)
		}
	}
}

func TestAsksInTheNameOfTheBrowser(t *testing.T) {
	t.Parallel()
	var asked *http.Request
	h := newPages(t, api{whoamiPath: func(w http.ResponseWriter, r *http.Request) {
		asked = r
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "renewed"})
		fails(http.StatusUnauthorized, "")(w, r)
	}})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://accounts.example.com/ui/welcome?x=1", nil)
	r.RemoteAddr = "192.0.2.7:1234"
	for name, value := range map[string]string{
		"Cookie": "session=old", "X-Forwarded-For": "198.51.100.9", "User-Agent": "browser",
		"Origin": "https://elsewhere.example", "Authorization": "Bearer stolen", "X-Session-Token": "stolen",
		"Accept": "text/html", "If-None-Match": "x",
	} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "the-request")
	h.ServeHTTP(w, r)
	if asked == nil {
		t.Fatal("whoami was not asked")
	}
	if asked.Method != http.MethodGet || asked.RequestURI != whoamiPath || asked.Host != "accounts.example.com" || asked.RemoteAddr != "192.0.2.7:1234" {
		t.Errorf("asked %s %s of %s from %s, want the browser's host and address", asked.Method, asked.RequestURI, asked.Host, asked.RemoteAddr)
	}
	for name, want := range map[string]string{
		"Cookie": "session=old", "X-Forwarded-For": "198.51.100.9", "User-Agent": "browser", "X-Request-Id": "the-request",
		"Accept": "application/json", "Origin": "", "Authorization": "", "X-Session-Token": "", "If-None-Match": "",
	} {
		if got := asked.Header.Get(name); got != want {
			t.Errorf("asked with %s = %q, want %q", name, got, want)
		}
	}
	if got := w.Header().Get("Set-Cookie"); got != "session=renewed" {
		t.Errorf("Set-Cookie = %q, want the one of the API", got)
	}
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{whoamiPath: answers(http.StatusOK, object{
		"authenticated_at": "2026-11-24T18:39:12.123456Z", "expires_at": "2026-11-25T18:39:12.123456Z",
		"identity": object{
			"id":                   "2f1d3c1e-6a2b-4c3d-9e8f-0123456789ab",
			"traits":               object{"email": "ada@example.com", "name": object{"first": "Ada"}, "likes": []any{"sums", 7}, "birth_year": 1815, "newsletter": false},
			"verifiable_addresses": []any{object{"value": "ada@example.com"}},
		},
	})})
	got := get(t, h, "/ui/welcome")
	if got.status != http.StatusOK || heading(got.page) != "You are signed in" {
		t.Fatalf("welcome = %d %q, want 200 and who is signed in", got.status, heading(got.page))
	}
	if who := got.page.tags("strong")[0].text(); who != "ada@example.com" {
		t.Errorf("signed in as %q, want ada@example.com", who)
	}
	want := map[string]string{
		"Birth year": "1815", "First name": "Ada", "Newsletter": "No",
		"Signed in": "24 Nov 2026, 18:39 UTC", "Until": "25 Nov 2026, 18:39 UTC",
		"Account": "2f1d3c1e-6a2b-4c3d-9e8f-0123456789ab",
	}
	var likes []string
	for _, row := range got.page.tags("dl")[0].tags("div") {
		label, value := row.tags("dt")[0].text(), row.tags("dd")[0].text()
		if label == "Likes" {
			likes = append(likes, value)
			continue
		}
		if want[label] != value {
			t.Errorf("%s: %q, want %q", label, value, want[label])
		}
		delete(want, label)
	}
	if len(want) > 0 || strings.Join(likes, " ") != "sums 7" {
		t.Errorf("not shown: %v; likes %q, want sums and 7", want, likes)
	}
}

func TestWelcomeWithoutAnAddressNamesTheAccount(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{whoamiPath: answers(http.StatusOK, object{"identity": object{"id": "2f1d", "traits": object{"username": "ada"}}})})
	if who := get(t, h, "/ui/welcome").page.tags("strong")[0].text(); who != "2f1d" {
		t.Errorf("signed in as %q, want 2f1d", who)
	}
}

func TestWelcomeWithoutSessionShowsTheWay(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{whoamiPath: fails(http.StatusUnauthorized, "No active session was found.")})
	got := get(t, h, "/ui/welcome")
	if got.status != http.StatusOK || heading(got.page) != "You are not signed in" {
		t.Fatalf("welcome = %d %q, want 200 and the way in", got.status, heading(got.page))
	}
	var ways []string
	for _, a := range got.page.tags("a") {
		ways = append(ways, resolve(t, "/ui/welcome", a.attr("href")))
	}
	if want := []string{"/ui/login", "/ui/registration"}; !slices.Equal(ways, want) {
		t.Errorf("the ways lead to %q, want %q", ways, want)
	}
}

func TestErrorPage(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{errorsPath: func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get("id"); id != "stub:500" {
			fails(http.StatusNotFound, "There is no error with this id.")(w, r)
			return
		}
		answers(http.StatusOK, object{"id": "stub:500", "error": object{
			"code": 500, "reason": "It is <b>broken</b>.", "message": "An internal error occurred", "request": "req-1",
		}})(w, r)
	}})
	got := get(t, h, "/ui/error?id=stub:500")
	text := got.page.tags("main")[0].text()
	if got.status != http.StatusOK || heading(got.page) != "Something went wrong" {
		t.Errorf("error page = %d %q, want 200 Something went wrong", got.status, heading(got.page))
	}
	for _, want := range []string{"It is <b>broken</b>.", "req-1"} {
		if !strings.Contains(text, want) {
			t.Errorf("error page says %q, want %q in it", text, want)
		}
	}
	for _, target := range []string{"/ui/error", "/ui/error?id=", "/ui/error?id=gone"} {
		if got := get(t, h, target); got.status != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", target, got.status)
		}
	}
}

// What a limit refuses may be for an hour: the heading must not say otherwise.
func TestWhatIsBeyondALimitIsNotForAMoment(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{errorsPath: answers(http.StatusOK, object{"error": object{"code": 429, "reason": "Try again in 60 minutes."}})})
	got := get(t, h, "/ui/error?id=stub:429:3600").page
	if text := got.tags("main")[0].text(); heading(got) != "Please try again later" || !strings.Contains(text, "Try again in 60 minutes.") {
		t.Errorf("page = %q: %q, want later, and when", heading(got), text)
	}
}

func TestRefusalsOfTheAPIAreReadable(t *testing.T) {
	t.Parallel()
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		fails(http.StatusServiceUnavailable, "Too many people register at this moment.")(w, r)
	}
	garbage := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"type":`)) }
	for _, c := range []struct {
		name, target string
		api          api
		status       int
		says         string
	}{
		{"flow", "/ui/registration?flow=1", api{flowsPath: busy}, 503, "Too many people register at this moment."},
		{"whoami", "/ui/welcome", api{whoamiPath: busy}, 503, "Too many people register at this moment."},
		{"error", "/ui/error?id=1", api{errorsPath: busy}, 503, "Too many people register at this moment."},
		{"flow that is no JSON", "/ui/registration?flow=1", api{flowsPath: garbage}, 500, "Something went wrong"},
		{"session that is no JSON", "/ui/welcome", api{whoamiPath: garbage}, 500, "Something went wrong"},
		{"error that is no JSON", "/ui/error?id=1", api{errorsPath: garbage}, 500, "Something went wrong"},
		{"login", "/ui/login?flow=1", api{loginPath: busy}, 503, "Too many people register at this moment."},
		{"verification that is switched off", "/ui/verification?flow=1", api{verificationPath: fails(http.StatusBadRequest, "It is off.")}, 400, "It is off."},
		{"login that is no JSON", "/ui/login?flow=1", api{loginPath: garbage}, 500, "Something went wrong"},
		{"sessions of whom", "/ui/sessions", api{whoamiPath: busy}, 503, "Too many people register at this moment."},
		{"sessions", "/ui/sessions", api{whoamiPath: answers(http.StatusOK, object{}), sessionsPath: busy}, 503, "Too many people register at this moment."},
		{"sessions that are no list", "/ui/sessions", api{whoamiPath: answers(http.StatusOK, object{}), sessionsPath: answers(http.StatusOK, object{})}, 500, "Something went wrong"},
		{"an answer that nobody expects", "/ui/welcome", api{whoamiPath: leads(http.StatusFound, "/elsewhere")}, 500, "Something went wrong"},
		{"no envelope", "/ui/welcome", api{whoamiPath: leads(http.StatusBadGateway, "")}, 502, "Something went wrong"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := get(t, newPages(t, c.api), c.target)
			if got.status != c.status {
				t.Errorf("GET %s: status %d, want %d", c.target, got.status, c.status)
			}
			if text := got.page.tags("main")[0].text(); !strings.Contains(text, c.says) {
				t.Errorf("GET %s says %q, want %q in it", c.target, text, c.says)
			}
			if c.status == 503 && got.header.Get("Retry-After") != "1" {
				t.Errorf("GET %s: Retry-After = %q, want the one of the API", c.target, got.header.Get("Retry-After"))
			}
		})
	}
}
