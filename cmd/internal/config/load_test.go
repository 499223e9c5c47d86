package config_test

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/override"
)

// noEnv keeps the variables of the machine out.
var noEnv = []string{}

const goodSecret = "Vj2mWq8Zt5Rk1Xn7Bc4Hf9Lp3Ds6Ga0Ye"

// withSecret is the least that a configuration needs that is not for development.
var withSecret = []string{"USHER_SECRETS__DEFAULT=" + goodSecret}

// file writes a configuration file.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, o config.Options) (*config.Config, []config.Warning) {
	t.Helper()
	if o.Env == nil {
		o.Env = noEnv
	}
	c, warnings, err := config.Load(o)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c, warnings
}

// refused gives the problems of a configuration that must not load.
func refused(t *testing.T, o config.Options) config.Problems {
	t.Helper()
	if o.Env == nil {
		o.Env = noEnv
	}
	_, _, err := config.Load(o)
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("Load = %v, want Problems", err)
	}
	return problems
}

func TestLoadWithoutFileIsDevelopment(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{})
	if !c.Dev || c.Serve.Public.Host != "127.0.0.1" || c.Cookies.Secure || c.Session.Cookie.Secure {
		t.Errorf("Dev %t, host %q, Secure %t, %t; want development mode on loopback, cookies without Secure",
			c.Dev, c.Serve.Public.Host, c.Cookies.Secure, c.Session.Cookie.Secure)
	}
	for _, u := range []struct{ name, got, want string }{
		{"PublicURL", c.PublicURL(), "http://127.0.0.1:4433/"},
		{"AdminURL", c.AdminURL(), "http://127.0.0.1:4434/"},
		{"DefaultReturnURL", c.DefaultReturnURL(), "http://127.0.0.1:4433/ui/welcome"},
		{"RegistrationURL", c.RegistrationURL(), "http://127.0.0.1:4433/ui/registration"},
		{"ErrorURL", c.ErrorURL(), "http://127.0.0.1:4433/ui/error"},
	} {
		if u.got != u.want {
			t.Errorf("%s = %q, want %q", u.name, u.got, u.want)
		}
	}
	if s := c.Identity.Schemas; len(s) != 1 || s[0].ID != "default" || !strings.Contains(string(s[0].Document), `"email"`) {
		t.Errorf("Schemas = %+v, want the built-in one", s)
	}
	if plan := hook.Compile("password", c.Lists("password")); !plan.Session.On || plan.Session.ByItself {
		t.Errorf("plan of password = %+v, want the session step", plan)
	}
	if c.Session.Issue.Timeout != 500*time.Millisecond || c.Session.Issue.OnFailure != config.OnFailureDegrade {
		t.Errorf("session.issue = %+v, want degrade after 500ms", c.Session.Issue)
	}
	if len(warnings) != 1 || warnings[0].Key != "security.account_enumeration.mitigate" {
		t.Errorf("warnings = %v, want one about mitigate", warnings)
	}
}

func TestLoadWithSchemasAddsNothing(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{Env: withSecret, File: file(t, `
identity: {schemas: [{id: default, url: "base64://e30="}]}
selfservice: {default_browser_return_url: "https://app.example.org/"}
security: {account_enumeration: {mitigate: false}}
serve: {public: {base_url: "https://id.example.org/"}}
`)})
	if plan := hook.Compile("password", c.Lists("password")); plan.Session.On {
		t.Errorf("plan of password = %+v, want no session step", plan)
	}
	if got := string(c.Identity.Schemas[0].Document); got != "{}" {
		t.Errorf("Document = %q, want {}", got)
	}
	if c.Hashers.Algorithm != config.Argon2 || c.Hashers.Argon2.Memory != 19*config.MB {
		t.Errorf("Hashers = %+v, want argon2 with 19MB", c.Hashers)
	}
	if !c.Cookies.Secure || c.Dev {
		t.Errorf("Secure %t, Dev %t; want production", c.Cookies.Secure, c.Dev)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings = %v, want none", warnings)
	}
}

func TestLoadFileOfTheReferenceServer(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{File: "testdata/reference.yaml"})
	if got := c.PublicURL(); got != "https://id.example.org/" {
		t.Errorf("PublicURL = %q", got)
	}
	if string(c.Identity.Schemas[0].Document) == "" || c.Session.Lifespan != 720*time.Hour || c.Hashers.Algorithm != config.Bcrypt {
		t.Errorf("schema %q, lifespan %s, hasher %q; want those of the file", c.Identity.Schemas[0].Document, c.Session.Lifespan, c.Hashers.Algorithm)
	}
	if r := c.SelfService.Flows.Recovery; !r.Enabled || r.Use != "link" || c.RecoveryURL() != "https://app.example.org/recovery" || !c.FeatureFlags.UseContinueWithTransitions {
		t.Errorf("recovery = %+v, want it by link at the page of the file, and what comes next in its answer", r)
	}
	if !c.FeatureFlags.FasterSessionExtend {
		t.Error("sessions are extended with an answer, want none as the file says")
	}
	if got := len(c.CookieSecrets()) + len(c.CipherSecrets()); got != 2 {
		t.Errorf("%d secrets, want 2", got)
	}
	plan := hook.Compile("password", c.Lists("password"))
	if !plan.Session.On || len(plan.Background) != 1 || plan.Background[0].Endpoint != "webhook-audit" || len(plan.Waiting) != 1 || plan.Waiting[0].Endpoint != "webhook-crm" {
		t.Errorf("plan = %+v, want session, audit from the event, crm waited for", plan)
	}
	if len(plan.Notes) != 1 || plan.Notes[0].Line != 82 {
		t.Errorf("notes = %+v, want one about line 82", plan.Notes)
	}
	if got := c.Endpoints(); len(got) != 2 || got[1].Header.Get("X-Key") == "" || got[1].Body == "" {
		t.Errorf("Endpoints = %d, header and body merged %t", len(got), got[1].Header.Get("X-Key") != "")
	}
	texts := ""
	for _, w := range warnings {
		texts += w.String() + "\n"
	}
	for _, key := range []string{
		"version", "tracing", "watch-courier", "selfservice.methods.totp.enabled",
		"session.cookie.domain",
	} {
		if strings.Count(texts, key) != 1 {
			t.Errorf("warnings name %s %d times, want once:\n%s", key, strings.Count(texts, key), texts)
		}
	}
	if strings.Contains(texts, "s3cr3t") {
		t.Errorf("warnings show a secret:\n%s", texts)
	}
}

// Files of the reference server ask SQLite for what it does here anyway.
func TestLoadParametersOfSQLite(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{Dev: true, Overrides: map[string]any{"dsn": "sqlite:///var/lib/db.sqlite?_fk=true&mode=rwc&max_conns=9"}})
	if got := c.DSN.Reveal(); got != "sqlite:///var/lib/db.sqlite" {
		t.Errorf("dsn = %q, want the path", got)
	}
	if !slices.ContainsFunc(warnings, func(w config.Warning) bool {
		return w.Key == "dsn" && strings.HasSuffix(w.Text, ": _fk, mode, max_conns")
	}) {
		t.Errorf("no warning names the parameters: %v", warnings)
	}
	for _, refuses := range []string{"mode=memory", "_fk=false", "key=s3cr3t"} {
		_, _, err := config.Load(config.Options{Dev: true, Env: noEnv, Overrides: map[string]any{"dsn": "sqlite://a?mode=rwc&" + refuses}})
		name, value, _ := strings.Cut(refuses, "=")
		if err == nil || !strings.Contains(err.Error(), strconv.Quote(name)) || strings.Contains(err.Error(), value) {
			t.Errorf("%s: Load = %v, want an error with the name alone", refuses, err)
		}
	}
}

// Cookies that no client would keep.
func TestLoadWarnsOfSecureCookiesOverHTTP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		base        string
		dev, secure bool
		says        []string // none: nothing
	}{
		{"http://id.example.org/", true, true, []string{"clients keep no such cookie", "leave it out"}},
		{"http://id.example.org/", false, true, []string{"clients keep no such cookie", "--dev for a trial"}},
		{"http://127.0.0.1:4433/", false, true, []string{"most browsers keep such a cookie of a loopback host", "--dev for a trial"}},
		{"", true, true, []string{"most browsers"}},
		{"http://id.example.org/", true, false, nil},
		{"https://id.example.org/", false, true, nil},
	} {
		_, warnings := load(t, config.Options{Overrides: map[string]any{
			"dev": tt.dev, "serve.public.base_url": tt.base, "cookies.secure": tt.secure,
			"secrets.cookie": []any{"b1946ac92492d2347c6235b4d2611184"}, "secrets.cipher": []any{"591785b794601e212b260e25925636fd"},
		}})
		var got []string
		for _, w := range warnings {
			if strings.HasSuffix(w.Key, ".secure") {
				got = append(got, w.Text)
			}
		}
		if len(got) > 1 || (len(got) == 1) != (tt.says != nil) {
			t.Errorf("base %q, dev %v, secure %v: warned %q, want one that says %q", tt.base, tt.dev, tt.secure, got, tt.says)
		}
		for _, want := range tt.says {
			if !strings.Contains(strings.Join(got, ""), want) {
				t.Errorf("base %q, dev %v, secure %v: warned %q, want %q in it", tt.base, tt.dev, tt.secure, got, want)
			}
		}
	}
}

// What is not built yet is told together with what else is wrong.
func TestLoadTellsAllAtOnce(t *testing.T) {
	t.Parallel()
	problems := refused(t, config.Options{File: file(t, "dsn: mysql://u:p@h/d\nselfservice: {methods: {totp: {enabled: true}, webauthn: {enabled: true}}}\n")})
	var keys []string
	for _, p := range problems {
		keys = append(keys, p.Key)
	}
	for _, want := range []string{"dsn", "selfservice.methods.totp.enabled", "selfservice.methods.webauthn.enabled", "secrets.cookie"} {
		if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, want) }) {
			t.Errorf("problems = %q, want %s among them", keys, want)
		}
	}
}

// What the quick start of the reference server leaves out: who mails are from, and
// whose pages may ask.
func TestLoadWhatThePeerLeavesOut(t *testing.T) {
	t.Parallel()
	for base, from := range map[string]string{"https://id.example.org/": "no-reply@id.example.org", "http://127.0.0.1:4433/": "no-reply@localhost", "http://[::1]:4433/": "no-reply@localhost"} {
		c, warnings := load(t, config.Options{Dev: true, Overrides: map[string]any{
			"serve.public.base_url": base, "serve.public.cors.enabled": true,
			"courier.smtp.connection_uri": "smtp://mail.example.org/", "selfservice.flows.login.ui_url": "https://App.example.org/login",
			"selfservice.flows.settings.ui_url": "https://app.example.org/settings", "selfservice.flows.error.ui_url": base + "error",
		}})
		if got := c.Courier.SMTP.FromAddress; got != from {
			t.Errorf("mails of %s are from %q, want %q", base, got, from)
		}
		if got := c.Serve.Public.CORS.AllowedOrigins; !slices.Equal(got, []string{"https://app.example.org"}) {
			t.Errorf("origins = %q, want that of the pages", got)
		}
		for _, key := range []string{"courier.smtp.from_address", "serve.public.cors.allowed_origins"} {
			if !slices.ContainsFunc(warnings, func(w config.Warning) bool { return w.Key == key }) {
				t.Errorf("no warning names %s: %v", key, warnings)
			}
		}
	}
}

func TestLoadSettings(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true})
	f := c.SelfService.Flows.Settings
	if f.Lifespan != time.Hour || f.PrivilegedSessionMaxAge != time.Hour || !strings.HasSuffix(c.SettingsURL(), "/ui/settings") || !slices.Equal(c.SettingsMethods(), []string{"profile", "password"}) {
		t.Errorf("settings = %+v at %s by %v, want an hour of both, the built-in page, profile and password", f, c.SettingsURL(), c.SettingsMethods())
	}
	c, _ = load(t, config.Options{Dev: true, File: file(t, `selfservice: {methods: {profile: {enabled: false}}, flows: {settings: {after: {profile: {default_browser_return_url: "https://a.example/p"}}}}}`)})
	if got := c.SettingsMethods(); !slices.Equal(got, []string{"password"}) || c.SettingsMethodReturnURLs()["profile"] != "https://a.example/p" {
		t.Errorf("settings by %q lead to %v, want password alone, and a place for profile", got, c.SettingsMethodReturnURLs())
	}
	c, _ = load(t, config.Options{Dev: true, File: file(t, `selfservice: {flows: {settings: {ui_url: "https://a.example/s", privileged_session_max_age: 15m, after: {oidc: {default_browser_return_url: "https://a.example/x"}}}}}`)})
	if c.SettingsURL() != "https://a.example/s" || c.SelfService.Flows.Settings.PrivilegedSessionMaxAge != 15*time.Minute || c.SettingsMethodReturnURLs()["oidc"] != "https://a.example/x" {
		t.Errorf("settings = %+v, want what the file says", c.SelfService.Flows.Settings)
	}
}

func TestLoadPrecedence(t *testing.T) {
	t.Parallel()
	path := file(t, "serve: {public: {port: 1001}, admin: {port: 1002}}\nlog: {level: warn, format: json}\n")
	c, _ := load(t, config.Options{
		File: path, Dev: true,
		Env:       []string{"USHER_SERVE__ADMIN__PORT=2002", "USHER_LOG__LEVEL=error", "HOME=/", "USHER_TEST_ANYTHING=1", "USHER_ADMIN_TOKEN=x"},
		Overrides: map[string]any{"log.level": "debug"},
	})
	if c.Serve.Public.Port != 1001 || c.Serve.Admin.Port != 2002 || c.Log.Level != "debug" || c.Log.Format != "json" {
		t.Errorf("ports %d, %d, log %+v; want 1001 of the file, 2002 of the environment, debug of the overrides, json of the file",
			c.Serve.Public.Port, c.Serve.Admin.Port, c.Log)
	}
}

func TestLoadEnvironment(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Env: []string{
		"USHER_SESSION__LIFESPAN=48h",
		"USHER_SERVE__PUBLIC__PORT=0",
		"USHER_COOKIES__SECURE=true",
		"USHER_SECRETS__COOKIE=[0123456789012345678901234567890a, \"b,123456789012345678901234567890\"]",
		"USHER_SECRETS__CIPHER=a,b-this-one-has-a-comma-in-it-0123456789",
		"USHER_SELFSERVICE__ALLOWED_RETURN_URLS=https://app.example.org",
		"USHER_SERVE__TRUSTED_PROXIES=[10.1.2.3/8, 192.0.2.7]",
		"USHER_HASHERS__ARGON2__MEMORY=32MB",
		"USHER_DSN=postgres://u:0123@db/usher",
		"USHER_SELFSERVICE__FLOWS__REGISTRATION__AFTER__PASSWORD__HOOKS=[{hook: session}]",
	}})
	if c.Session.Lifespan != 48*time.Hour || c.Serve.Public.Port != 0 || !c.Cookies.Secure || !c.Session.Cookie.Secure {
		t.Errorf("lifespan %s, port %d, Secure %t, %t", c.Session.Lifespan, c.Serve.Public.Port, c.Cookies.Secure, c.Session.Cookie.Secure)
	}
	if got := c.CookieSecrets(); len(got) != 2 || string(got[1]) != "b,123456789012345678901234567890" {
		t.Errorf("CookieSecrets = %q, want two", got)
	}
	if got := c.CipherSecrets(); len(got) != 1 {
		t.Errorf("CipherSecrets = %q, want one with a comma", got)
	}
	if got := c.SelfService.AllowedReturnURLs; !slices.Equal(got, []string{"https://app.example.org"}) {
		t.Errorf("AllowedReturnURLs = %q", got)
	}
	if got := c.Serve.TrustedProxies; len(got) != 2 || got[0].String() != "10.0.0.0/8" || got[1].String() != "192.0.2.7/32" {
		t.Errorf("TrustedProxies = %v", got)
	}
	if c.Hashers.Argon2.Memory != 32*config.MB || c.DSN.Reveal() != "postgres://u:0123@db/usher" {
		t.Errorf("memory %s, dsn %q", c.Hashers.Argon2.Memory, c.DSN.Reveal())
	}
}

func TestSessionCookieFollowsCookies(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, `
cookies: {domain: example.org, path: /ids, same_site: None, secure: true}
session: {cookie: {path: /}}
`)})
	s := c.Session.Cookie
	if s.Domain != "example.org" || s.Path != "/" || s.SameSite.HTTP() != http.SameSiteNoneMode || !s.Secure {
		t.Errorf("session.cookie = %+v, want that of cookies with another path", s)
	}
}

func TestListeningFillsInFreePorts(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Overrides: map[string]any{"serve.public.port": 0}})
	at := c.Listening(5001, 5002)
	if got := at.RegistrationURL(); got != "http://127.0.0.1:5001/ui/registration" {
		t.Errorf("RegistrationURL = %q, want it at port 5001", got)
	}
	if got := at.AdminURL(); got != "http://127.0.0.1:4434/" {
		t.Errorf("AdminURL = %q, want the configured port", got)
	}
	if c.Serve.Public.Port != 0 {
		t.Errorf("Listening changed the original: port %d", c.Serve.Public.Port)
	}
}

func TestCheckParts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		over    map[string]any
		missing []string
	}{
		{"nothing", nil, []string{"dsn", "bus.url"}},
		{"SQLite", map[string]any{"dsn": "sqlite:///tmp/x.db", "bus.url": "nats://bus:4222", "bus.credentials": "creds"}, []string{"dsn"}},
		{"no bus", map[string]any{"dsn": "postgres://db/usher"}, []string{"bus.url"}},
		{"both", map[string]any{"dsn": "postgres://db/usher", "bus.url": "nats://a:1,tls://b:2", "bus.credentials": "creds"}, nil},
	} {
		c, warnings := load(t, config.Options{Overrides: tt.over})
		warned := slices.ContainsFunc(warnings, func(w config.Warning) bool { return w.Key == "bus.url" })
		if want := tt.name == "SQLite"; warned != want { // an external bus alone is no way to parts
			t.Errorf("%s: warns of bus.url: %t, want %t", tt.name, warned, want)
		}
		err := c.CheckParts()
		if (err == nil) != (tt.missing == nil) {
			t.Errorf("%s: CheckParts = %v, want missing %q", tt.name, err, tt.missing)
		}
		for _, key := range tt.missing {
			if err != nil && !strings.Contains(err.Error(), key) {
				t.Errorf("%s: CheckParts = %v, want it to name %s", tt.name, err, key)
			}
		}
	}
}

func TestSocialMethodHasSessionByItself(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{})
	if plan := hook.Compile("oidc", c.Lists("oidc")); !plan.Session.On || !plan.Session.ByItself {
		t.Errorf("plan of oidc = %+v, want session by itself", plan)
	}
	c, _ = load(t, config.Options{Overrides: map[string]any{"selfservice.flows.registration.after.oidc.auto_session": false}})
	if plan := hook.Compile("oidc", c.Lists("oidc")); plan.Session.On {
		t.Errorf("plan of oidc with auto_session: false = %+v, want no session", plan)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{})
	if got := c.Methods(); !slices.Equal(got, []string{"password"}) {
		t.Errorf("Methods = %v, want password", got)
	}
	c, _ = load(t, config.Options{Overrides: map[string]any{"selfservice.methods.password.enabled": false}})
	if got := c.Methods(); len(got) != 0 {
		t.Errorf("Methods with password off = %v, want none", got)
	}
}

func TestStepsOfRegistration(t *testing.T) {
	t.Parallel()
	const style, legacy = "selfservice.flows.registration.style", "selfservice.flows.registration.enable_legacy_one_step"
	for _, tt := range []struct {
		keys map[string]any
		two  bool
	}{
		{nil, true},
		{map[string]any{style: "profile_first"}, true},
		{map[string]any{style: "unified"}, false},
		{map[string]any{legacy: true}, false},
		{map[string]any{style: "profile_first", legacy: true}, false},
		{map[string]any{style: "unified", legacy: false}, false},
		{map[string]any{"selfservice.methods.password.enabled": false}, false},
		{map[string]any{"selfservice.methods.profile.enabled": false}, false},
	} {
		c, _ := load(t, config.Options{Overrides: tt.keys})
		if got := c.RegistrationMethods(); slices.Contains(got, "profile") != tt.two {
			t.Errorf("RegistrationMethods with %v = %v, want profile: %v", tt.keys, got, tt.two)
		}
		if slices.Contains(c.Methods(), "profile") {
			t.Errorf("Methods with %v = %v, want no profile: nobody signs in with it", tt.keys, c.Methods())
		}
	}
}

// What an operator has saved counts over the older name in the file.
func TestSavedStyle(t *testing.T) {
	t.Parallel()
	const style, legacy = "selfservice.flows.registration.style", "selfservice.flows.registration.enable_legacy_one_step"
	base, _ := load(t, config.Options{Overrides: map[string]any{legacy: true}})
	shown := func(c *config.Config) any {
		states := c.Settings(nil)
		return states[slices.IndexFunc(states, func(s override.State) bool { return s.Name == style })].Value
	}
	if got := shown(base); got != "unified" {
		t.Errorf("style with %s = %v, want unified", legacy, got)
	}
	c, _, err := base.With(override.Values{style: "profile_first"})
	if err != nil || shown(c) != "profile_first" || !slices.Contains(c.RegistrationMethods(), "profile") {
		t.Errorf("style that was saved = %v with methods %v, %v, want profile_first", shown(c), c.RegistrationMethods(), err)
	}
}

func TestMitigateMayBeFalse(t *testing.T) {
	t.Parallel()
	c, warnings := load(t, config.Options{Overrides: map[string]any{"security.account_enumeration.mitigate": false}})
	if c.Mitigate() || len(warnings) > 0 {
		t.Errorf("Mitigate = %t, warnings %v; want false without a warning", c.Mitigate(), warnings)
	}
}

func TestMethodReturnURLs(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Overrides: map[string]any{
		"selfservice.flows.registration.after.password.default_browser_return_url": "https://app.example.org/new",
	}})
	want := map[string]string{"password": "https://app.example.org/new"}
	if got := c.MethodReturnURLs(); !maps.Equal(got, want) {
		t.Errorf("MethodReturnURLs = %v, want %v", got, want)
	}
}
