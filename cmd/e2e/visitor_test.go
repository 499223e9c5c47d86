package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// The kinds of visitors: who is sent by forms, by a script in a page, or by an
// app with the system's browser.
const (
	byPage, byScript, byApp = "page", "script", "app"
)

var ways = []string{byPage, byScript, byApp}

// visitor is a person at a provider's button.
type visitor struct {
	*client // with the cookies of a browser, or an app without
	s       *system
	way     string
	init    string // an app's half of the code for its session
	token   string // of an app, once it has one
	// signIn signs a user in at the provider, from the authorization URL to the callback.
	signIn func(authorization, user string) (callback string, err error)
}

// visitor is a new person, at one of the api processes.
func (s *system) visitor(way string, n int) *visitor {
	v := &visitor{s: s, way: way, client: newBrowser(s.t, s.api(n)), signIn: signInAt}
	if way == byApp {
		v.client = newApp(s.t, s.api(n))
	}
	return v
}

// at lets the visitor fail a subtest.
func (v *visitor) at(t testing.TB) *visitor {
	v.t = t
	return v
}

// begin begins a flow as this kind of visitor does.
func (v *visitor) begin(kind string) (f flowView) {
	v.t.Helper()
	init := "/browser"
	if v.way == byApp {
		init = "/api?return_session_token_exchange_code=true"
	}
	a := v.must("GET", "/self-service/"+kind+init, asked, nil)
	if a.status != http.StatusOK {
		v.t.Fatalf("begin %s = %d %s", kind, a.status, a.body)
	}
	a.json(v.t, &f)
	if v.init = f.ExchangeCode; v.way == byApp && v.init == "" {
		v.t.Fatalf("begin %s: no session_token_exchange_code in %s", kind, a.body)
	}
	return f
}

// fetch reads a flow again.
func (v *visitor) fetch(kind, id string) (f flowView) {
	v.t.Helper()
	a := v.must("GET", "/self-service/"+kind+"/flows?id="+id, asked, nil)
	if a.status != http.StatusOK {
		v.t.Fatalf("GET flow of %s = %d %s", kind, a.status, a.body)
	}
	a.json(v.t, &f)
	return f
}

// submit sends a form as this kind of visitor does. Fields with dots are nested.
func (v *visitor) submit(kind string, f flowView, fields map[string]string) *answer {
	v.t.Helper()
	path := "/self-service/" + kind + "?flow=" + f.ID
	if v.way == byPage {
		form := url.Values{"csrf_token": {f.csrf()}}
		for name, value := range fields {
			form.Set(name, value)
		}
		return v.must("POST", path, map[string]string{
			"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded",
			"Origin": v.base, "Sec-Fetch-Site": "same-origin",
		}, []byte(form.Encode()))
	}
	body := map[string]any{}
	if v.way == byScript {
		body["csrf_token"] = f.csrf()
	}
	for name, value := range fields {
		outer, inner, nested := strings.Cut(name, ".")
		switch former, _ := body[outer].(map[string]any); {
		case !nested:
			body[name] = value
		case former != nil:
			former[inner] = value
		default:
			body[outer] = map[string]any{inner: value}
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.must("POST", path, asJSON, text)
}

// press presses a provider's button and gives the authorization URL that it leads to.
func (v *visitor) press(kind string, f flowView, provider string, fields map[string]string) string {
	v.t.Helper()
	all := map[string]string{"provider": provider}
	if v.way == byPage && kind == "registration" {
		all["traits.email"] = "" // a button sends all fields of its form
	}
	for name, value := range fields {
		all[name] = value
	}
	a := v.submit(kind, f, all)
	if v.way == byPage {
		if a.status != http.StatusSeeOther {
			v.t.Fatalf("%s with a provider = %d %s, want 303", kind, a.status, a.body)
		}
		return a.header.Get("Location")
	}
	var moved struct {
		To    string `json:"redirect_browser_to"`
		Error struct {
			ID string `json:"id"`
		} `json:"error"`
	}
	a.json(v.t, &moved)
	if a.status != http.StatusUnprocessableEntity || moved.Error.ID != "browser_location_change_required" || moved.To == "" {
		v.t.Fatalf("%s with a provider = %d %s, want 422 browser_location_change_required", kind, a.status, a.body)
	}
	return moved.To
}

// comeBack is the browser's way back from the provider: that of a page or a
// script with its cookies, that of an app the system's, which has none.
func (v *visitor) comeBack(callback string) (*answer, error) {
	return v.do("GET", callback, map[string]string{"Accept": "text/html"}, nil)
}

// visit goes the whole way: a flow, the provider's button, the provider's login
// form, and back.
func (v *visitor) visit(kind, provider, user string, fields map[string]string) *answer {
	v.t.Helper()
	return v.goThrough(kind, v.begin(kind), provider, user, fields)
}

// goThrough is visit with a flow that is there already.
func (v *visitor) goThrough(kind string, f flowView, provider, user string, fields map[string]string) *answer {
	v.t.Helper()
	callback, err := v.signIn(v.press(kind, f, provider, fields), user)
	if err != nil {
		v.t.Fatal(err)
	}
	a, err := v.comeBack(callback)
	if err != nil {
		v.t.Fatal(err)
	}
	return a
}

// in gives the session that an answer has led to; it fails the test if to none.
func (v *visitor) in(a *answer) sessionView {
	v.t.Helper()
	who, err := v.session(a)
	if err != nil {
		v.t.Fatal(err)
	}
	return who
}

// session is in, told by an error.
func (v *visitor) session(a *answer) (who sessionView, err error) {
	v.t.Helper()
	if a.status != http.StatusSeeOther {
		return who, fmt.Errorf("back from the provider: %d %s, want 303", a.status, a.body)
	}
	if v.way == byApp {
		if err := v.exchangeCode(a); err != nil {
			return who, err
		}
	}
	status, who := v.whoami(v.token)
	if status != http.StatusOK {
		return who, fmt.Errorf("whoami = %d behind %s, want a session", status, a.header.Get("Location"))
	}
	return who, nil
}

// exchangeCode is how an app gets its token, with both halves of the code.
func (v *visitor) exchangeCode(a *answer) error {
	v.t.Helper()
	got := v.must("GET", v.codes(a), asked, nil)
	var r registered
	if got.status != http.StatusOK {
		return fmt.Errorf("token exchange = %d %s, want 200", got.status, got.body)
	}
	got.json(v.t, &r)
	if r.SessionToken == "" || r.Session == nil {
		return errors.New("token exchange gave no session: " + string(got.body))
	}
	v.token = r.SessionToken
	return nil
}

// codes is the request for an app's session.
func (v *visitor) codes(a *answer) string {
	v.t.Helper()
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("code") == "" {
		v.t.Fatalf("the app is sent to %q, want a code: %d %s", a.header.Get("Location"), a.status, a.body)
	}
	return "/sessions/token-exchange?" + url.Values{"init_code": {v.init}, "return_to_code": {to.Query().Get("code")}}.Encode()
}

// shown is the flow that an answer leads to: by its page, or for an app by its codes.
func (v *visitor) shown(a *answer) (kind string, f flowView) {
	v.t.Helper()
	if v.way == byApp {
		got := v.must("GET", v.codes(a), asked, nil)
		got.json(v.t, &f)
		for _, kind := range []string{"registration", "login"} {
			if strings.Contains(f.UI.Action, "/self-service/"+kind+"?") {
				return kind, f
			}
		}
		v.t.Fatalf("token exchange = %d %s, want a flow", got.status, got.body)
	}
	to, err := url.Parse(a.header.Get("Location"))
	if redirected := a.status == http.StatusSeeOther || a.status == http.StatusFound; err != nil || !redirected || to.Query().Get("flow") == "" {
		v.t.Fatalf("back from the provider: %d to %q, want the page of a flow: %s", a.status, a.header.Get("Location"), a.body)
	}
	kind = to.Path[strings.LastIndexByte(to.Path, '/')+1:]
	return kind, v.fetch(kind, to.Query().Get("flow"))
}

// signedInWith wants a session whose methods are these, "oidc/<provider>" for one
// of a provider.
func (v *visitor) signedInWith(who sessionView, want ...string) {
	v.t.Helper()
	var got []string
	for _, m := range who.Methods {
		name := m.Method
		if m.Provider != "" {
			name += "/" + m.Provider
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		v.t.Errorf("methods of the session = %v, want %v", got, want)
	}
}

// told waits until the event log holds an event of a person with these data.
func (s *system) told(id, eventType string, data map[string]any) {
	s.t.Helper()
	eventually(s.t, 10*time.Second, func() error {
		all := s.events("type=" + eventType + "&subject=" + id)
		for _, e := range all {
			if holds(e.Data, data) {
				return nil
			}
		}
		return fmt.Errorf("events %s of %s = %v, want one with %v", eventType, id, all, data)
	})
}

// holds tells whether all of want is in data.
func holds(data, want map[string]any) bool {
	for key, value := range want {
		if data[key] != value {
			return false
		}
	}
	return true
}
