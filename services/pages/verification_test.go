package pages_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A verification that a registration or a login has led to says whether the
// person is signed in: they may take the code for the way in.
func TestVerificationSaysWhereThePersonStands(t *testing.T) {
	t.Parallel()
	const public = "https://accounts.example.com/base"
	somebody, nobody := answers(http.StatusOK, object{}), fails(http.StatusUnauthorized, "No active session was found.")
	for name, c := range map[string]struct {
		golden, begun string
		whoami        http.HandlerFunc
		says          string // "" for nothing besides the flow's own messages
	}{
		"refused login":              {"verification_sent_email", "/self-service/login/browser?return_to=x", nobody, "You are not signed in yet: that needs a verified address."},
		"refused login, wrong code":  {"verification_wrong_code", "/self-service/login/browser", nobody, "You are not signed in yet: that needs a verified address."},
		"login":                      {"verification_sent_email", "/self-service/login/browser", somebody, "You are signed in already."},
		"registration":               {"verification_sent_email", "/self-service/registration/browser", somebody, "Your account is there, and you are signed in already."},
		"registration, no session":   {"verification_sent_email", "/self-service/registration/browser", nobody, "Your account is there, but you are not signed in yet."},
		"who asked for it":           {"verification_sent_email", "/self-service/verification/browser", nobody, ""},
		"who asked and is signed in": {"verification_sent_email", "/self-service/verification/browser", somebody, ""},
		"nothing is known":           {"verification_sent_email", "/self-service/login/browser", fails(http.StatusServiceUnavailable, ""), ""},
		"nothing is sent yet":        {"verification_choose_method", "/self-service/login/browser", nobody, ""},
		"a URL that is none":         {"verification_sent_email", "%", nobody, ""},
	} {
		flow := golden(t, c.golden, object{"request_url": public + c.begun})
		page := get(t, newPages(t, api{verificationPath: answers(http.StatusOK, flow), whoamiPath: c.whoami}), "/ui/verification?flow=1").page
		text := page.tags("main")[0].text()
		if c.says == "" && strings.Contains(text, "signed in") || !strings.Contains(text, c.says) {
			t.Errorf("%s: says %q, want %q in it", name, text, c.says)
		}
	}
}

// The end of a verification led somebody without a session to a page that said
// only that they had none.
func TestVerificationLeadsWhoHasNoSessionToTheLogin(t *testing.T) {
	t.Parallel()
	const public = "https://accounts.example.com/base"
	for name, c := range map[string]struct {
		status     int // of whoami
		to, leads  string
		saysSignIn bool
	}{
		"nobody":            {http.StatusUnauthorized, public + "/ui/welcome", "/ui/login", true},
		"somebody":          {http.StatusOK, public + "/ui/welcome", public + "/ui/welcome", false},
		"not known":         {http.StatusServiceUnavailable, public + "/ui/welcome", public + "/ui/welcome", false},
		"another's page":    {http.StatusUnauthorized, "https://app.example.com/ui/welcome", "https://app.example.com/ui/welcome", false},
		"another's base":    {http.StatusUnauthorized, "https://accounts.example.com/ui/welcome", "https://accounts.example.com/ui/welcome", false},
		"page with a query": {http.StatusUnauthorized, public + "/ui/welcome?a=b", public + "/ui/welcome?a=b", false},
	} {
		flow := golden(t, "verification_passed", object{"request_url": public + "/self-service/verification/browser"})
		for _, n := range flow["ui"].(object)["nodes"].([]any) {
			if a := n.(object)["attributes"].(object); a["node_type"] == "a" {
				a["href"] = c.to
			}
		}
		page := get(t, newPages(t, api{verificationPath: answers(http.StatusOK, flow), whoamiPath: answers(c.status, object{})}), "/ui/verification?flow=1").page
		var ways []string
		for _, a := range page.tags("a") {
			ways = append(ways, resolve(t, "/ui/verification?flow=1", a.attr("href")))
		}
		if !slices.Equal(ways, []string{c.leads}) {
			t.Errorf("%s: leads to %q, want %s only", name, ways, c.leads)
		}
		if text := page.tags("main")[0].text(); strings.Contains(text, "You can sign in now.") != c.saysSignIn {
			t.Errorf("%s: says %q, want the login in it: %t", name, text, c.saysSignIn)
		}
	}
}
