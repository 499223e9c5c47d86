package pages_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// sentBy gives what the forms of a page hold, as name=value.
func sentBy(page element) (forms [][]string) {
	for _, form := range page.tags("form") {
		var fields []string
		for _, e := range form.all(func(e element) bool { return e.has("name") }) {
			fields = append(fields, e.attr("name")+"="+e.attr("value"))
		}
		forms = append(forms, fields)
	}
	return forms
}

func page(t *testing.T, kind, name string) element {
	t.Helper()
	return get(t, newPages(t, api{"/self-service/" + kind + "/flows": answers(http.StatusOK, golden(t, name, nil))}), "/ui/"+kind+"?flow=1").page
}

func TestWhatAProvidersButtonTakesAlong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, golden string
		want         [][]string
	}{
		{"registration", "oidc_registration", [][]string{
			{"csrf_token=bWFza2Vk", "traits.email=", "traits.name.first=", "traits.plan=", "traits.terms=false", "traits.terms=true", "password=", "method=password", "provider=google", "provider=corp"},
		}},
		{"registration", "oidc_came_back", [][]string{
			{"csrf_token=bWFza2Vk", "traits.email=ann@example.com", "traits.name.first=", "traits.plan=", "traits.terms=false", "traits.terms=true", "provider=corp"},
		}},
		// A password that was typed by mistake has nothing to do there.
		{"login", "oidc_login", [][]string{
			{"csrf_token=bWFza2Vk", "identifier=", "password=", "method=password"},
			{"csrf_token=bWFza2Vk", "provider=google", "provider=corp"},
		}},
		{"login", "oidc_link", [][]string{
			{"csrf_token=bWFza2Vk", "identifier=ann@example.com", "password=", "method=password"},
			{"csrf_token=bWFza2Vk", "identifier=ann@example.com", "provider=corp"},
		}},
	} {
		if got := sentBy(page(t, c.kind, c.golden)); !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("forms of %s = %q, want %q", c.golden, got, c.want)
		}
	}
}

// A provider gives what the fields ask for: an empty one must not stop its button.
func TestRequiredFieldsDoNotStopAProvidersButton(t *testing.T) {
	t.Parallel()
	form := page(t, "registration", "oidc_registration").tags("form")[0]
	if email := form.input(t, "traits.email"); !email.has("required") || !form.has("novalidate") {
		t.Errorf("email %v in form %v, want it required and not checked", email.Attr, form.Attr)
	}
}

func TestProvidersAloneAreNotAnotherWay(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		csrf(),
		input("default", "email", "traits.email", nil, "E-Mail"),
		submit("oidc", "provider", "google", "Sign up with Google"),
		submit("oidc", "provider", "github", "Sign up with GitHub"),
	))
	want := [][]string{{"csrf_token=masked", "traits.email=", "provider=google", "provider=github"}}
	if got := sentBy(page); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("forms = %q, want %q", got, want)
	}
	for _, e := range page.all(func(element) bool { return true }) {
		if class := e.attr("class"); class == "or" || strings.Contains(class, "primary") {
			t.Errorf("<%s class=%q>: providers are equal, and there is nothing else", e.Data, class)
		}
	}
}

// An account without any way into it leaves the other login.
func TestALinkWithoutAnyWay(t *testing.T) {
	t.Parallel()
	link := func(url string) element {
		flow := registration(csrf(), input("default", "hidden", "identifier", object{"value": "ann@example.com"}, ""))
		m := message("info", "There is an account.")
		m["id"], m["context"] = 1010016, object{"new_login_url": url}
		got := get(t, newPages(t, api{loginPath: answers(http.StatusOK, say(flow, m))}), "/ui/login?flow=1")
		return got.page
	}
	for url, want := range map[string]string{
		"https://accounts.example.com/login": "https://accounts.example.com/login",
		"":                                   "/ui/login",
		"javascript:alert(1)":                "about:invalid#TemplFailedSanitizationURL",
	} {
		page := link(url)
		if n := len(page.tags("form")); n != 0 {
			t.Errorf("forms: %d, want none without a button", n)
		}
		if got := resolve(t, "/ui/login", page.tags("a")[0].attr("href")); got != want {
			t.Errorf("new_login_url %q: the way leads to %q, want %q", url, got, want)
		}
	}
}
