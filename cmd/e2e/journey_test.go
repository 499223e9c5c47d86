package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// gated is a configuration in which people must verify before they sign in, and
// registration signs them in all the same, once.
func gated(*endpoint) settings {
	return merge(verifying(settings{"hook": "show_verification_ui"}, sessionHook), settings{
		"selfservice": settings{"flows": settings{"login": settings{"after": settings{"password": settings{
			"hooks": []any{settings{"hook": "require_verified_address"}},
		}}}}},
	})
}

// verifying is a configuration with verification whose password registration
// has the given hooks.
func verifying(list ...any) settings {
	return merge(hooks(list...), settings{"selfservice": settings{"flows": settings{"verification": settings{"enabled": true}}}})
}

// TestJourneys runs the scripts of testdata/journey, each once per kind of
// client, against each shape. A script's commands stand below, in the order in
// which a reader meets them.
func TestJourneys(t *testing.T) {
	t.Parallel()
	inEveryShape(t, gated, func(t *testing.T, s *system, _ *endpoint) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/journey",
			Setup: func(env *testscript.Env) error {
				env.Values["journey"] = &journey{system: s}
				return nil
			},
			Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
				"client":   with((*journey).newClient),
				"register": with((*journey).register),
				"login":    with((*journey).login),
				"logout":   with((*journey).logout),
				"whoami":   with((*journey).whoami),
				"status":   with((*journey).status),
				"answer":   with((*journey).answered),
				"location": with((*journey).location),
				"code":     with((*journey).code),
				"verify":   with((*journey).verify),
				"event":    with((*journey).event),
				"grant":    with((*journey).grant),
			},
		})
	})
}

// journey is what a script knows: who acts, and the last answer.
type journey struct {
	*system
	kind    string // "app", "script" or "page"
	client  *client
	token   string // of an app
	last    *answer
	flow    string // the verification flow that an answer named last
	person  string // identity of the last registration
	clients int
}

func with(do func(j *journey, ts *testscript.TestScript, neg bool, args []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		j, ok := ts.Value("journey").(*journey)
		if !ok {
			ts.Fatalf("no journey")
		}
		j.client.fail(ts)
		do(j, ts, neg, args)
	}
}

// fail lets the client's failures end the script.
func (c *client) fail(ts *testscript.TestScript) {
	if c != nil {
		c.t = scripted{ts: ts}
	}
}

// scripted is the part of testing.TB that clients use.
type scripted struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scripted) Helper()                   {}
func (s scripted) Fatal(args ...any)         { s.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (s scripted) Fatalf(f string, a ...any) { s.ts.Fatalf(f, a...) }

// newClient is another device: client app|script|page.
func (j *journey) newClient(ts *testscript.TestScript, _ bool, args []string) {
	j.kind, j.token = args[0], ""
	base := j.api(j.clients)
	j.clients++
	if j.kind == "app" {
		j.client = newApp(j.t, base)
	} else {
		j.client = newBrowser(j.t, base)
	}
	j.client.fail(ts)
}

// begin begins a flow as this kind of client does.
func (j *journey) begin(kind string) (f flowView) {
	init := "/browser"
	if j.kind == "app" {
		init = "/api"
	}
	if j.last = j.client.must("GET", "/self-service/"+kind+init, asked, nil); j.last.status == http.StatusOK {
		j.last.json(j.client.t, &f)
	}
	return f
}

var asked = map[string]string{"Accept": "application/json"}

// send submits a flow as this kind of client does: a page sends a form, the
// others JSON. Names with dots are nested.
func (j *journey) send(kind, flow string, fields map[string]string) {
	path := "/self-service/" + kind + "?flow=" + flow
	if j.kind == "page" {
		form := url.Values{}
		for name, value := range fields {
			form.Set(name, value)
		}
		j.last = j.client.must("POST", path, map[string]string{
			"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded",
			"Origin": j.client.base, "Sec-Fetch-Site": "same-origin",
		}, []byte(form.Encode()))
	} else {
		body := map[string]any{}
		for name, value := range fields {
			if inner, ok := strings.CutPrefix(name, "traits."); ok {
				body["traits"] = map[string]any{inner: value}
			} else {
				body[name] = value
			}
		}
		text, err := json.Marshal(body)
		if err != nil {
			j.client.t.Fatal(err)
		}
		j.last = j.client.must("POST", path, asJSON, text)
	}
	j.look()
}

// look takes from the last answer what a client would keep.
func (j *journey) look() {
	if to, err := url.Parse(j.last.header.Get("Location")); err == nil && strings.HasSuffix(to.Path, "/verification") {
		j.flow = to.Query().Get("flow")
	}
	var body struct {
		SessionToken string `json:"session_token"`
		Identity     struct {
			ID string `json:"id"`
		} `json:"identity"`
		ContinueWith []continuation `json:"continue_with"`
		Error        struct {
			Details struct {
				ContinueWith []continuation `json:"continue_with"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(j.last.body, &body) != nil {
		return
	}
	if body.SessionToken != "" {
		j.token = body.SessionToken
	}
	if body.Identity.ID != "" {
		j.person = body.Identity.ID
	}
	for _, c := range append(body.ContinueWith, body.Error.Details.ContinueWith...) {
		if c.Action == "show_verification_ui" {
			j.flow = c.Flow.ID
		}
	}
}

type continuation struct {
	Action string `json:"action"`
	Flow   struct {
		ID string `json:"id"`
	} `json:"flow"`
}

// register ADDRESS
func (j *journey) register(_ *testscript.TestScript, _ bool, args []string) {
	f := j.begin("registration")
	j.send("registration", f.ID, map[string]string{"method": "password", "traits.email": args[0], "password": goodPassword, "csrf_token": f.csrf()})
}

// login ADDRESS [PASSWORD]
func (j *journey) login(_ *testscript.TestScript, _ bool, args []string) {
	password := goodPassword
	if len(args) > 1 {
		password = args[1]
	}
	f := j.begin("login")
	if f.ID == "" {
		return // refused at the start
	}
	j.send("login", f.ID, map[string]string{"method": "password", "identifier": args[0], "password": password, "csrf_token": f.csrf()})
}

// logout signs this client out.
func (j *journey) logout(ts *testscript.TestScript, _ bool, _ []string) {
	if j.kind == "app" {
		j.last = j.client.must("DELETE", "/self-service/logout/api", asJSON, fmt.Appendf(nil, `{"session_token":%q}`, j.token))
		return
	}
	j.last = j.client.must("GET", "/self-service/logout/browser", asked, nil)
	var out struct {
		URL string `json:"logout_url"`
	}
	j.last.json(j.client.t, &out)
	if out.URL == "" {
		ts.Fatalf("no logout_url in %d %s", j.last.status, j.last.body)
	}
	header := asked
	if j.kind == "page" {
		header = map[string]string{"Accept": "text/html"}
	}
	j.last = j.client.must("GET", out.URL, header, nil)
}

// whoami asks whose session this client has.
func (j *journey) whoami(*testscript.TestScript, bool, []string) {
	header := map[string]string{"Accept": "application/json"}
	if j.token != "" {
		header["X-Session-Token"] = j.token
	}
	j.last = j.client.must("GET", "/sessions/whoami", header, nil)
	var who sessionView
	if j.last.status == http.StatusOK {
		j.last.json(j.client.t, &who)
		j.person = who.Identity.ID
	}
}

// status CODE... of the last answer.
func (j *journey) status(ts *testscript.TestScript, _ bool, args []string) {
	for _, want := range args {
		if strconv.Itoa(j.last.status) == want {
			return
		}
	}
	ts.Fatalf("status is %d, want %s\n%s", j.last.status, args, j.last.body)
}

// answer PATH [VALUE]: what stands in the last answer's body; "! answer PATH"
// says that there is nothing.
func (j *journey) answered(ts *testscript.TestScript, neg bool, args []string) {
	var value any
	j.last.json(j.client.t, &value)
	found := true
	for part := range strings.SplitSeq(args[0], ".") {
		switch v := value.(type) {
		case map[string]any:
			value, found = v[part]
		case []any:
			n, err := strconv.Atoi(part)
			if n < 0 {
				n += len(v)
			}
			if found = err == nil && n >= 0 && n < len(v); found {
				value = v[n]
			}
		default:
			found = false
		}
		if !found {
			break
		}
	}
	text := fmt.Sprint(value)
	if number, ok := value.(float64); ok {
		text = strconv.FormatFloat(number, 'f', -1, 64)
	}
	switch {
	case neg && found:
		ts.Fatalf("%s is %s, want nothing\n%s", args[0], text, j.last.body)
	case !neg && !found:
		ts.Fatalf("%s is not there\n%s", args[0], j.last.body)
	case !neg && len(args) > 1 && text != args[1]:
		ts.Fatalf("%s is %s, want %s\n%s", args[0], text, args[1], j.last.body)
	}
}

// location PATH: the last answer leads to a page.
func (j *journey) location(ts *testscript.TestScript, _ bool, args []string) {
	to, err := url.Parse(j.last.header.Get("Location"))
	if err != nil || to.Path != args[0] {
		ts.Fatalf("the answer leads to %q, want %s", j.last.header.Get("Location"), args[0])
	}
}

// code ADDRESS: waits for the newest mail and puts its code into $CODE.
func (j *journey) code(ts *testscript.TestScript, _ bool, args []string) {
	former := ts.Getenv("CODE")
	eventually(j.t, 20*time.Second, func() error {
		stdout, stderr, exit := usher(j.t, j.adminEnv(), "mail", "show", "--to", args[0], "--code", "--admin", j.admins[0])
		code := strings.TrimSpace(stdout)
		if exit != 0 || code == former {
			return fmt.Errorf("usher mail show --code = %d %s%s", exit, stdout, stderr)
		}
		ts.Setenv("CODE", code)
		return nil
	})
}

func (j *journey) adminEnv() []string { return os.Environ() }

// verify CODE: submits a code to the flow that an answer named last.
func (j *journey) verify(ts *testscript.TestScript, _ bool, args []string) {
	if j.flow == "" {
		ts.Fatalf("no answer has named a verification flow")
	}
	a := j.client.must("GET", "/self-service/verification/flows?id="+j.flow, asked, nil)
	if a.status != http.StatusOK {
		j.last = a
		return
	}
	var f flowView
	a.json(j.client.t, &f)
	j.send("verification", j.flow, map[string]string{"method": "code", "code": args[0], "csrf_token": f.csrf()})
	if j.kind == "page" { // which draws the flow again
		j.last = j.client.must("GET", "/self-service/verification/flows?id="+j.flow, asked, nil)
	}
}

// event TYPE COUNT [FIELD=VALUE]: how many events the person has.
func (j *journey) event(ts *testscript.TestScript, _ bool, args []string) {
	eventually(j.t, 20*time.Second, func() error {
		n := 0
		for _, e := range j.events("type=" + args[0] + "&subject=" + j.person) {
			if len(args) < 3 {
				n++
			} else if field, want, _ := strings.Cut(args[2], "="); fmt.Sprint(e.Data[field]) == want {
				n++
			}
		}
		if strconv.Itoa(n) != args[1] {
			return fmt.Errorf("%d events %s %s, want %s", n, args[0], args[2:], args[1])
		}
		return nil
	})
	_ = ts
}

// grant ADDRESS FIELD VALUE: what "usher grants show" says.
func (j *journey) grant(ts *testscript.TestScript, _ bool, args []string) {
	stdout, stderr, exit := usher(j.t, j.adminEnv(), "grants", "show", args[0], "--json", "--admin", j.admins[0])
	var grants []map[string]any
	if exit != 0 || json.Unmarshal([]byte(stdout), &grants) != nil || len(grants) != 1 {
		ts.Fatalf("usher grants show %s = %d %s%s, want one grant", args[0], exit, stdout, stderr)
	}
	if got := fmt.Sprint(grants[0][args[1]]); got != args[2] {
		ts.Fatalf("%s of the grant is %s, want %s", args[1], got, args[2])
	}
	var timeline struct {
		FlowID string `json:"flow_id"`
		Answer []struct{ Name string }
	}
	stdout, stderr, exit = usher(j.t, j.adminEnv(), "timeline", args[0], "--json", "--admin", j.admins[0])
	if exit != 0 || json.Unmarshal([]byte(stdout), &timeline) != nil || timeline.FlowID != grants[0]["flow_id"] || len(timeline.Answer) < 3 {
		ts.Fatalf("usher timeline %s = %d %s%s, want that of the grant", args[0], exit, stdout, stderr)
	}
}
