package pages_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/pages"
)

// drawn is a browser's flow as the API draws it.
func drawn(t *testing.T, f flow.Flow, o flow.Options) object {
	t.Helper()
	f.ID, f.Type = uuid.New(), flow.Browser
	o.Action, o.CSRF = "https://accounts.example.com/self-service/"+string(f.Kind)+"?flow=1", "masked"
	text, err := json.Marshal(flow.NewView(&f, flow.Render(&f, nil, o)))
	if err != nil {
		t.Fatal(err)
	}
	var view object
	if err := json.Unmarshal(text, &view); err != nil {
		t.Fatal(err)
	}
	return view
}

// showKind draws a flow of a kind.
func showKind(t *testing.T, kind string, view object) element {
	t.Helper()
	h := newPages(t, api{"/self-service/" + kind + "/flows": answers(http.StatusOK, view), whoamiPath: fails(http.StatusUnauthorized, "")})
	got := get(t, h, "/ui/"+kind+"?flow=1")
	if got.status != http.StatusOK {
		t.Fatalf("GET /ui/%s: status %d, want 200", kind, got.status)
	}
	return got.page
}

// cursor is the name of what has the cursor at first, "" if nothing has.
func cursor(page element) string {
	for _, e := range page.all(func(e element) bool { return e.has("autofocus") }) {
		return e.attr("name")
	}
	return ""
}

// ways are where the links of a page lead, but for those to the page itself.
func ways(t *testing.T, page element, target string) (to []string) {
	t.Helper()
	for _, a := range page.tags("a") {
		if href := a.attr("href"); !strings.HasPrefix(href, "#") {
			to = append(to, resolve(t, target, href))
		}
	}
	return to
}

func TestRecoveryAndWhatMailsLeadThrough(t *testing.T) {
	t.Parallel()
	sent := flow.Form{Values: map[string]any{"email": "ann@example.com"}}
	filled := flow.Form{Values: map[string]any{"email": "ann@example.com", "code": "012345"}}
	wrong := flow.Form{Values: sent.Values, Messages: map[string][]flow.Message{"": {flow.WrongCode(flow.Recovery)}}}
	used := flow.Form{Messages: map[string][]flow.Message{"": {flow.WrongLink(flow.Recovery)}}}
	code, link := flow.Options{Code: true}, flow.Options{Link: true}
	for name, c := range map[string]struct {
		flow    flow.Flow
		options flow.Options
		title   string
		cursor  string
		says    string
		forms   [][]string
		ways    []string
	}{
		"recovery": {
			flow.Flow{Kind: flow.Recovery, State: flow.ChooseMethod},
			code, "Recover your account", "",
			"Enter the address of your account. A mail to it lets you in",
			[][]string{{"csrf_token=masked", "email=", "method=code"}},
			[]string{"/ui/login"},
		},
		"code is sent": {
			flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Active: "code", Form: sent},
			code, "Enter your code", "code",
			"a mail with a code is on its way",
			[][]string{{"csrf_token=masked", "method=code", "code=", "method=code"}, {"csrf_token=masked", "method=code", "email=ann@example.com"}},
			[]string{"/ui/recovery", "/ui/login"},
		},
		"code of the link in the mail": {
			flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Active: "code", Form: filled},
			code, "Enter your code", "method",
			"",
			[][]string{{"csrf_token=masked", "method=code", "code=012345", "method=code"}, {"csrf_token=masked", "method=code", "email=ann@example.com"}},
			[]string{"/ui/recovery", "/ui/login"},
		},
		"wrong code": {
			flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Active: "code", Form: wrong},
			code, "Error: Enter your code", "code",
			"There is a problem The code is wrong",
			[][]string{{"csrf_token=masked", "method=code", "code=", "method=code"}, {"csrf_token=masked", "method=code", "email=ann@example.com"}},
			[]string{"/ui/recovery", "/ui/login"},
		},
		"link is sent": {
			flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Active: "link", Form: sent},
			link, "Check your mail", "",
			"a mail with a link is on its way",
			[][]string{{"csrf_token=masked", "email=ann@example.com", "method=link"}},
			[]string{"/ui/login"},
		},
		"link is used": {
			flow.Flow{Kind: flow.Recovery, State: flow.ChooseMethod, Form: used},
			link, "Error: Recover your account", "email",
			"There is a problem This link was used already, has expired or is wrong.",
			[][]string{{"csrf_token=masked", "email=", "method=link"}},
			[]string{"/ui/login"},
		},
		"done": {
			flow.Flow{Kind: flow.Recovery, State: flow.PassedChallenge}, code, "You are signed in again", "", "", nil, []string{"/ui/settings"},
		},
		"verification by link": {
			flow.Flow{Kind: flow.Verification, State: flow.SentEmail, Active: "link", Form: sent, RequestURL: "https://accounts.example.com/self-service/registration/browser"},
			link, "Check your mail", "",
			"Open the link in the mail, then sign in.",
			[][]string{{"csrf_token=masked", "email=ann@example.com", "method=link"}},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind := string(c.flow.Kind)
			page := showKind(t, kind, drawn(t, c.flow, c.options))
			if title := page.tags("title")[0].text(); title != c.title+" – Harbour" || cursor(page) != c.cursor {
				t.Errorf("title %q, cursor at %q, want %q and %q", title, cursor(page), c.title, c.cursor)
			}
			if text := page.tags("main")[0].text(); !strings.Contains(text, c.says) {
				t.Errorf("says %q, want %q in it", text, c.says)
			}
			if got := sentBy(page); !slices.EqualFunc(got, c.forms, slices.Equal) {
				t.Errorf("forms = %q, want %q", got, c.forms)
			}
			if got := ways(t, page, "/ui/"+kind+"?flow=1"); !slices.Equal(got, c.ways) {
				t.Errorf("ways lead to %q, want %q", got, c.ways)
			}
		})
	}
}

// Who is led to a field has heard nothing of the page: what it says is read there.
func TestWhatIsSaidIsReadWhereThePersonGoesOn(t *testing.T) {
	t.Parallel()
	sent := flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Form: flow.Form{Values: map[string]any{"email": "ann@example.com"}}}
	for name, c := range map[string]struct {
		kind string
		view object
		at   string
		says string
	}{
		"code":        {"recovery", drawn(t, sent, flow.Options{Code: true}), "code", "If the address belongs to an account, a mail with a code is on its way to it."},
		"second step": {"registration", golden(t, "two_steps_second", nil), "password", "Please choose how you want to sign in from now on."},
	} {
		page := showKind(t, c.kind, c.view)
		var described []string
		for id := range strings.FieldsSeq(page.input(t, c.at).attr("aria-describedby")) {
			described = append(described, page.one(t, "id", id).text())
		}
		if got := strings.Join(described, " "); got != c.says {
			t.Errorf("%s: %s is described by %q, want %q", name, c.at, got, c.says)
		}
	}
}

// The login leads to the recovery where there is one, and something to be recovered by it.
func TestLoginLeadsToTheRecovery(t *testing.T) {
	t.Parallel()
	on, off := func() bool { return true }, func() bool { return false }
	noPassword := drawn(t, flow.Flow{Kind: flow.Login, State: flow.ChooseMethod}, flow.Options{Providers: []flow.Provider{{ID: "google", Label: "Google"}}})
	for name, c := range map[string]struct {
		view     object
		recovery func() bool
		want     bool
	}{
		"on":                   {golden(t, "login_browser", nil), on, true},
		"wrong password":       {golden(t, "login_wrong", nil), on, true},
		"off":                  {golden(t, "login_browser", nil), off, false},
		"nobody knows":         {golden(t, "login_browser", nil), nil, false},
		"who is signed in":     {golden(t, "login_refresh", nil), on, false},
		"who links an account": {golden(t, "oidc_link", nil), on, true},
		"without a password":   {noPassword, on, false},
	} {
		c.view["return_to"] = "https://app.example.com/"
		h := pages.New(pages.Options{Public: api{loginPath: answers(http.StatusOK, c.view)}, ProductName: "Harbour", Recovery: c.recovery})
		page := get(t, h, "/ui/login?flow=1").page
		leads := slices.Contains(ways(t, page, "/ui/login"), "/ui/recovery?return_to=https%3A%2F%2Fapp.example.com%2F")
		if leads != c.want || strings.Contains(page.tags("main")[0].text(), "Forgot your password?") != c.want {
			t.Errorf("%s: the page leads to the recovery: %t, want %t", name, leads, c.want)
		}
	}
}

// A recovery leads to the settings, for a new password before all else.
func TestSettingsAfterARecovery(t *testing.T) {
	t.Parallel()
	view := golden(t, "settings_all", nil)
	text, err := json.Marshal(flow.Recovered(time.Unix(1767225600, 0)))
	if err != nil {
		t.Fatal(err)
	}
	var m object
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	page := showKind(t, "settings", say(view, m))
	if got := headings(page); heading(page) != "Choose a new password" || !slices.Equal(got, []string{"Your password", "Your details", "Sign-in with other accounts", "Your sessions"}) {
		t.Errorf("page is %q with %q, want the password first", heading(page), got)
	}
	if cursor(page) != "password" {
		t.Errorf("the cursor is at %q, want the password", cursor(page))
	}
	if note := page.one(t, "role", "status"); !strings.Contains(note.attr("class"), "success") || !strings.HasPrefix(note.text(), "You are signed in again.") {
		t.Errorf("note %v says %q, want that the person is signed in again", note.Attr, note.text())
	}
}

// headings are those of the parts of a page.
func headings(page element) (texts []string) {
	for _, h := range page.tags("h2") {
		texts = append(texts, h.text())
	}
	return texts
}
