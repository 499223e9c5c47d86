package pages_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestWhereAFlowThatCannotBeShownLeads(t *testing.T) {
	t.Parallel()
	const page = "/ui/registration"
	app := registration()
	app["type"] = "api"
	over := object{"error": object{"code": 410, "details": object{"redirect_to": "https://accounts.example.com" + initPath + "?return_to=x"}}}
	forbidden := fails(http.StatusForbidden, "The cookie is missing.")
	for _, c := range []struct {
		name, query string
		api         api
		to          string
	}{
		{"no flow", "", api{}, initPath},
		{"an empty flow", "?flow=", api{}, initPath},
		{"no flow, with return_to", "?return_to=%2Fapp%3Fa%3D1%26b%3D2", api{}, initPath + "?return_to=%2Fapp%3Fa%3D1%26b%3D2"},
		{"no flow, with a schema", "?identity_schema=b&again=1", api{}, initPath + "?identity_schema=b"},
		{"an unknown flow", "?flow=1&return_to=%2Fapp", api{}, initPath + "?return_to=%2Fapp"},
		{"a flow that is over", "?flow=1", api{flowsPath: answers(http.StatusGone, over)}, "https://accounts.example.com" + initPath + "?return_to=x"},
		{"a flow that is over and says nothing", "?flow=1", api{flowsPath: fails(http.StatusGone, "")}, initPath},
		{"a flow of an app", "?flow=1", api{flowsPath: answers(http.StatusOK, app)}, initPath},
		{
			"a flow of another browser", "?flow=1",
			api{flowsPath: forbidden, initPath: leads(http.StatusSeeOther, "https://accounts.example.com/ui/registration?flow=2")},
			"https://accounts.example.com/ui/registration?again=1&flow=2",
		},
		{
			"a flow from before signing in", "?flow=1",
			api{flowsPath: forbidden, initPath: leads(http.StatusSeeOther, "https://app.example.com/")},
			"https://app.example.com/",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := get(t, newPages(t, c.api), page+c.query)
			if to := resolve(t, page, got.header.Get("Location")); got.status != http.StatusSeeOther || to != c.to {
				t.Errorf("GET %s%s: %d to %q, want 303 to %q", page, c.query, got.status, to, c.to)
			}
		})
	}
}

func TestAFlowThatCannotBeBegunIsExplained(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{
		flowsPath: fails(http.StatusForbidden, ""),
		initPath:  fails(http.StatusServiceUnavailable, "The database is away."),
	})
	got := get(t, h, "/ui/registration?flow=1")
	if text := got.page.tags("main")[0].text(); got.status != http.StatusServiceUnavailable || !strings.Contains(text, "The database is away.") {
		t.Errorf("page = %d %q, want 503 and the reason", got.status, text)
	}
}

// newSite serves the pages with an API that shows a flow only to the browser
// that has the cookie it was begun with, as the contract wants it.
func newSite(t *testing.T) (base string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	var begun atomic.Int64
	mux := http.NewServeMux()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	public := api{
		initPath: func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("csrf")
			if err != nil {
				cookie = &http.Cookie{Name: "csrf", Value: strconv.FormatInt(begun.Add(1), 10), Path: "/"}
				http.SetCookie(w, cookie)
			}
			leads(http.StatusSeeOther, server.URL+"/ui/registration?flow=of-"+cookie.Value)(w, r)
		},
		flowsPath: func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("csrf")
			if err != nil || r.URL.Query().Get("id") != "of-"+cookie.Value {
				fails(http.StatusForbidden, "The CSRF cookie is missing or wrong.")(w, r)
				return
			}
			answers(http.StatusOK, registration(csrf()))(w, r)
		},
	}
	mux.Handle("/ui/", newPages(t, public))
	mux.Handle("/", public)
	return server.URL, requests
}

func TestABrowserWithoutCookiesIsNotSentRoundInCircles(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/ui/registration", "/ui/registration?flow=of-another"} {
		base, requests := newSite(t)
		resp, err := http.Get(base + target)
		if err != nil {
			t.Fatalf("GET %s: %v", target, err)
		}
		body := readAll(t, resp)
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "Cookies are needed") {
			t.Errorf("GET %s without cookies ends with %d, want 403 and Cookies are needed", target, resp.StatusCode)
		}
		if n := requests.Load(); n > 5 {
			t.Errorf("GET %s without cookies took %d requests, want at most 5", target, n)
		}
	}
}

func TestABrowserWithCookiesEndsAtAForm(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/ui/registration", "/ui/registration?flow=of-another"} {
		base, _ := newSite(t)
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Jar: jar}).Get(base + target)
		if err != nil {
			t.Fatalf("GET %s: %v", target, err)
		}
		if body := readAll(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(body, "Create your account") {
			t.Errorf("GET %s ends with %d at %s, want 200 and the form", target, resp.StatusCode, resp.Request.URL)
		}
	}
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
