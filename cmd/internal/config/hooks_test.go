package config_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/webhook"
)

// inList is a configuration with hooks for a place such as "after.password".
// The first hook stands in line 6 or 7.
func inList(place, hooks string) string {
	var b strings.Builder
	b.WriteString("selfservice:\n  flows:\n    registration:\n")
	indent := "      "
	for part := range strings.SplitSeq(place, ".") {
		b.WriteString(indent + part + ":\n")
		indent += "  "
	}
	b.WriteString(indent + "hooks:\n")
	for line := range strings.SplitSeq(strings.TrimSpace(hooks), "\n") {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

func TestHooksInPlaces(t *testing.T) {
	t.Parallel()
	const web = "- {hook: web_hook, config: {url: 'http://127.0.0.1/', "
	for _, tt := range []struct{ place, hooks, key, says string }{
		{"before", "- hook: session", "before.hooks[0].hook", "after.password.hooks"},
		{"after", "- hook: session", "after.hooks[0].hook", "after.password.hooks"},
		{"before", web + "response: {ignore: true}}}", "before.hooks[0].config.response.ignore", "no event yet"},
		{"after", "- hook: show_verification_ui", "after.hooks[0].hook", "after.password.hooks"},
		{"after.password", "- hook: require_verified_address", "after.password.hooks[0].hook", "flows.login.after.hooks"},
		{"after.password", "- hook: sesion", "after.password.hooks[0].hook", "did you mean session?"},
		{"after.password", "- hook: webhook", "after.password.hooks[0].hook", "did you mean web_hook?"},
		{"after.password", "- config: {}", "after.password.hooks[0].hook", "unknown hook"},
		{"after.password", "- {hook: session, config: {id: x}}", "after.password.hooks[0].config", "no config"},
		{"after.password", "- {hook: web_hook}", "after.password.hooks[0].config.url", "absolute"},
		{"after.password", "- {hook: web_hook, config: {url: 'ftp://x/'}}", "after.password.hooks[0].config.url", "absolute"},
		{"after.password", web + "response: {ignore: true, parse: true}}}", "after.password.hooks[0].config.response.ignore", "leave out"},
		{"after.password", web + "response: {ignore: true}, can_interrupt: true}}", "after.password.hooks[0].config.response.ignore", "leave out"},
		{"after.password", web + "method: 'po st'}}", "after.password.hooks[0].config.method", "HTTP method"},
		{"after.password", web + "body: 'http://x/body.jsonnet'}}", "after.password.hooks[0].config.body", "nothing is downloaded"},
		{"after.password", web + "body: 'file://missing.jsonnet'}}", "after.password.hooks[0].config.body", "no such file"},
		{"after.password", web + `headers: {X-A: "s3cr3t\nX-B: b"}}}`, "after.password.hooks[0].config.headers.X-A", "one line"},
		{"after.password", web + "auth: {type: bearer}}}", "after.password.hooks[0].config.auth", "api_key or basic_auth"},
		{"after.password", web + "auth: {type: api_key, config: {name: A}}}}", "after.password.hooks[0].config.auth", "config.value"},
		{"after.password", web + "auth: {type: api_key, config: {name: A, value: s3cr3t, in: query}}}}", "after.password.hooks[0].config.auth", "header or cookie"},
		{"after.password", web + "auth: {type: basic_auth, config: {password: s3cr3t}}}}", "after.password.hooks[0].config.auth", "config.user"},
		{"after.password", web + "auth: {config: {user: u}}}}", "after.password.hooks[0].config.auth", "type"},
		{"after.password", "- {hook: worker}", "after.password.hooks[0].config.name", "name of an answering worker"},
		{"after.password", "- {hook: worker, config: {name: 'Vet.*'}}", "after.password.hooks[0].config.name", "lower-case letters"},
		{"after.password", "- {hook: worker, config: {name: vet, timeout: 6s}}", "after.password.hooks[0].config.timeout", "10ms to 5s"},
		{"after.password", "- {hook: worker, config: {name: vet, timeout: 1ms}}", "after.password.hooks[0].config.timeout", "10ms to 5s"},
		{"after.password", "- {hook: worker, config: {name: vet, on_missing: fail}}", "after.password.hooks[0].config.on_missing", "refuse or continue"},
		{"after.password", "- {hook: worker, config: {name: vet, response: {ignore: true}}}", "after.password.hooks[0].config", "never touches what comes behind"},
		{"before", "- {hook: worker, config: {name: vet, url: 'http://127.0.0.1/'}}", "before.hooks[0].config", "name, timeout and on_missing"},
		{"after.password", web + "name: x}}", "after.password.hooks[0].config", "a worker's"},
		{"after.password", "- hook: workr", "after.password.hooks[0].hook", "did you mean worker?"},
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, inList(tt.place, tt.hooks))})
		line := 5 + strings.Count(tt.place, ".") + 1
		if len(problems) != 1 || problems[0].Key != "selfservice.flows.registration."+tt.key || problems[0].Line != line || !strings.Contains(problems[0].Text, tt.says) {
			t.Errorf("%s %s: problems = %v, want one of %s in line %d that says %q", tt.place, tt.hooks, problems, tt.key, line, tt.says)
		}
		if strings.Contains(problems.Error(), "s3cr3t") {
			t.Errorf("%s: problems show a secret: %v", tt.hooks, problems)
		}
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, inList("after.password", `
- hook: web_hook
  config:
    id: Audit Log
    url: http://127.0.0.1/audit
    method: PUT
    headers: {x-source: ids}
    body: base64://ZnVuY3Rpb24oY3R4KSB7fQ==
    can_interrupt: true
    auth: {type: basic_auth, config: {user: u, password: p}}
- hook: session
- {hook: web_hook, config: {url: 'http://127.0.0.1/plain'}}
`))})
	endpoints := c.Endpoints()
	if len(endpoints) != 2 {
		t.Fatalf("Endpoints = %v, want two", endpoints)
	}
	e := endpoints[0]
	if e.URL != "http://127.0.0.1/audit" || e.Method != http.MethodPut || e.Header.Get("X-Source") != "ids" || e.Body != "function(ctx) {}" || !e.CanInterrupt || e.Auth.User != "u" {
		t.Errorf("Endpoints()[0]: URL %s, method %s, body %q, auth of %q; want what is configured", e.URL, e.Method, e.Body, e.Auth.User)
	}
	sum := sha256.Sum256([]byte("http://127.0.0.1/plain"))
	want := []hook.Configured{
		{Kind: hook.KindWebHook, Endpoint: "webhook-audit-log", Timing: hook.Refusing, Line: 7},
		{Kind: hook.KindSession, Line: 16},
		{Kind: hook.KindWebHook, Endpoint: "webhook-" + hex.EncodeToString(sum[:6]), Timing: hook.Waiting, Line: 17},
	}
	if got := c.Lists("password").Method; !slices.Equal(got, want) {
		t.Errorf("Lists(password).Method = %+v, want %+v", got, want)
	}
	for i, step := range []int{0, 2} {
		if got := endpoints[i].Name(); got != want[step].Endpoint {
			t.Errorf("Endpoints()[%d].Name() = %s, want that of the plan, %s", i, got, want[step].Endpoint)
		}
	}
	client, err := webhook.New(webhook.Options{Endpoints: endpoints})
	if err != nil {
		t.Fatalf("webhook.New: %v", err)
	}
	client.Close()
}

func TestAnsweringWorkers(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, inList("after.password", `
- {hook: worker, config: {name: vet}}
- {hook: worker, config: {name: crm-check, timeout: 500ms, on_missing: continue}}
`)+`
    login:
      after:
        hooks:
          - {hook: worker, config: {name: vet, timeout: 5s, on_missing: refuse}}
`)})
	want := []hook.Configured{
		{Kind: hook.KindWorker, Endpoint: "vet", Timing: hook.Refusing, Asked: hook.Asked{Timeout: 2 * time.Second, OnMissing: hook.Refuse}, Line: 7},
		{Kind: hook.KindWorker, Endpoint: "crm-check", Timing: hook.Refusing, Asked: hook.Asked{Timeout: 500 * time.Millisecond, OnMissing: hook.Continue}, Line: 8},
	}
	if got := c.Lists("password").Method; !slices.Equal(got, want) {
		t.Errorf("Lists(password).Method = %+v, want %+v", got, want)
	}
	login := c.LoginLists("password").Global
	if len(login) != 1 || login[0].Endpoint != "vet" || login[0].Asked.Timeout != 5*time.Second {
		t.Errorf("LoginLists(password).Global = %+v, want vet with 5s", login)
	}
	if e := c.Endpoints(); len(e) > 0 {
		t.Errorf("Endpoints = %v, want none: a worker has no URL", e)
	}
}

// P4: behind a verification nothing is committed any more that a worker could answer for.
func TestNoWorkerBehindAVerification(t *testing.T) {
	t.Parallel()
	problems := refused(t, config.Options{Dev: true, File: file(t, `
selfservice: {flows: {verification: {after: {hooks: [{hook: worker, config: {name: vet}}]}}}}
`)})
	if len(problems) != 1 || problems[0].Key != "selfservice.flows.verification.after.hooks[0].hook" || !strings.Contains(problems[0].Text, "before a commit only") {
		t.Errorf("problems = %v, want one that says why", problems)
	}
}

// A list of the environment or the overrides has no lines, and not those of
// the list that it replaces.
func TestReplacedListHasNoLines(t *testing.T) {
	t.Parallel()
	const key = "selfservice.flows.registration.after.password.hooks"
	path := file(t, inList("after.password", "- hook: session\n- hook: session"))
	for _, o := range []config.Options{
		{File: path, Dev: true, Env: []string{"USHER_SELFSERVICE__FLOWS__REGISTRATION__AFTER__PASSWORD__HOOKS=[{hook: session}]"}},
		{File: path, Dev: true, Overrides: map[string]any{key: []any{map[string]any{"hook": "session"}}}},
	} {
		c, _ := load(t, o)
		want := []hook.Configured{{Kind: hook.KindSession}}
		if got := c.Lists("password").Method; !slices.Equal(got, want) {
			t.Errorf("Lists(password).Method = %+v, want %+v", got, want)
		}
	}
}

func TestOneURLInDifferentWays(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{Dev: true, File: file(t, inList("after.password", `
- {hook: web_hook, config: {url: 'http://127.0.0.1/', response: {ignore: true}}}
- {hook: web_hook, config: {url: 'http://127.0.0.1/'}}
- {hook: web_hook, config: {url: 'http://127.0.0.1/'}}
`))})
	names := map[string]bool{}
	for _, e := range c.Endpoints() {
		names[e.Name()] = true
	}
	if len(names) != 2 {
		t.Errorf("names = %v, want one for each way", names)
	}
	count := 0
	for _, w := range warnings {
		if strings.Contains(w.Text, "give each an id") {
			count++
		}
	}
	if count != 3 {
		t.Errorf("warnings = %v, want each hook named", warnings)
	}
}

func TestConflictingIDs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		second string
		ok     bool
	}{
		{"id: audit, url: 'http://127.0.0.1/'", true},
		{"id: AUDIT, url: 'http://127.0.0.1/'", false},
		{"id: audit, url: 'http://127.0.0.1/other'", false},
		{"id: audit, url: 'http://127.0.0.1/', headers: {A: b}", false},
		{"id: other, url: 'http://127.0.0.1/other'", true},
	} {
		text := inList("after.password", fmt.Sprintf("- {hook: web_hook, config: {id: audit, url: 'http://127.0.0.1/'}}\n- {hook: web_hook, config: {%s}}", tt.second))
		if tt.ok {
			load(t, config.Options{Dev: true, File: file(t, text)})
			continue
		}
		problems := refused(t, config.Options{Dev: true, File: file(t, text)})
		if len(problems) != 1 || problems[0].Line != 8 || !strings.Contains(problems[0].Text, "(line 7) is called webhook-audit too") {
			t.Errorf("%s: problems = %v, want one in line 8 about line 7", tt.second, problems)
		}
	}
}

// Hooks of settings: what each list may hold, and that a web_hook of any is one of the
// endpoints.
func TestHooksOfSettings(t *testing.T) {
	t.Parallel()
	const web = "{hook: web_hook, config: {url: 'http://127.0.0.1/x'}}"
	const key = "selfservice.flows.settings.after."
	in := func(list, hooks string) string {
		if list == "" {
			return "selfservice: {flows: {settings: {after: {hooks: [" + hooks + "]}}}}"
		}
		return "selfservice: {flows: {settings: {after: {" + list + ": {hooks: [" + hooks + "]}}}}}"
	}
	for _, tt := range []struct{ list, hooks, key, says string }{
		{"", "{hook: revoke_active_sessions}", "hooks[0].hook", "settings.after.password.hooks"},
		{"", "{hook: show_verification_ui}", "hooks[0].hook", "settings.after.profile.hooks"},
		{"profile", "{hook: revoke_active_sessions}", "profile.hooks[0].hook", "settings.after.password.hooks"},
		{"oidc", "{hook: session}", "oidc.hooks[0].hook", "does not stand here"},
		{"password", "{hook: worker, config: {name: vet}}", "password.hooks[0].hook", "the settings are changed by then"},
		{"profile", "{hook: web_hook, config: {url: 'http://127.0.0.1/x', can_interrupt: true}}", "profile.hooks[0].config", "the settings are changed by then"},
		{"", "{hook: web_hook, config: {url: 'http://127.0.0.1/x', response: {parse: true}}}", "hooks[0].config", "the settings are changed by then"},
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, in(tt.list, tt.hooks))})
		if len(problems) != 1 || problems[0].Key != key+tt.key || !strings.Contains(problems[0].Text, tt.says) {
			t.Errorf("%s %s: problems = %v, want one of %s that says %q", tt.list, tt.hooks, problems, tt.key, tt.says)
		}
	}
	for _, list := range []string{"", "profile", "password", "oidc"} {
		c, _ := load(t, config.Options{Dev: true, File: file(t, in(list, web))})
		method := cmp.Or(list, "profile")
		p := hook.CompileSettings(method, c.SettingsLists(method))
		if endpoints := c.Endpoints(); len(endpoints) != 1 || len(p.Waiting) != 1 || p.Waiting[0].Endpoint != endpoints[0].Name() {
			t.Errorf("%s: endpoints %v, plan %+v, want the one that is configured", list, endpoints, p)
		}
	}
	c, _ := load(t, config.Options{Dev: true, File: file(t, in("password", "{hook: revoke_active_sessions}, {hook: show_verification_ui}"))})
	if p := hook.CompileSettings("password", c.SettingsLists("password")); !p.RevokeOthers || !p.ShowVerification {
		t.Errorf("plan %+v, want both", p)
	}
}
