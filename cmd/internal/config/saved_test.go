package config_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/override"
)

// hooked is a file with hooks in all lists that settings change, each in a line
// of its own.
const hooked = `dev: true
security: {account_enumeration: {mitigate: false}}
courier: {smtp: {connection_uri: "smtp://mail.example.org", from_address: a@example.org}}
selfservice:
  flows:
    verification: {enabled: true}
    registration:
      after:
        password:
          hooks:
            - {hook: show_verification_ui}
            - {hook: session}
            - {hook: web_hook, config: {id: crm, url: "https://crm.example.org", response: {ignore: true}}}
    login:
      after:
        hooks: [{hook: revoke_active_sessions}]
        password:
          hooks:
            - {hook: web_hook, config: {id: risk, url: "https://risk.example.org", can_interrupt: true}}
            - {hook: web_hook, config: {id: tell, url: "https://tell.example.org"}}
`

// steps are the kinds and lines of hooks.
func steps(hooks []hook.Configured) (all []string) {
	for _, h := range hooks {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s", h.Kind, h.Endpoint))+fmt.Sprintf(" %d", h.Line))
	}
	return all
}

func TestSavedOverTheFile(t *testing.T) {
	t.Parallel()
	base, _ := load(t, config.Options{File: file(t, hooked)})
	before, _ := base.Print()
	for name, tt := range map[string]struct {
		saved override.Values
		want  func(*config.Config) any
		is    any
	}{
		"nothing": {nil, func(c *config.Config) any { return steps(c.Lists("password").Method) }, []string{"show_verification_ui 11", "session 12", "web_hook webhook-crm 13"}},
		"session taken out, the lines behind it stay": {override.Values{override.SignIn: false}, func(c *config.Config) any { return steps(c.Lists("password").Method) }, []string{"show_verification_ui 11", "web_hook webhook-crm 13"}},
		"session that is there":                       {override.Values{override.SignIn: true}, func(c *config.Config) any { return steps(c.Lists("password").Method) }, []string{"show_verification_ui 11", "session 12", "web_hook webhook-crm 13"}},
		"the gate behind what refuses":                {override.Values{override.Gate: true}, func(c *config.Config) any { return steps(c.LoginLists("password").Method) }, []string{"web_hook webhook-risk 19", "require_verified_address 0", "web_hook webhook-tell 20"}},
		"the gate only in lists that count":           {override.Values{override.Gate: true}, func(c *config.Config) any { return steps(c.LoginLists("password").Global) }, []string{"revoke_active_sessions 16"}},
		"social":                                      {override.Values{override.SocialSignIn: false}, func(c *config.Config) any { return c.Lists("oidc").AutoSession }, false},
		"lifespan": {override.Values{"session.lifespan": "2h", "selfservice.flows.login.lifespan": "90s"}, func(c *config.Config) any {
			return []time.Duration{c.Session.Lifespan, c.SelfService.Flows.Login.Lifespan}
		}, []time.Duration{2 * time.Hour, 90 * time.Second}},
		"choice":       {override.Values{"session.issue.on_failure": "fail"}, func(c *config.Config) any { return c.Session.Issue.OnFailure }, "fail"},
		"registration": {override.Values{"selfservice.flows.registration.enabled": false}, func(c *config.Config) any { return c.SelfService.Flows.Registration.Enabled }, false},
	} {
		got, warnings, err := base.With(tt.saved)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.is, tt.want(got)); diff != "" || len(warnings) > 0 {
			t.Errorf("%s: warnings %v\n%s", name, warnings, diff)
		}
	}
	if after, _ := base.Print(); string(after) != string(before) {
		t.Errorf("the configuration of the file has changed:\n%s", cmp.Diff(string(before), string(after)))
	}
}

func TestSessionIsAddedAsTheLast(t *testing.T) {
	t.Parallel()
	base, _ := load(t, config.Options{File: file(t, strings.Replace(hooked, "            - {hook: session}\n", "", 1))})
	c, _, err := base.With(override.Values{override.SignIn: true})
	if err != nil {
		t.Fatal(err)
	}
	lists := c.Lists("password")
	if got, want := steps(lists.Method), []string{"show_verification_ui 11", "web_hook webhook-crm 12", "session 0"}; !slices.Equal(got, want) {
		t.Errorf("hooks = %q, want %q", got, want)
	}
	plan := hook.Compile("password", lists)
	if !plan.Session.On || len(plan.Notes) != 0 || plan.Background[0].Line != 12 {
		t.Errorf("plan = %+v, want session, no notes, and crm as in line 12", plan)
	}
}

// Social sign-up has a switch of its own, unless there is no other method.
func TestSignInWithSocialMethods(t *testing.T) {
	t.Parallel()
	social := withProviders(true, provider(""))
	alone := strings.Replace(social, "  methods:\n", "  methods:\n    password: {enabled: false}\n", 1)
	for name, tt := range map[string]struct {
		file         string
		saved        override.Values
		oidc, signed bool
	}{
		"on":                           {social, override.Values{override.SignIn: true}, true, true},
		"off":                          {social, override.Values{override.SignIn: false}, true, false},
		"on, social off":               {social, override.Values{override.SignIn: true, override.SocialSignIn: false}, false, true},
		"alone":                        {alone, nil, true, true},
		"alone, not by itself":         {alone, override.Values{override.SocialSignIn: false}, false, false},
		"alone, on, but not by itself": {alone, override.Values{override.SignIn: true, override.SocialSignIn: false}, true, true},
	} {
		base, _ := load(t, config.Options{File: file(t, tt.file)})
		c, _, err := base.With(tt.saved)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		oidc := hook.Compile("oidc", c.Lists("oidc")).Session.On
		if signed := c.Settings(nil)[0].Value; oidc != tt.oidc || signed != tt.signed {
			t.Errorf("%s: social signs in %v, all are signed in %v; want %v, %v", name, oidc, signed, tt.oidc, tt.signed)
		}
	}
}

// A switch that is on in some lists only says in which; once it is saved it is whole.
func TestSwitchesThatArePartlyOn(t *testing.T) {
	t.Parallel()
	partly := withProviders(true, provider("")) + "  flows: {registration: {after: {password: {hooks: [{hook: show_verification_ui}]}, oidc: {hooks: [{hook: session}]}}}, verification: {enabled: true}}\n"
	c, _ := load(t, config.Options{File: file(t, partly)})
	for _, tt := range []struct {
		saved  override.Values
		stands string
		lists  int
	}{
		{nil, override.Partly, 1},
		{override.Values{override.SignIn: true}, override.On, 2},
		{override.Values{override.SignIn: false}, override.Off, 0},
	} {
		s := c.Settings(tt.saved)[0]
		if s.Stands() != tt.stands || (tt.stands == override.Partly) != slices.Equal(s.Partly, []string{"oidc"}) {
			t.Errorf("with %v it stands at %s, %v; want %s", tt.saved, s.Stands(), s.Partly, tt.stands)
		}
		with, _, err := c.With(tt.saved)
		if err != nil {
			t.Fatal(err)
		}
		lists := 0
		for _, method := range []string{"password", "oidc"} {
			if slices.ContainsFunc(with.Lists(method).Method, func(h hook.Configured) bool { return h.Kind == hook.KindSession }) {
				lists++
			}
		}
		if lists != tt.lists {
			t.Errorf("with %v %d lists have session, want %d", tt.saved, lists, tt.lists)
		}
	}
}

func TestSavedThatIsRefused(t *testing.T) {
	t.Parallel()
	base, _ := load(t, config.Options{File: file(t, hooked)})
	bare, _ := load(t, config.Options{File: file(t, "security: {account_enumeration: {mitigate: false}}\n"), Env: withSecret})
	for name, tt := range map[string]struct {
		base  *config.Config
		saved override.Values
		want  string
	}{
		"unknown":     {base, override.Values{"session.lifespam": "1h"}, "session.lifespam: this is no setting"},
		"kind":        {base, override.Values{override.SignIn: "yes"}, "sign_in_after_registration: want true or false"},
		"choice":      {base, override.Values{"session.issue.on_failure": "later"}, "session.issue.on_failure: want degrade or fail"},
		"range":       {base, override.Values{"session.lifespan": "1ms"}, "session.lifespan: want 1s to 720h, not 1ms"},
		"no time":     {base, override.Values{"session.lifespan": "soon"}, "such as 1h30m"},
		"number":      {base, override.Values{"session.lifespan": 7.0}, "such as 1h30m"},
		"nobody":      {base, override.Values{override.Gate: true, "selfservice.flows.verification.enabled": false}, "nobody could sign in again"},
		"no way out":  {bare, override.Values{"selfservice.flows.verification.enabled": true}, "courier.smtp.connection_uri: this is needed"},
		"in the file": {bare, override.Values{override.Gate: true}, "selfservice.flows.login.after.hooks[0].hook: nobody could sign in again"},
	} {
		_, _, err := tt.base.With(tt.saved)
		var problems config.Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s: With = %v, want problems", name, err)
			continue
		}
		if reasons := config.Refused(err).Reasons; len(reasons) == 0 || !strings.Contains(reasons[0], tt.want) {
			t.Errorf("%s: refused with %q, want %q", name, reasons, tt.want)
		}
		if problems[0].Source != "saved settings" && name != "no way out" && name != "nobody" {
			t.Errorf("%s: the problem is said of %q, want the saved settings", name, problems[0].Source)
		}
	}
}

func TestLockedSettings(t *testing.T) {
	t.Parallel()
	locked := hooked + "console: {locked: [sign_in_after_registration, session.lifespan]}\n"
	base, _ := load(t, config.Options{File: file(t, locked)})
	saved := override.Values{override.SignIn: false, "session.lifespan": "nonsense", override.SocialSignIn: false}
	c, _, err := base.With(saved)
	if err != nil || len(c.Lists("password").Method) != 3 || c.Session.Lifespan != 24*time.Hour || c.Lists("oidc").AutoSession {
		t.Errorf("With = %v; want what is locked as the file has it, and the rest as it was saved", err)
	}
	for _, s := range base.Settings(saved) {
		want := override.FromFile
		switch s.Name {
		case override.SignIn, "session.lifespan":
			want = override.Locked
		case override.SocialSignIn:
			want = override.Saved
		}
		if s.Source != want || (want == override.Saved) != (s.Value != s.File) {
			t.Errorf("%s = %v from %s, file %v; want it from %s", s.Name, s.Value, s.Source, s.File, want)
		}
	}
	problems := refused(t, config.Options{File: file(t, "dev: true\nconsole:\n  locked:\n    - session.lifespam\n")})
	if got := problems[0].Error(); !strings.Contains(got, "usher.yaml:4: console.locked[0]") || !strings.Contains(got, "did you mean session.lifespan?") {
		t.Errorf("a locked name that is none: %s", got)
	}
}

// Each setting that is a key can be saved with another value than the file's, is
// then shown with it, and changes that key and no other.
func TestEachSettingRoundTrips(t *testing.T) {
	t.Parallel()
	base, _ := load(t, config.Options{File: file(t, hooked)})
	example, err := os.ReadFile("../../../deploy/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range base.Settings(nil) {
		// That each key is there another test holds.
		if !strings.Contains(s.Name, ".") && !strings.Contains(string(example), s.Name) {
			t.Errorf("deploy/config.yaml does not say what %s is", s.Name)
		}
		if s.Label == "" || s.Help == "" || s.Range == "" || s.Source != override.FromFile {
			t.Errorf("%s is not described: %+v", s.Name, s)
		}
		var other any
		switch s.Kind {
		case override.Switch:
			other = s.Value == false
		case override.Choice:
			other = s.Choices[(slices.Index(s.Choices, s.Value.(string))+1)%len(s.Choices)]
		case override.Duration:
			other = "7m0s"
		}
		saved := override.Values{s.Name: other}
		c, _, err := base.With(saved)
		if err != nil {
			t.Errorf("%s = %v: %v", s.Name, other, err)
			continue
		}
		at := slices.IndexFunc(c.Settings(nil), func(o override.State) bool { return o.Name == s.Name })
		if got := c.Settings(nil)[at].Value; got != other {
			t.Errorf("%s = %v after %v was saved", s.Name, got, other)
		}
		changed, restart := config.Diff(base, c)
		if len(changed) != 1 || len(restart) > 0 || strings.Contains(s.Name, ".") && changed[0] != s.Name {
			t.Errorf("%s changes %v (restart %v), want its own key", s.Name, changed, restart)
		}
	}
}
