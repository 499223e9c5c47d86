package pages_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// element is an element of a page.
type element struct{ *html.Node }

func (e element) attr(name string) string {
	for _, a := range e.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (e element) has(name string) bool {
	for _, a := range e.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// blocks begin on a line of their own.
var blocks = []string{"div", "h1", "h2", "p", "li", "dt", "dd", "form"}

// text is what can be read in e, with single spaces.
func (e element) text() string {
	var b strings.Builder
	for n := range e.Descendants() {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case slices.Contains(blocks, n.Data):
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// all are the elements below e for which is gives true.
func (e element) all(is func(element) bool) (found []element) {
	for n := range e.Descendants() {
		if n.Type == html.ElementNode && is(element{n}) {
			found = append(found, element{n})
		}
	}
	return found
}

func (e element) tags(name string) []element {
	return e.all(func(e element) bool { return e.Data == name })
}

// one is the only element with an attribute of that value.
func (e element) one(t *testing.T, attribute, value string) element {
	t.Helper()
	found := e.all(func(e element) bool { return e.has(attribute) && e.attr(attribute) == value })
	if len(found) != 1 {
		t.Fatalf("elements with %s=%q: got %d, want 1", attribute, value, len(found))
	}
	return found[0]
}

// input is the only element a person sees with that name.
func (e element) input(t *testing.T, name string) element {
	t.Helper()
	found := e.all(func(e element) bool { return e.attr("name") == name && e.attr("type") != "hidden" })
	if len(found) != 1 {
		t.Fatalf("inputs named %q: got %d, want 1", name, len(found))
	}
	return found[0]
}

// label is the text of the label that is tied to e.
func (e element) label(t *testing.T, page element) string {
	t.Helper()
	return page.one(t, "for", e.attr("id")).text()
}

// response is an answer of the pages.
type response struct {
	status int
	header http.Header
	page   element
}

// get asks for a page and holds it against the rules for all pages.
func get(t *testing.T, h http.Handler, target string, edit ...func(*http.Request)) response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	got := response{status: w.Code, header: w.Header()}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		parsed, err := html.Parse(w.Body)
		if err != nil {
			t.Fatalf("GET %s: parse: %v", target, err)
		}
		got.page = element{parsed}
		checkPage(t, target, got.page)
	}
	return got
}

// checkPage holds a page against what is true of all of them: nothing inline,
// no scripts, everything named and tied.
func checkPage(t *testing.T, target string, page element) {
	t.Helper()
	ids := map[string]bool{}
	for _, e := range page.all(func(element) bool { return true }) {
		switch e.Data {
		case "script", "style", "iframe", "object", "embed", "base":
			t.Errorf("GET %s: the page has a <%s>", target, e.Data)
		}
		for _, a := range e.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("GET %s: <%s> has %s=%q", target, e.Data, a.Key, a.Val)
			}
		}
		if id := e.attr("id"); id != "" {
			if ids[id] {
				t.Errorf("GET %s: id %q stands twice", target, id)
			}
			ids[id] = true
		}
	}
	for _, e := range page.all(func(element) bool { return true }) {
		for _, reference := range append(strings.Fields(e.attr("aria-describedby")), strings.Fields(e.attr("for"))...) {
			if !ids[reference] {
				t.Errorf("GET %s: <%s> refers to %q, which is not there", target, e.Data, reference)
			}
		}
	}
	for _, e := range page.all(isEntered) {
		if labels := page.all(func(l element) bool { return l.Data == "label" && l.attr("for") == e.attr("id") }); len(labels) != 1 {
			t.Errorf("GET %s: %q has %d labels, want 1", target, e.attr("name"), len(labels))
		}
	}
	if n := len(page.all(func(e element) bool { return e.has("autofocus") })); n > 1 {
		t.Errorf("GET %s: the cursor is to stand at %d places", target, n)
	}
	if n := len(page.tags("h1")); n != 1 {
		t.Errorf("GET %s: got %d <h1>, want 1", target, n)
	}
	if lang := page.tags("html")[0].attr("lang"); lang != "en" && lang != "de" {
		t.Errorf("GET %s: lang = %q, want one of the languages", target, lang)
	}
}

// isEntered tells whether something is entered at e.
func isEntered(e element) bool {
	return e.Data == "select" || e.Data == "input" && e.attr("type") != "hidden"
}

func heading(page element) string { return page.tags("h1")[0].text() }
