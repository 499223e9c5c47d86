package pages_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// registration is a flow as the contract shows it, with the given nodes.
func registration(nodes ...object) object {
	return object{"id": "1", "type": "browser", "ui": object{
		"action": "https://accounts.example.com/self-service/registration?flow=1", "method": "POST", "nodes": nodes,
	}}
}

// say puts messages for the whole flow into it.
func say(flow object, messages ...object) object {
	flow["ui"].(object)["messages"] = messages
	return flow
}

func message(kind, text string) object { return object{"id": 1, "type": kind, "text": text} }

func node(kind, group string, attributes object, label string, messages ...object) object {
	attributes["node_type"] = kind
	n := object{"type": kind, "group": group, "attributes": attributes, "messages": messages, "meta": object{}}
	if messages == nil {
		n["messages"] = []object{}
	}
	if label != "" {
		n["meta"] = object{"label": message("info", label)}
	}
	return n
}

func input(group, kind, name string, more object, label string, messages ...object) object {
	attributes := object{"type": kind, "name": name, "disabled": false}
	for key, value := range more {
		attributes[key] = value
	}
	return node("input", group, attributes, label, messages...)
}

func csrf() object {
	return input("default", "hidden", "csrf_token", object{"value": "masked", "required": true}, "")
}

func submit(group, name, value, label string) object {
	return input(group, "submit", name, object{"value": value}, label)
}

// show draws a flow.
func show(t *testing.T, flow object) element {
	t.Helper()
	got := get(t, newPages(t, api{flowsPath: answers(http.StatusOK, flow)}), "/ui/registration?flow=1")
	if got.status != http.StatusOK {
		t.Fatalf("GET /ui/registration: status %d, want 200", got.status)
	}
	return got.page
}

func TestEveryKindOfNodeIsDrawn(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		csrf(),
		input("default", "email", "traits.email", object{"required": true, "autocomplete": "email", "value": "ada@example.com", "pattern": "x"}, "E-Mail"),
		input("default", "text", "traits.nick_name", nil, ""),
		input("default", "number", "traits.age", object{"value": 12345678901234567}, "Age"),
		input("default", "checkbox", "traits.terms", object{"required": true, "value": true}, "I agree"),
		input("default", "tel", "traits.phone", nil, "Phone"),
		input("default", "url", "traits.site", nil, "Site"),
		input("default", "date", "traits.born", object{"value": "1815-12-10"}, "Born"),
		input("default", "datetime-local", "traits.met", nil, "Met"),
		input("default", "text", "traits.size", object{"value": "M", "options": []object{{"value": "S"}, {"value": "M"}, {"value": 7}}}, "Size"),
		input("default", "text", "traits.fixed", object{"disabled": true}, "Fixed"),
		input("password", "password", "password", object{"required": true, "autocomplete": "new-password"}, "Password"),
		node("text", "default", object{"id": "hint", "text": message("info", "Write this down.")}, "Your code"),
		node("img", "default", object{"id": "qr", "src": "/qr.png", "width": 256, "height": 128}, "QR code"),
		node("a", "default", object{"id": "continue", "href": "https://example.com/next", "title": message("info", "Go on")}, ""),
		submit("password", "method", "password", "Sign up"),
	))
	form := page.tags("form")[0]
	if form.attr("action") != "https://accounts.example.com/self-service/registration?flow=1" || form.attr("method") != "POST" || !form.has("novalidate") {
		t.Errorf("form = %v, want the flow's action and method, not checked by the browser", form.Attr)
	}
	if token := page.one(t, "name", "csrf_token"); token.attr("type") != "hidden" || token.attr("value") != "masked" {
		t.Errorf("csrf_token = %v, want it hidden with its value", token.Attr)
	}
	for _, c := range []struct{ name, kind, value, label string }{
		{"traits.email", "email", "ada@example.com", "E-Mail"},
		{"traits.nick_name", "text", "", "Nick name (optional)"},
		{"traits.age", "number", "12345678901234567", "Age (optional)"},
		{"traits.terms", "checkbox", "true", "I agree"},
		{"traits.phone", "tel", "", "Phone (optional)"},
		{"traits.site", "url", "", "Site (optional)"},
		{"traits.born", "date", "1815-12-10", "Born (optional)"},
		{"traits.met", "datetime-local", "", "Met (optional)"},
		{"traits.fixed", "text", "", "Fixed (optional)"},
		{"password", "password", "", "Password"},
	} {
		e := page.input(t, c.name)
		if e.attr("type") != c.kind || e.attr("value") != c.value || e.label(t, page) != c.label {
			t.Errorf("%s: type %q, value %q, label %q, want %q, %q, %q", c.name, e.attr("type"), e.attr("value"), e.label(t, page), c.kind, c.value, c.label)
		}
		if e.attr("aria-invalid") != "false" || e.has("autofocus") {
			t.Errorf("%s: %v, want it to be fine", c.name, e.Attr)
		}
	}
	email := page.input(t, "traits.email")
	if !email.has("required") || email.attr("autocomplete") != "email" || email.has("pattern") {
		t.Errorf("traits.email = %v, want it required with autocomplete and without pattern", email.Attr)
	}
	if !page.input(t, "traits.fixed").has("disabled") {
		t.Error("traits.fixed is not disabled")
	}
	if terms := page.input(t, "traits.terms"); !terms.has("checked") || terms.has("required") {
		t.Errorf("traits.terms = %v, want it ticked and free to be left out", terms.Attr)
	}
	if text := page.one(t, "class", "text").text(); text != "Your code Write this down." {
		t.Errorf("text node says %q", text)
	}
	if qr := page.tags("img")[0]; qr.attr("src") != "/qr.png" || qr.attr("alt") != "QR code" || qr.attr("width") != "256" || qr.attr("height") != "128" {
		t.Errorf("img = %v", qr.Attr)
	}
	if a := page.one(t, "href", "https://example.com/next"); a.text() != "Go on" {
		t.Errorf("link says %q, want Go on", a.text())
	}
	if b := page.input(t, "method"); b.attr("type") != "submit" || b.attr("value") != "password" || b.text() != "Sign up" {
		t.Errorf("submit = %v %q", b.Attr, b.text())
	}
	checkChoice(t, page.input(t, "traits.size"))
}

func checkChoice(t *testing.T, size element) {
	t.Helper()
	var values, selected []string
	for _, o := range size.tags("option") {
		values = append(values, o.attr("value"))
		if o.has("selected") {
			selected = append(selected, o.attr("value"))
		}
	}
	if !slices.Equal(values, []string{"", "S", "M", "7"}) || !slices.Equal(selected, []string{"M"}) {
		t.Errorf("options %q, selected %q, want none, S, M and 7, and M", values, selected)
	}
}

func TestABoxThatIsNotTickedSaysNo(t *testing.T) {
	t.Parallel()
	page := show(t, registration(input("default", "checkbox", "traits.news", nil, "News")))
	box := page.input(t, "traits.news")
	before := page.all(func(e element) bool { return e.attr("name") == "traits.news" })[0]
	if before.attr("type") != "hidden" || before.attr("value") != "false" || box.attr("value") != "true" || box.has("checked") {
		t.Errorf("before the box %v, the box %v, want false before true", before.Attr, box.Attr)
	}
}

func TestWhatCannotBeDrawnIsLeftOutButItsMessagesAreNot(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		node("script", "webauthn", object{"src": "https://example.com/x.js"}, "", message("error", "No key was found.")),
		node("hologram", "later", object{"name": "hologram"}, "Hologram"),
		input("webauthn", "button", "webauthn_trigger", object{"onclick": "alert(1)"}, "Use a key"),
		input("default", "hidden", "csrf_token", object{"value": "masked"}, "", message("info", "Nearly there.")),
		submit("password", "method", "password", "Sign up"),
	))
	if n := len(page.all(func(e element) bool { return e.Data == "input" || e.Data == "button" })); n != 2 {
		t.Errorf("drawn inputs: %d, want csrf_token and the button", n)
	}
	if text := page.one(t, "role", "alert").text(); text != "There is a problem No key was found." {
		t.Errorf("summary says %q", text)
	}
	if text := page.one(t, "role", "status").text(); text != "Nearly there." {
		t.Errorf("note says %q", text)
	}
}

func TestMessagesAreTiedToTheirFields(t *testing.T) {
	t.Parallel()
	page := show(t, say(registration(
		csrf(),
		input("default", "email", "traits.email", object{"required": true, "value": "a"}, "E-Mail",
			message("error", "This is not a valid email address."), message("error", "The length must be at least 3, but is 1.")),
		input("default", "text", "traits.name", nil, "Name", message("info", "As in your passport.")),
		input("password", "password", "password", object{"required": true}, "Password"),
		submit("password", "method", "password", "Sign up"),
	), message("error", "An account exists already."), message("success", "Your address is verified.")))

	email, name, password := page.input(t, "traits.email"), page.input(t, "traits.name"), page.input(t, "password")
	for _, c := range []struct {
		element
		invalid, described string
		focus              bool
	}{
		{email, "true", "This is not a valid email address. The length must be at least 3, but is 1.", true},
		{name, "false", "As in your passport.", false},
		{password, "false", "Please enter it again.", false},
	} {
		described := page.one(t, "id", c.attr("aria-describedby"))
		if got := described.text(); got != c.described {
			t.Errorf("%s is described by %q, want %q", c.attr("name"), got, c.described)
		}
		if c.attr("aria-invalid") != c.invalid || c.has("autofocus") != c.focus {
			t.Errorf("%s: %v, want aria-invalid=%s, focus %t", c.attr("name"), c.Attr, c.invalid, c.focus)
		}
	}
	var said []string
	summary := page.one(t, "role", "alert")
	for _, li := range summary.tags("li") {
		said = append(said, li.text())
	}
	want := []string{
		"An account exists already.",
		"E-Mail: This is not a valid email address.",
		"E-Mail: The length must be at least 3, but is 1.",
	}
	if !slices.Equal(said, want) {
		t.Errorf("summary = %q, want %q", said, want)
	}
	if to := summary.tags("a")[0].attr("href"); to != "#"+email.attr("id") {
		t.Errorf("summary leads to %q, want the field #%s", to, email.attr("id"))
	}
	if text := page.one(t, "role", "status").text(); text != "Your address is verified." {
		t.Errorf("note says %q", text)
	}
	if title := page.tags("title")[0].text(); title != "Error: Create your account – Harbour" {
		t.Errorf("title = %q, want the error first", title)
	}
}

// Enter in a field presses the first button of its form: that must never be
// the one of an identity provider, though it takes the traits along.
func TestEnterNeverPressesTheButtonOfAProvider(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		csrf(),
		input("default", "email", "traits.email", nil, "E-Mail"),
		submit("oidc", "provider", "google", "Sign up with Google"),
		submit("oidc", "provider", "github", "Sign up with GitHub"),
		input("password", "password", "password", nil, "Password"),
		submit("password", "method", "password", "Sign up"),
		submit("password", "screen", "previous", "Back"),
	))
	var forms [][]string
	var primary []string
	for _, form := range page.tags("form") {
		var names []string
		for _, e := range form.all(func(e element) bool { return e.has("name") }) {
			names = append(names, e.attr("name")+"="+e.attr("value"))
			if strings.Contains(e.attr("class"), "primary") {
				primary = append(primary, e.text())
			}
		}
		forms = append(forms, names)
	}
	want := [][]string{
		{"csrf_token=masked", "traits.email=", "password=", "method=password", "provider=google", "provider=github"},
		{"csrf_token=masked", "screen=previous"},
	}
	if !slices.EqualFunc(forms, want, slices.Equal) {
		t.Errorf("forms = %q, want %q", forms, want)
	}
	if !slices.Equal(primary, []string{"Sign up"}) {
		t.Errorf("buttons that lead on: %q, want Sign up", primary)
	}
}

func TestTraitsStandBeforeTheButtonOfTheFirstOfTwoSteps(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		csrf(),
		input("default", "email", "traits.email", nil, "E-Mail"),
		submit("oidc", "provider", "google", "Sign up with Google"),
		submit("profile", "method", "profile", "Sign up"),
	))
	form := page.tags("form")[0]
	if form.input(t, "traits.email"); form.input(t, "method").attr("value") != "profile" {
		t.Errorf("the traits are not in the form of method=profile: %v", form.Attr)
	}
}

func TestValuesAreTextAndNothingElse(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>' onfocus='alert(1)`
	flow := say(registration(
		input("default", "text", evil, object{"value": evil, "autocomplete": evil}, evil, message("error", evil)),
		input("default", evil, "traits.typed", object{"value": evil}, "Typed"),
		input("default", "text", "traits.choice", object{"options": []object{{"value": evil}}}, "Choice"),
		node("text", "default", object{"id": evil, "text": message("info", evil)}, evil),
		node("a", "default", object{"id": "a", "href": "javascript:alert(1)"}, evil),
		node("img", "default", object{"id": "img", "src": "javascript:alert(1)"}, evil),
		submit("password", "method", evil, evil),
	), message("error", evil), message("info", evil))
	flow["ui"].(object)["action"] = "javascript:alert(1)"
	page := show(t, flow) // get checks for scripts and handlers

	e := page.input(t, evil)
	if e.attr("value") != evil || e.label(t, page) != evil+" (optional)" {
		t.Errorf("value %q, label %q, want them as they were given", e.attr("value"), e.label(t, page))
	}
	if text := page.one(t, "id", e.attr("aria-describedby")).text(); text != evil {
		t.Errorf("message = %q, want it as it was given", text)
	}
	if text := page.one(t, "role", "status").text(); text != evil {
		t.Errorf("note = %q, want it as it was given", text)
	}
	for _, e := range page.all(func(element) bool { return true }) {
		for _, name := range []string{"href", "src", "action"} {
			if strings.HasPrefix(e.attr(name), "javascript:") {
				t.Errorf("<%s> has %s=%q", e.Data, name, e.attr(name))
			}
		}
	}
}

func TestWhatPeopleWroteMayRunFromRightToLeft(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		input("default", "text", "traits.name", object{"value": "עדה"}, "שם", message("error", "שגיאה")),
	))
	name := page.input(t, "traits.name")
	for _, e := range []element{name, page.one(t, "for", name.attr("id")), page.one(t, "id", name.attr("aria-describedby")).tags("p")[0]} {
		if e.attr("dir") != "auto" {
			t.Errorf("<%s> has dir=%q, want auto", e.Data, e.attr("dir"))
		}
	}
}
