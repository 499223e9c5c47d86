package pages_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/pages"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	const path = "/self-service/settings/flows"
	for name, c := range map[string]struct {
		title string
		says  string
		forms []string
	}{
		"settings":         {"Your settings", "Accounts that you have elsewhere can be ways to sign in here.", []string{"csrf_token link=google", "csrf_token unlink=corp"}},
		"settings_refused": {"Error: Your settings", "There is a problem This is the last way to sign in to your account, so it stays.", []string{"csrf_token link=google", "csrf_token unlink=corp"}},
		"settings_saved":   {"Your settings", "Your changes are saved.", []string{"csrf_token link=google", "csrf_token unlink=corp"}},
	} {
		page := get(t, newPages(t, api{path: answers(http.StatusOK, golden(t, name, nil))}), "/ui/settings?flow=1").page
		if title := page.tags("title")[0].text(); title != c.title+" – Harbour" {
			t.Errorf("%s: title %q, want %q", name, title, c.title)
		}
		if text := page.tags("main")[0].text(); !strings.Contains(text, c.says) {
			t.Errorf("%s: says %q, want %q in it", name, text, c.says)
		}
		var forms []string
		for _, form := range page.tags("form") {
			var fields []string
			for _, e := range form.all(func(e element) bool { return e.has("name") }) {
				field := e.attr("name")
				if e.Data == "button" {
					field += "=" + e.attr("value")
				}
				fields = append(fields, field)
			}
			forms = append(forms, strings.Join(fields, " "))
		}
		if !slices.Equal(forms, c.forms) { // a button sends nothing but itself
			t.Errorf("%s: forms %q, want %q", name, forms, c.forms)
		}
		links := page.tags("a")
		if to := resolve(t, "/ui/settings", links[len(links)-1].attr("href")); to != "/ui/welcome" {
			t.Errorf("%s: the way leads to %q, want the start", name, to)
		}
	}
	empty := golden(t, "settings", nil)
	empty["ui"].(object)["nodes"] = empty["ui"].(object)["nodes"].([]any)[:1]
	if text := get(t, newPages(t, api{path: answers(http.StatusOK, empty)}), "/ui/settings?flow=1").page.tags("main")[0].text(); !strings.Contains(text, "There is nothing that you could change here.") {
		t.Errorf("a page without buttons says %q", text)
	}
}

// Settings are one page: a part for each thing that can be changed, with a form of its
// own, so that nothing is sent along that was not meant.
func TestPartsOfSettings(t *testing.T) {
	t.Parallel()
	const path = "/self-service/settings/flows"
	page := get(t, newPages(t, api{path: answers(http.StatusOK, golden(t, "settings_all", nil))}), "/ui/settings?flow=1").page
	want := [][]string{
		{"Your details", "csrf_token traits.email=anna@example.org traits.name.first= traits.plan= traits.terms=false traits.terms=true method=profile"},
		{"Your password", "csrf_token password= method=password"},
		{"Sign-in with other accounts", "csrf_token link=google", "csrf_token unlink=corp"},
		{"Your sessions"},
	}
	var parts [][]string
	for _, s := range page.tags("section") {
		part := []string{page.one(t, "id", s.attr("aria-labelledby")).text()}
		for _, form := range sentBy(s) {
			part = append(part, strings.ReplaceAll(strings.Join(form, " "), "csrf_token=bWFza2Vk", "csrf_token"))
		}
		parts = append(parts, part)
	}
	if !slices.EqualFunc(parts, want, slices.Equal) {
		t.Errorf("parts = %q, want %q", parts, want)
	}
	if got := ways(t, page, "/ui/settings?flow=1"); !slices.Equal(got, []string{"/ui/sessions", "/ui/welcome"}) {
		t.Errorf("ways lead to %q, want the sessions and the start", got)
	}
	if cursor(page) != "" || strings.Contains(page.tags("main")[0].text(), "again") {
		t.Errorf("the cursor is at %q, and the page says %q; want neither", cursor(page), page.tags("main")[0].text())
	}
}

// What is wrong in one part has nothing to do with the others: nobody has to enter a
// password again who has sent none, and the cursor goes to nothing that was not sent.
func TestWhatIsWrongInOnePartOfSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		golden, active string
		messages       []object
		cursor         string
		again          bool
	}{
		"at a field of the profile": {"settings_entered", "profile", nil, "traits.email", false},
		"of a whole profile":        {"settings_all", "profile", []object{message("error", "Taken.")}, "traits.name.first", false},
		"of a whole password":       {"settings_all", "password", []object{message("error", "No.")}, "password", true},
		"of a link":                 {"settings_all", "oidc", []object{message("error", "The last way.")}, "", false},
		"of nothing":                {"settings_all", "", []object{message("error", "Over.")}, "", false},
	} {
		view := golden(t, c.golden, object{"active": c.active})
		if c.messages != nil {
			say(view, c.messages...)
		}
		page := get(t, newPages(t, api{"/self-service/settings/flows": answers(http.StatusOK, view)}), "/ui/settings?flow=1").page
		if again := strings.Contains(page.tags("main")[0].text(), "Please enter it again."); cursor(page) != c.cursor || again != c.again {
			t.Errorf("%s: the cursor is at %q, want %q; the password is asked for again: %t, want %t", name, cursor(page), c.cursor, again, c.again)
		}
	}
}

// Who is not signed in any more is led to the login by the API, which knows where
// that is, and back.
func TestSettingsOfNobody(t *testing.T) {
	t.Parallel()
	h := newPages(t, api{"/self-service/settings/flows": fails(http.StatusUnauthorized, "No active session was found.")})
	got := get(t, h, "/ui/settings?flow=1&return_to=%2Fapp")
	if to := resolve(t, "/ui/settings", got.header.Get("Location")); got.status != http.StatusSeeOther || to != "/self-service/settings/browser?return_to=%2Fapp" {
		t.Errorf("settings of nobody: %d to %q, want 303 to a new flow", got.status, to)
	}
}

// Who has saved another address is told that its mail verifies it, where one goes out.
func TestSettingsTellOfAMail(t *testing.T) {
	t.Parallel()
	const says = "ann@example.com is not verified yet. If you entered it just now, a mail is on its way there"
	usual, behindRecovery := "https://a.example/self-service/settings/browser", "https://a.example/self-service/recovery/browser"
	for name, c := range map[string]struct {
		begun, active, state   string
		verified, verification bool
		want                   bool
	}{
		"a profile":                   {usual, "profile", "success", false, true, true},
		"a profile behind a recovery": {behindRecovery, "profile", "success", false, true, true},
		"all is verified":             {usual, "profile", "success", true, true, false},
		"no mail goes out":            {usual, "profile", "success", false, false, false},
		"not saved":                   {usual, "profile", "show_form", false, true, false},
		"a password":                  {usual, "password", "success", false, true, false},
	} {
		view := golden(t, "settings_all", object{
			"request_url": c.begun, "active": c.active, "state": c.state,
			"identity": object{"verifiable_addresses": []any{object{"value": "first@example.com", "verified": true}, object{"value": "ann@example.com", "verified": c.verified}}},
		})
		h := pages.New(pages.Options{
			Public:       api{"/self-service/settings/flows": answers(http.StatusOK, view)},
			ProductName:  "Harbour",
			Verification: func() bool { return c.verification },
		})
		page := get(t, h, "/ui/settings?flow=1").page
		if text := page.tags("main")[0].text(); strings.Contains(text, says) != c.want || strings.Contains(text, "change the address now too") && c.want {
			t.Errorf("%s: the page tells of a mail: %t, want %t, and of no lost one: %s", name, !c.want, c.want, text)
		}
		if leads := slices.Contains(ways(t, page, "/ui/settings?flow=1"), "/ui/verification"); leads != c.want {
			t.Errorf("%s: the page leads to a verification: %t, want %t", name, leads, c.want)
		}
	}
}

// The start page leads to settings where there is something to change.
func TestWelcomeLeadsToSettings(t *testing.T) {
	t.Parallel()
	public := api{whoamiPath: answers(http.StatusOK, object{"identity": object{"id": "2f1d"}})}
	for name, c := range map[string]struct {
		settings func() bool
		want     bool
	}{
		"nothing to change":   {func() bool { return false }, false},
		"something to change": {func() bool { return true }, true},
		"nobody knows":        {nil, false},
	} {
		page := get(t, pages.New(pages.Options{Public: public, ProductName: "Harbour", Settings: c.settings}), "/ui/welcome").page
		leads := slices.ContainsFunc(page.tags("a"), func(e element) bool { return resolve(t, "/ui/welcome", e.attr("href")) == "/ui/settings" })
		if leads != c.want {
			t.Errorf("%s: the page leads to settings: %t, want %t", name, leads, c.want)
		}
	}
}
