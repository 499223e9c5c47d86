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
		"done, elsewhere": {
			flow.Flow{Kind: flow.Recovery, State: flow.PassedChallenge}, code, "This recovery is over", "", "", nil, []string{"/ui/login", "/ui/recovery"},
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

// A recovery leads to the settings, for a new password before all else, until there is
// one; then the page says so and leads on.
func TestSettingsAfterARecovery(t *testing.T) {
	t.Parallel()
	const begun = "https://accounts.example.com/self-service/recovery/browser?return_to=x"
	all := []string{"Your password", "Your details", "Sign-in with other accounts", "Your sessions"}
	usual := []string{"Your details", "Your password", "Sign-in with other accounts", "Your sessions"}
	back := []string{"/ui/sessions", "/ui/welcome"}
	tooShort := object{"id": 4000032, "type": "error", "text": "The password must have at least 8 characters, but has 3.", "context": object{"min_length": 8, "actual_length": 3}}
	saved := object{"id": 1050001, "type": "success", "text": "Your changes are saved."}
	for name, c := range map[string]struct {
		change        object
		says          []object
		title, cursor string
		parts, ways   []string
	}{
		"at first":                          {object{"request_url": begun}, []object{messageOf(t, flow.Recovered(time.Unix(1767225600, 0)))}, "Choose a new password", "password", all, back},
		"the password was too short":        {object{"request_url": begun, "active": "password"}, []object{tooShort}, "Error: Choose a new password", "password", slices.Concat([]string{"There is a problem"}, all), back},
		"the profile was changed":           {object{"request_url": begun, "active": "profile", "state": "success"}, []object{saved}, "Choose a new password", "password", all, back},
		"the password is changed":           {object{"request_url": begun, "active": "password", "state": "success"}, []object{saved}, "Your new password is saved", "", all[3:], []string{"/ui/sessions", "/ui/settings", "/ui/welcome"}},
		"so, and the person wants to go on": {object{"request_url": begun, "active": "password", "state": "success", "return_to": "https://app.example.com/"}, []object{saved}, "Your new password is saved", "", all[3:], []string{"/ui/sessions", "https://app.example.com/", "/ui/settings?return_to=https%3A%2F%2Fapp.example.com%2F", "/ui/welcome"}},
		"of an app, by a link":              {object{"request_url": strings.Replace(begun, "browser", "api", 1)}, nil, "Choose a new password", "password", all, back},
		"no recovery":                       {object{"request_url": strings.Replace(begun, "recovery", "settings", 1), "active": "password", "state": "success"}, []object{saved}, "Your settings", "", usual, back},
	} {
		page := showKind(t, "settings", say(golden(t, "settings_all", c.change), c.says...))
		if title := page.tags("title")[0].text(); title != c.title+" – Harbour" || !slices.Equal(headings(page), c.parts) {
			t.Errorf("%s: page is %q with %q, want %q with %q", name, title, headings(page), c.title, c.parts)
		}
		if cursor(page) != c.cursor {
			t.Errorf("%s: the cursor is at %q, want %q", name, cursor(page), c.cursor)
		}
		if got := ways(t, page, "/ui/settings?flow=1"); !slices.Equal(got, c.ways) {
			t.Errorf("%s: ways lead to %q, want %q", name, got, c.ways)
		}
		if text := page.tags("main")[0].text(); len(c.says) > 0 && !strings.Contains(text, c.says[0]["text"].(string)) {
			t.Errorf("%s: says %q, want %q in it", name, text, c.says)
		}
	}
}

// messageOf is a message as the API says it.
func messageOf(t *testing.T, m flow.Message) (o object) {
	t.Helper()
	text, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Who was handed a code may have lost the mailbox, and is told so while it can be mended.
func TestARecoveryRemindsOfAnAddress(t *testing.T) {
	t.Parallel()
	const says = "ann@example.com is not verified. If you do not get its mails any more, change the address now too"
	recovery, usual := "https://a.example/self-service/recovery/browser", "https://a.example/self-service/settings/browser"
	for name, c := range map[string]struct {
		golden, begun, active string
		verified              bool
		want                  bool
	}{
		"not verified":              {"settings_all", recovery, "", false, true},
		"there is a password again": {"settings_all", recovery, "password", false, true},
		"verified":                  {"settings_all", recovery, "", true, false},
		"no recovery":               {"settings_all", usual, "", false, false},
		"nothing to edit":           {"settings", recovery, "", false, false},
	} {
		state := map[string]string{"": "show_form", "password": "success"}[c.active]
		view := golden(t, c.golden, object{"request_url": c.begun, "active": c.active, "state": state, "identity": object{"verifiable_addresses": []any{object{"value": "ann@example.com", "verified": c.verified}}}})
		if text := showKind(t, "settings", view).tags("main")[0].text(); strings.Contains(text, says) != c.want {
			t.Errorf("%s: the page says so: %t, want %t: %s", name, !c.want, c.want, text)
		}
	}
}

// The link of an app's mail leads to a browser, which cannot enter its code: the page says
// where that is done, and that an address is verified. Other flows of apps are begun again.
func TestAFlowOfAnAppInABrowser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flow  flow.Flow
		title string // "" begins another
	}{
		"recovery, the code":           {flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Active: "code"}, "Enter the code in the app"},
		"verification, the code":       {flow.Flow{Kind: flow.Verification, State: flow.SentEmail, Active: "code"}, "Enter the code in the app"},
		"verification, it has passed":  {flow.Flow{Kind: flow.Verification, State: flow.PassedChallenge, Active: "link"}, "Verification complete"},
		"verification, a link":         {flow.Flow{Kind: flow.Verification, State: flow.SentEmail, Active: "link"}, ""},
		"recovery, it has passed":      {flow.Flow{Kind: flow.Recovery, State: flow.PassedChallenge, Active: "code"}, ""},
		"recovery, nothing is entered": {flow.Flow{Kind: flow.Recovery, State: flow.ChooseMethod}, ""},
	} {
		view := drawn(t, c.flow, flow.Options{Code: c.flow.Active == "code", Link: c.flow.Active == "link"})
		view["type"] = "api"
		kind, begun := string(c.flow.Kind), 0
		h := newPages(t, api{
			"/self-service/" + kind + "/flows": answers(http.StatusOK, view),
			"/self-service/" + kind + "/browser": func(w http.ResponseWriter, _ *http.Request) {
				begun++
				w.Header().Set("Location", "/ui/"+kind+"?flow=2")
				w.WriteHeader(http.StatusSeeOther)
			},
			whoamiPath: fails(http.StatusUnauthorized, ""),
		})
		got := get(t, h, "/ui/"+kind+"?flow=1")
		if c.title == "" {
			if got.status != http.StatusSeeOther || begun != 1 {
				t.Errorf("%s: %d with %d new flows, want 303 to a new one", name, got.status, begun)
			}
			continue
		}
		if got.status != http.StatusOK || begun > 0 || got.page.tags("h1")[0].text() != c.title || len(got.page.tags("form")) > 0 {
			t.Errorf("%s: %d with %d new flows, want %q with nothing to enter: %s", name, got.status, begun, c.title, got.page.text())
		}
	}
}

// A code that was handed over comes by no mail, and once it is used the page says to
// nobody else that they are signed in.
func TestARecoveryThatWasHandedOver(t *testing.T) {
	t.Parallel()
	handed := flow.Flow{Kind: flow.Recovery, State: flow.SentEmail, Active: "code"}
	wrong, used := handed, handed
	wrong.Form.Messages = map[string][]flow.Message{"": {flow.WrongCode(flow.Recovery)}}
	used.State = flow.PassedChallenge
	for name, c := range map[string]struct {
		flow   flow.Flow
		whoami int
		title  string
		says   string
		ways   []string
	}{
		"the code":                 {handed, 401, "Enter your code", "Enter the code that you were given. It signs you in, and then you choose a new password.", []string{"/ui/login"}},
		"a wrong code":             {wrong, 401, "Error: Enter your code", "The code is wrong", []string{"/ui/login"}},
		"used":                     {used, 200, "This recovery is over", "", []string{"/ui/settings"}},
		"used by somebody else":    {used, 401, "This recovery is over", "Its code was used already.", []string{"/ui/login", "/ui/recovery"}},
		"used, and nobody can say": {used, 500, "This recovery is over", "", []string{"/ui/settings"}},
	} {
		h := newPages(t, api{"/self-service/recovery/flows": answers(http.StatusOK, drawn(t, c.flow, flow.Options{Code: true})), whoamiPath: answers(c.whoami, object{})})
		page := get(t, h, "/ui/recovery?flow=1").page
		text := page.tags("main")[0].text()
		if title := page.tags("title")[0].text(); title != c.title+" – Harbour" || !strings.Contains(text, c.says) || strings.Contains(text, "a mail with a code") {
			t.Errorf("%s: page is %q and says %q, want %q and %q", name, title, text, c.title, c.says)
		}
		if got := ways(t, page, "/ui/recovery?flow=1"); !slices.Equal(got, c.ways) {
			t.Errorf("%s: ways lead to %q, want %q", name, got, c.ways)
		}
	}
}

// headings are those of the parts of a page.
func headings(page element) (texts []string) {
	for _, h := range page.tags("h2") {
		texts = append(texts, h.text())
	}
	return texts
}
