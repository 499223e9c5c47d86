package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
)

// TestExamplesHaveTheShapeOfRealAnswers registers the person of each example and
// compares: when an answer changes, its example does.
func TestExamplesHaveTheShapeOfRealAnswers(t *testing.T) {
	t.Parallel()
	for _, signsIn := range []bool{true, false} {
		for _, shows := range []bool{true, false} {
			w := newWorld(t, func(w *world) {
				plan := hook.Plan{Session: hook.Session{On: signsIn}}
				if shows {
					plan.Waiting = []hook.Step{{Kind: hook.KindShowVerification}}
				}
				service := w.inForce.Registration.(*registration.Service)
				service.Plan = func(string) hook.Plan { return plan }
				service.VerificationLifespan = time.Hour
			})
			for _, e := range examplesOf(t, w, api.Registered{
				Method: identity.MethodPassword, Session: signsIn, Lifespan: time.Hour, Verification: time.Hour, ShowVerification: shows,
			}) {
				t.Run(fmt.Sprintf("session %v, verification shown %v, %s", signsIn, shows, e.Client), func(t *testing.T) {
					compareExample(t, e, realAnswer(t, w, e))
				})
			}
		}
	}
}

func examplesOf(t *testing.T, w *world, of api.Registered) []api.Example {
	t.Helper()
	of.Schema, _ = w.inForce.Schemas.Schema("person")
	all, err := w.compiled.Examples(of)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// exampleTraits are those of every example.
const exampleTraits = `{"age":42,"email":"ann@example.org","name":{"first":"Ann"}}`

// realAnswer registers the person of the examples.
func realAnswer(t *testing.T, w *world, e api.Example) got {
	t.Helper()
	defer func() { // the address is to be free for the next
		defer w.lock()()
		clear(w.identities)
	}()
	body := func(csrf string) string {
		return fmt.Sprintf(`{"method":"password","csrf_token":%q,"password":"correct horse battery","traits":%s}`, csrf, exampleTraits)
	}
	if e.Client == "app" {
		c := w.app()
		return c.postJSON(c.nativeFlow().submit(), body(""))
	}
	c := w.browser()
	f := c.browserFlow()
	if e.Client == "browser (script)" {
		return c.postJSON(f.submit(), body(f.csrf()), "Accept", "application/json")
	}
	form := submitForm(f.csrf(), "ann@example.org", "correct horse battery")
	form.Set("traits.age", "42")
	form.Set("traits.name.first", "Ann")
	return c.postForm(f.submit(), form)
}

func compareExample(t *testing.T, e api.Example, real got) {
	t.Helper()
	head, body, _ := strings.Cut(e.Text, "\n\n")
	status := fmt.Sprintf("HTTP/1.1 %d %s\n", real.status, http.StatusText(real.status))
	if !strings.HasPrefix(head+"\n", status) {
		t.Errorf("example = %s, the real status is %s", head, status)
	}
	var cookies []string
	for _, line := range real.header.Values("Set-Cookie") {
		name, _, _ := strings.Cut(line, "=")
		cookies = append(cookies, name)
	}
	if !slices.Equal(e.Cookies, append([]string{}, cookies...)) {
		t.Errorf("example sets %q, the real answer %q", e.Cookies, cookies)
	}
	if got, want := keys(t, body), keys(t, real.body); !slices.Equal(got, want) {
		t.Errorf("example holds\n%q, the real answer\n%q", got, want)
	}
	if wanted, location := real.header.Get("Location"), "Location: "; strings.Contains(head, location) != (wanted != "") {
		t.Errorf("example = %s, the real answer leads to %q", head, wanted)
	}
	if strings.Contains(e.Text, "EXAMPLEexample") != strings.Contains(real.body, "session_token") {
		t.Errorf("token of the example and of the real answer differ: %s, %s", e.Text, real.body)
	}
}

// keys are the paths of all members of a JSON document, in its order.
func keys(t *testing.T, document string) (all []string) {
	t.Helper()
	if document == "" {
		return nil
	}
	var walk func(path string, raw json.RawMessage)
	walk = func(path string, raw json.RawMessage) {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(raw, &object) == nil:
			for name, value := range object {
				all = append(all, path+"."+name)
				walk(path+"."+name, value)
			}
		case json.Unmarshal(raw, &list) == nil:
			for n, value := range list {
				walk(fmt.Sprintf("%s[%d]", path, n), value)
			}
		}
	}
	walk("", json.RawMessage(document))
	slices.Sort(all)
	return all
}

// TestExamplesAreTheSameEachTime: today's and tomorrow's are compared.
func TestExamplesAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	for _, enabled := range []bool{true, false} {
		w := newWorld(t, func(w *world) { w.settings.Registration.Enabled = enabled })
		of := api.Registered{Method: identity.MethodPassword, Session: true, Lifespan: time.Hour}
		a, b := examplesOf(t, w, of), examplesOf(t, w, of)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("examples differ:\n%v\n%v", a, b)
		}
	}
}

// TestExamplesOfNoRegistration show what is there instead.
func TestExamplesOfNoRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.settings.Registration.Enabled = false })
	for _, e := range examplesOf(t, w, api.Registered{Method: identity.MethodPassword, Session: true, Lifespan: time.Hour}) {
		want := "self_service_flow_disabled"
		if e.Client == "browser (page)" {
			want = "Location: http://127.0.0.1:4455/error?id=00000000-"
		}
		if !strings.Contains(e.Text, want) || strings.Contains(e.Text, "session_token") {
			t.Errorf("%s: example = %s, want %s", e.Client, e.Text, want)
		}
	}
}

// TestExampleOfSocialSignIn: an app fetches its session, and gets nothing else.
func TestExampleOfSocialSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := api.Registered{Method: identity.MethodOIDC, Provider: "example", Session: true, Lifespan: time.Hour}
	with := examplesOf(t, w, of)
	if app := with[0]; !slices.Equal(app.Fields, []string{"session_token", "session"}) || !strings.Contains(app.Text, `"provider": "example"`) {
		t.Errorf("app = %+v", app)
	}
	if page := with[2]; !strings.HasPrefix(page.Text, "HTTP/1.1 303") || len(page.Cookies) != 2 {
		t.Errorf("page = %+v", page)
	}
	of.Session = false
	if app := examplesOf(t, w, of)[0]; !strings.Contains(app.Text, "HTTP/1.1 404") || !slices.Equal(app.Fields, []string{"error"}) {
		t.Errorf("app without a session = %+v", app)
	}
}
