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

func TestWithoutAFlowTheAPIBeginsOne(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		page, begin := "/ui/"+kind, "/self-service/"+kind+"/browser"
		for query, to := range map[string]string{
			"":                                  begin,
			"?flow=":                            begin,
			"?return_to=%2Fapp%3Fa%3D1%26b%3D2": begin + "?return_to=%2Fapp%3Fa%3D1%26b%3D2",
			"?refresh=true&return_to=%2Fapp":    begin + "?refresh=true&return_to=%2Fapp",
			"?identity_schema=b&again=1":        begin + "?identity_schema=b",
		} {
			got := get(t, newPages(t, api{}), page+query)
			if at := resolve(t, page, got.header.Get("Location")); got.status != http.StatusSeeOther || at != to {
				t.Errorf("GET %s%s: %d to %q, want 303 to %q", page, query, got.status, at, to)
			}
		}
	}
}

func TestAFlowThatCannotBeShownIsBegunAgainOnce(t *testing.T) {
	t.Parallel()
	app := registration()
	app["type"] = "api"
	over := func(to string) http.HandlerFunc {
		return answers(http.StatusGone, object{"error": object{"code": 410, "details": object{"redirect_to": to}}})
	}
	for _, c := range []struct {
		name, query string
		fetch       http.HandlerFunc
		asked       string // of the API, to begin another
		last        int    // status if that one cannot be shown either
	}{
		{"unknown", "&return_to=%2Fapp", fails(http.StatusNotFound, ""), "return_to=%2Fapp", 410},
		{"over", "&return_to=%2Fapp", over("https://accounts.example.com/x?return_to=y"), "return_to=y", 410},
		{"over, and says nothing", "&refresh=true", fails(http.StatusGone, ""), "refresh=true", 410},
		{"over, and says nonsense", "", over("%"), "", 410},
		{"of an app", "", answers(http.StatusOK, app), "", 410},
		{"of another browser", "&return_to=%2Fapp", fails(http.StatusForbidden, "The cookie is missing."), "return_to=%2Fapp", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range kinds {
				page := "/ui/" + kind
				var asked string
				h := newPages(t, api{
					"/self-service/" + kind + "/flows": c.fetch,
					"/self-service/" + kind + "/browser": func(w http.ResponseWriter, r *http.Request) {
						asked = r.URL.RawQuery
						leads(http.StatusSeeOther, "https://accounts.example.com"+page+"?flow=2")(w, r)
					},
				})
				got := get(t, h, page+"?flow=1"+c.query)
				to, want := got.header.Get("Location"), "https://accounts.example.com"+page+"?again=1&flow=2"
				if got.status != http.StatusSeeOther || to != want || asked != c.asked {
					t.Errorf("GET %s: %d to %q, begun with %q, want 303 to %q, begun with %q", page, got.status, to, asked, want, c.asked)
				}
				got = get(t, h, page+"?again=1&flow=2")
				if got.status != c.last {
					t.Fatalf("GET %s a second time: %d, want %d", page, got.status, c.last)
				}
				if to := resolve(t, page, got.page.tags("a")[0].attr("href")); !strings.HasPrefix(to, page) || strings.Contains(to, "flow=") {
					t.Errorf("GET %s a second time: the way leads to %q, want %s without flow", page, to, page)
				}
			}
		})
	}
}

func TestWhoIsSignedInIsLedOn(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{flowsPath: fails(http.StatusForbidden, ""), initPath: leads(http.StatusSeeOther, "https://app.example.com/")})
	if to := get(t, h, "/ui/registration?flow=1").header.Get("Location"); to != "https://app.example.com/" {
		t.Errorf("Location = %q, want where the API leads, unmarked", to)
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
func newSite(t *testing.T, kind string) (base string, requests *atomic.Int64) {
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
		"/self-service/" + kind + "/browser": func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("csrf")
			if err != nil {
				cookie = &http.Cookie{Name: "csrf", Value: strconv.FormatInt(begun.Add(1), 10), Path: "/"}
				http.SetCookie(w, cookie)
			}
			leads(http.StatusSeeOther, server.URL+"/ui/"+kind+"?flow=of-"+cookie.Value)(w, r)
		},
		"/self-service/" + kind + "/flows": func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("csrf")
			if err != nil || r.URL.Query().Get("id") != "of-"+cookie.Value {
				fails(http.StatusForbidden, "The CSRF cookie is missing or wrong.")(w, r)
				return
			}
			answers(http.StatusOK, registration(csrf(), submit("password", "method", "password", "Go on")))(w, r)
		},
	}
	mux.Handle("/ui/", newPages(t, public))
	mux.Handle("/", public)
	return server.URL, requests
}

func TestABrowserWithoutCookiesIsNotSentRoundInCircles(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, target := range []string{"/ui/" + kind, "/ui/" + kind + "?flow=of-another"} {
			base, requests := newSite(t, kind)
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
}

func TestABrowserWithCookiesEndsAtAForm(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, target := range []string{"/ui/" + kind, "/ui/" + kind + "?flow=of-another"} {
			base, _ := newSite(t, kind)
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Jar: jar}).Get(base + target)
			if err != nil {
				t.Fatalf("GET %s: %v", target, err)
			}
			if body := readAll(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(body, `name="csrf_token"`) {
				t.Errorf("GET %s ends with %d at %s, want 200 and the form", target, resp.StatusCode, resp.Request.URL)
			}
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
