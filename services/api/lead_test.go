package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// Who asks the admin listener for what people do is led to the public one, with method,
// path and query, and nowhere else.
func TestSelfServiceOnTheAdminListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, base := w.admin(), strings.TrimSuffix(w.settings.PublicURL, "/")
	for path, want := range map[string]string{
		"/admin/self-service/login/api":                                     "/self-service/login/api",
		"/admin/self-service/registration?flow=1&flow=2&a":                  "/self-service/registration?flow=1&flow=2&a",
		"/admin/self-service/recovery/browser?return_to=%2F%2Fevil.example": "/self-service/recovery/browser?return_to=%2F%2Fevil.example",
		"/admin/self-service/login?q=a\\b\xc3\xbc<>":                        "/self-service/login?q=a%5Cb%C3%BC%3C%3E",
		"/admin/self-service/methods/oidc/callback/corp?state=a/b?c":        "/self-service/methods/oidc/callback/corp?state=a/b?c",
		"/admin/self-service/%2f%2fevil.example":                            "",
		"/admin/self-service/x%2fy":                                         "/self-service/x%2fy",
		"/admin/self-service//evil.example":                                 "",
		"/admin/self-service/../../evil.example":                            "",
		"/admin/self-service/%2e%2e/%2e%2e/evil.example":                    "",
		"/admin/self-service/@evil.example":                                 "/self-service/@evil.example",
		"/admin/self-service":                                               "",
		"/admin/self-service.evil.example/":                                 "",
		"/self-service/login/api":                                           "",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
			g := c.do(method, path, "")
			switch {
			case want == "" && (g.status != http.StatusNotFound || g.header.Get("Location") != ""):
				t.Errorf("%s %q = %d to %q, want 404", method, path, g.status, g.header.Get("Location"))
			case want != "" && (g.status != http.StatusTemporaryRedirect || g.header.Get("Location") != base+want || g.body != ""):
				t.Errorf("%s %q = %d to %q, want 307 to %s", method, path, g.status, g.header.Get("Location"), base+want)
			}
		}
	}
	for _, method := range []string{"PUT", "PATCH", "OPTIONS", "TRACE"} {
		if g := c.do(method, "/admin/self-service/login/api", ""); g.status != 405 || g.header.Get("Allow") != "DELETE, GET, POST" {
			t.Errorf("%s = %d, Allow %q, want 405", method, g.status, g.header.Get("Allow"))
		}
	}
	guarded := newWorld(t, func(w *world) { w.options.Guarded = true })
	if g := guarded.admin().get("/admin/self-service/login/api"); g.status != 401 || g.header.Get("Location") != "" {
		t.Errorf("without a token = %d to %q, want 401", g.status, g.header.Get("Location"))
	}
}

// The public listener leads to the admin one where all the world may know of it; else
// it answers as if nothing were there.
func TestIdentitiesOnThePublicListener(t *testing.T) {
	t.Parallel()
	const id = "7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10"
	told := newWorld(t, func(w *world) {
		w.settings.AdminURL, w.settings.TellAdminURL = "https://admin.example.org/usher/", true
	})
	silent := newWorld(t, func(w *world) { w.settings.AdminURL = "https://admin.example.org/usher/" })
	for path, allowed := range map[string]string{
		"/admin/identities?page_size=7&ids=1&ids=2":                       "GET, PATCH, POST",
		"/admin/identities/" + id + "?include_credential=password":        "DELETE, GET, PATCH, PUT",
		"/admin/identities/by/external/crm:%2F%2F7":                       "GET",
		"/admin/identities/" + id + "/credentials/oidc?identifier=corp:7": "DELETE",
		"/admin/identities/" + id + "/sessions":                           "DELETE, GET",
		"/admin/identities/" + id + "/grants":                             "",
		"/admin/identities/":                                              "",
		"/admin/sessions":                                                 "",
		"/admin/settings":                                                 "",
		"/admin":                                                          "",
		"/identities":                                                     "",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			g, quiet := told.app().do(method, path, ""), silent.app().do(method, path, "")
			want := http.StatusMethodNotAllowed
			switch {
			case allowed == "":
				want = http.StatusNotFound
			case strings.Contains(allowed, method):
				want = http.StatusTemporaryRedirect
			}
			if to := g.header.Get("Location"); g.status != want || (to == "https://admin.example.org/usher"+path) != (want == 307) || want != 307 && to != "" {
				t.Errorf("%s %s = %d to %q, want %d", method, path, g.status, to, want)
			}
			if want == http.StatusMethodNotAllowed && g.header.Get("Allow") != allowed {
				t.Errorf("%s %s allows %q, want %s", method, path, g.header.Get("Allow"), allowed)
			}
			if want == 307 {
				want = 404
			}
			if quiet.status != want || quiet.header.Get("Location") != "" || strings.Contains(quiet.body, "example.org") {
				t.Errorf("%s %s = %d to %q %s where nobody is told, want %d", method, path, quiet.status, quiet.header.Get("Location"), quiet.body, want)
			}
		}
	}
	if len(told.identities)+len(told.journal.acts()) != 0 {
		t.Error("something was done")
	}
}
