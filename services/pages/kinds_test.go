package pages_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden is a flow as the API draws it, made a browser's.
func golden(t *testing.T, name string, more object) object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "flow", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var flow object
	if err := json.Unmarshal(text, &flow); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	flow["type"] = "browser"
	for key, value := range more {
		flow[key] = value
	}
	return flow
}

func TestPagesOfFlowsAsTheAPIDrawsThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, golden, title string
		names               []string // of what is seen, in order
		primary             string
		focus               string // name of the field with the cursor
		says                string // in the summary or the note
		ways                []string
	}{
		{"registration", "browser", "Create your account", []string{"traits.email", "traits.name.first", "traits.plan", "traits.terms", "password", "method"}, "Sign up", "", "", []string{"/ui/login"}},
		{"registration", "two_steps_first", "Create your account", []string{"traits.email", "traits.name.first", "traits.plan", "traits.terms", "method", "provider", "provider"}, "Sign up", "", "or Sign up with Google", []string{"/ui/login"}},
		{"registration", "two_steps_second", "Choose how you sign in", []string{"password", "method", "screen"}, "Sign up", "password", "Please choose how you want to sign in from now on.", []string{"/ui/login"}},
		{"registration", "two_steps_password", "Error: Choose how you sign in", []string{"password", "method", "screen"}, "Sign up", "password", "Password: The password is well known", []string{"/ui/login"}},
		{"login", "login_browser", "Sign in", []string{"identifier", "password", "method"}, "Sign in with password", "", "", []string{"/ui/registration"}},
		{"login", "login_wrong", "Error: Sign in", []string{"identifier", "password", "method"}, "Sign in with password", "password", "The identifier or the password is wrong.", []string{"/ui/registration"}},
		{"login", "login_refresh", "Confirm that it is you", []string{"password", "method"}, "Sign in", "", "Please confirm that it is you.", nil},
		{"registration", "oidc_registration", "Create your account", []string{"traits.email", "traits.name.first", "traits.plan", "traits.terms", "password", "method", "provider", "provider"}, "Sign up", "", "or Sign up with Google Sign up with Corp & Sons", []string{"/ui/login"}},
		{"registration", "oidc_came_back", "Error: Complete your account", []string{"traits.email", "traits.name.first", "traits.plan", "traits.terms", "provider"}, "Continue", "traits.name.first", "First name: Please fill in first.", []string{"/ui/registration", "/ui/login"}},
		{"login", "oidc_login", "Sign in", []string{"identifier", "password", "method", "provider", "provider"}, "Sign in with password", "", "or Sign in with Google Sign in with Corp & Sons", []string{"/ui/registration"}},
		{"login", "oidc_refresh", "Confirm that it is you", []string{"password", "method", "provider", "provider"}, "Sign in", "", "Signed in as ann@example.com", nil},
		{"login", "oidc_link", "Sign in to your account", []string{"password", "method", "provider"}, "Sign in with password", "", "as ann@example.com There is an account with ann@example.com already. Sign in to it to add Google as another way to sign in.", []string{"https://accounts.example.com/self-service/login/browser"}},
		{"login", "oidc_link_refused", "Error: Sign in to your account", []string{"password", "method", "provider"}, "Sign in with password", "password", "The identifier or the password is wrong. There is an account with", []string{"https://accounts.example.com/self-service/login/browser"}},
		{"verification", "verification_choose_method", "Verify your address", []string{"email", "method"}, "Continue", "", "", nil},
		{"verification", "verification_no_email", "Error: Verify your address", []string{"email", "method"}, "Continue", "email", "Email: Please fill in email.", nil},
		{"verification", "verification_sent_email", "Enter your code", []string{"code", "method", "email"}, "Continue", "code", "If the address belongs to an account, a mail with a code is on its way to it.", []string{"/ui/verification"}},
		{"verification", "verification_wrong_code", "Error: Enter your code", []string{"code", "method", "email"}, "Continue", "code", "The code is wrong or was used already.", []string{"/ui/verification"}},
		{"verification", "verification_passed", "Verification complete", nil, "Continue", "", "Your address is verified.", []string{"https://app.example.com/home?a=b&c"}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			t.Parallel()
			flow := golden(t, c.golden, nil)
			target := "/ui/" + c.kind + "?flow=1"
			got := get(t, newPages(t, api{"/self-service/" + c.kind + "/flows": answers(http.StatusOK, flow)}), target)
			if title := got.page.tags("title")[0].text(); got.status != http.StatusOK || title != c.title+" – Harbour" {
				t.Errorf("GET %s: %d %q, want 200 %q", target, got.status, title, c.title)
			}
			var names, primary, focus, ways []string
			for _, e := range got.page.all(func(e element) bool { return e.has("name") && e.Data != "meta" && e.attr("type") != "hidden" }) {
				names = append(names, e.attr("name"))
			}
			for _, e := range got.page.all(func(element) bool { return true }) {
				if slices.Contains(strings.Fields(e.attr("class")), "primary") {
					primary = append(primary, e.text())
				}
				if e.has("autofocus") {
					focus = append(focus, e.attr("name"))
				}
				if to := e.attr("href"); e.Data == "a" && !strings.HasPrefix(to, "#") {
					ways = append(ways, resolve(t, target, to))
				}
			}
			if !slices.Equal(names, c.names) || !slices.Equal(primary, []string{c.primary}) || strings.Join(focus, " ") != c.focus || !slices.Equal(ways, c.ways) {
				t.Errorf("shows %q, leads on by %q, cursor at %q, ways %q, want %q, %q, %q, %q", names, primary, focus, ways, c.names, c.primary, c.focus, c.ways)
			}
			if text := got.page.tags("main")[0].text(); !strings.Contains(text, c.says) {
				t.Errorf("says %q, want %q in it", text, c.says)
			}
		})
	}
}

// Both buttons of the second step send the traits along, and the password goes only
// where it is wanted.
func TestSecondStepOfARegistration(t *testing.T) {
	t.Parallel()
	page := show(t, golden(t, "two_steps_second", nil))
	var forms [][]string
	for _, form := range page.tags("form") {
		var fields []string
		for _, e := range form.all(func(e element) bool { return e.has("name") }) {
			fields = append(fields, e.attr("name")+"="+e.attr("value"))
		}
		forms = append(forms, fields)
	}
	traits := []string{"csrf_token=bWFza2Vk", "traits.email=ann@example.com", "traits.name.first=", "traits.plan=3", "traits.terms=true"}
	want := [][]string{slices.Concat(traits, []string{"password=", "method=password"}), slices.Concat(traits, []string{"screen=previous"})}
	if !slices.EqualFunc(forms, want, slices.Equal) {
		t.Errorf("forms = %q, want %q", forms, want)
	}
	if n := len(page.tags("hr")); n != 0 {
		t.Errorf("%d lines between the ways, want none: there is one", n)
	}
}

// What is wrong of the whole flow is read where the cursor stands: there is no
// field that it belongs to.
func TestWhatIsWrongOfTheWholeFlowIsReadAtTheCursor(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct{ golden, field, described string }{
		"login":        {"login_wrong", "password", "There is a problem The identifier or the password is wrong. Please enter it again."},
		"verification": {"verification_wrong_code", "code", "There is a problem The code is wrong or was used already."},
	} {
		page := get(t, newPages(t, api{"/self-service/" + kind + "/flows": answers(http.StatusOK, golden(t, c.golden, nil))}), "/ui/"+kind+"?flow=1").page
		var described []string
		for id := range strings.FieldsSeq(page.input(t, c.field).attr("aria-describedby")) {
			described = append(described, page.one(t, "id", id).text())
		}
		if got := strings.Join(described, " "); got != c.described {
			t.Errorf("%s is described by %q, want %q", c.field, got, c.described)
		}
	}
}

func TestWhatIsEnteredAtALogin(t *testing.T) {
	t.Parallel()
	page := get(t, newPages(t, api{loginPath: answers(http.StatusOK, golden(t, "login_wrong", nil))}), "/ui/login?flow=1").page
	identifier, password := page.input(t, "identifier"), page.input(t, "password")
	if identifier.attr("value") != "ann@example.com" || identifier.attr("autocomplete") != "username" || identifier.attr("autocapitalize") != "none" {
		t.Errorf("identifier = %v, want what was entered, and a username", identifier.Attr)
	}
	if password.attr("value") != "" || password.attr("autocomplete") != "current-password" {
		t.Errorf("password = %v, want it empty", password.Attr)
	}
}

func TestWhatIsEnteredAtAVerification(t *testing.T) {
	t.Parallel()
	flow := golden(t, "verification_sent_email", nil)
	for _, n := range flow["ui"].(object)["nodes"].([]any) {
		if attributes := n.(object)["attributes"].(object); attributes["name"] == "code" {
			attributes["value"] = "012345" // as the link in the mail fills it in
		}
	}
	page := get(t, newPages(t, api{verificationPath: answers(http.StatusOK, flow)}), "/ui/verification?flow=1").page
	code := page.input(t, "code")
	for name, want := range map[string]string{"type": "text", "value": "012345", "autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"} {
		if got := code.attr(name); got != want {
			t.Errorf("code: %s = %q, want %q", name, got, want)
		}
	}
	var forms [][]string
	for _, form := range page.tags("form") {
		var fields []string
		for _, e := range form.all(func(e element) bool { return e.has("name") }) {
			fields = append(fields, e.attr("name")+"="+e.attr("value"))
		}
		forms = append(forms, fields)
	}
	want := [][]string{
		{"csrf_token=bWFza2Vk", "method=code", "code=012345", "method=code"},
		{"csrf_token=bWFza2Vk", "method=code", "email=ann@example.com"}, // a code would be checked instead
	}
	if !slices.EqualFunc(forms, want, slices.Equal) {
		t.Errorf("forms = %q, want %q", forms, want)
	}
}

// The CSRF token of a flow that is done is nobody's business, least of all that
// of the site it leads to.
func TestAVerificationThatIsDoneHasNothingToSend(t *testing.T) {
	t.Parallel()
	page := get(t, newPages(t, api{verificationPath: answers(http.StatusOK, golden(t, "verification_passed", nil))}), "/ui/verification?flow=1").page
	if n := len(page.all(func(e element) bool { return e.Data == "form" || e.Data == "input" })); n != 0 {
		t.Errorf("forms and inputs: %d, want none", n)
	}
	if text := page.one(t, "role", "status").text(); text != "Your address is verified." {
		t.Errorf("note says %q", text)
	}
}

func TestWaysTakeAlongWhereToReturn(t *testing.T) {
	t.Parallel()
	const to = "https://app.example.com/?a=b&c=\"><script>"
	for kind, way := range map[string]string{"registration": "login", "login": "registration"} {
		flow := registration()
		flow["return_to"] = to
		page := get(t, newPages(t, api{"/self-service/" + kind + "/flows": answers(http.StatusOK, flow)}), "/ui/"+kind+"?flow=1").page
		want := "/ui/" + way + "?return_to=https%3A%2F%2Fapp.example.com%2F%3Fa%3Db%26c%3D%22%3E%3Cscript%3E"
		if got := resolve(t, "/ui/"+kind, page.tags("a")[0].attr("href")); got != want {
			t.Errorf("from %s the way leads to %q, want %q", kind, got, want)
		}
	}
}

func TestMethodsOfLaterDaysAreFormsLikeOthers(t *testing.T) {
	t.Parallel()
	page := show(t, registration(
		csrf(),
		input("hologram", "retina", "scan", object{"value": "v"}, "Scan"),
		node("div", "hologram", object{"id": "x", "data": object{"onload": "alert(1)"}}, "Box"),
		input("hologram", "hidden", "seed", object{"value": "s"}, ""),
		submit("hologram", "method", "hologram", "Project"),
		input("default", "email", "traits.email", nil, "E-Mail"),
	))
	form := page.tags("form")[0]
	if e := form.input(t, "scan"); e.attr("type") != "retina" || e.label(t, page) != "Scan (optional)" {
		t.Errorf("scan = %v, labelled %q", e.Attr, e.label(t, page))
	}
	if form.input(t, "traits.email"); form.input(t, "method").attr("value") != "hologram" {
		t.Errorf("the form is not that of method=hologram: %v", form.Attr)
	}
}
