package config_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/oidc"
)

// oidcSecret must not show anywhere.
const oidcSecret = "hush-of-the-provider"

const mapperSource = `local c = std.extVar('claims'); {identity: {traits: {email: c.email}}}`

// withProviders is a configuration with identity providers, the first of which
// begins in line 7.
func withProviders(enabled bool, providers ...string) string {
	text := fmt.Sprintf("dev: true\nsecurity: {account_enumeration: {mitigate: false}}\nselfservice:\n  methods:\n    oidc: {enabled: %t, config: {\n      providers: [\n", enabled)
	return text + strings.Join(providers, ",\n") + "\n      ]}}\n"
}

// provider is one that can be used, with more keys or with others.
func provider(more string) string {
	p := `{id: google, provider: google, client_id: app, client_secret: ` + oidcSecret + `, mapper_url: "base64://` +
		base64.StdEncoding.EncodeToString([]byte(mapperSource)) + `"`
	if more != "" {
		p += ", " + more
	}
	return p + "}"
}

func TestProviders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"map.jsonnet":  mapperSource,
		"staff.secret": oidcSecret + "\nrest\n",
		"usher.yaml": withProviders(true, provider("label: Google, authoritative_for: [gmail.com]"), `{
  id: staff, provider: generic, client_id: app, client_secret_file: staff.secret, mapper_url: file://map.jsonnet,
  issuer_url: "https://sso.example.org/", auth_url: "https://sso.example.org/a", token_url: "https://sso.example.org/t",
  scope: [openid, email], pkce: force, claims_source: userinfo, subject_source: userinfo, account_linking_mode: automatic,
  requested_claims: {id_token: {email: ~, name: {essential: true}}},
  authoritative_for: [example.org], upstream_parameters: [login_hint], fedcm_config_url: "", net_id_token_origin_header: x}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, warnings := load(t, config.Options{File: filepath.Join(dir, "usher.yaml")})
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "net_id_token_origin_header") {
		t.Errorf("warnings = %v, want one about the key without effect", warnings)
	}
	want := []oidc.Config{{
		ID: "google", Provider: "google", Label: "Google", ClientID: "app", ClientSecret: oidcSecret, Mapper: mapperSource,
		AuthoritativeFor: []string{"gmail.com"},
	}, {
		ID: "staff", Provider: "generic", ClientID: "app", ClientSecret: oidcSecret, Mapper: mapperSource,
		IssuerURL: "https://sso.example.org/", AuthURL: "https://sso.example.org/a", TokenURL: "https://sso.example.org/t",
		Scope: []string{"openid", "email"}, PKCE: oidc.PKCEForce, ClaimsSource: oidc.FromUserinfo, Linking: oidc.LinkAutomatic,
		RequestedClaims:  json.RawMessage(`{"id_token":{"email":null,"name":{"essential":true}}}`),
		AuthoritativeFor: []string{"example.org"}, UpstreamParameters: []string{"login_hint"},
	}}
	got := c.OIDCProviders()
	for i := range want {
		if len(got) != len(want) || fmt.Sprintf("%+v", plain(got[i])) != fmt.Sprintf("%+v", plain(want[i])) {
			t.Fatalf("provider %d = %+v,\nwant %+v", i, plain(got[i]), plain(want[i]))
		}
	}
	if got := c.Methods(); !slices.Equal(got, []string{"password", "oidc"}) {
		t.Errorf("Methods = %v, want password and oidc", got)
	}
	if got, want := c.OIDCRedirectURL("staff"), "http://127.0.0.1:4433/self-service/methods/oidc/callback/staff"; got != want {
		t.Errorf("redirect URL = %s, want %s", got, want)
	}
	if printed, err := c.Print(); err != nil || strings.Contains(string(printed)+fmt.Sprintf("%+v %#v", c.SelfService.Methods.OIDC, got), oidcSecret) {
		t.Errorf("the secret shows in what is printed, or %v", err)
	} else if !strings.Contains(string(printed), "client_secret: '[secret]'") {
		t.Errorf("printed %s, want that there is a secret", printed)
	}
}

// plain is a provider that shows all it has.
func plain(c oidc.Config) any {
	type bare oidc.Config
	return bare(c)
}

func TestProvidersThatAreRefused(t *testing.T) {
	t.Parallel()
	const key = "selfservice.methods.oidc.config.providers[0]"
	with := func(former, now string) string {
		return strings.Replace(provider(""), former, now, 1)
	}
	for text, want := range map[string][2]string{
		with("id: google, ", ""):                                                                   {key + ".id", "this is needed"},
		with("id: google", "id: a/b"):                                                              {key + ".id", "letters, digits"},
		with("provider: google", "provider: gogle"):                                                {key + ".provider", "did you mean google?"},
		with("provider: google", "provider: apple"):                                                {key + ".provider", "generic is any OpenID provider"},
		with("provider: google", "provider: generic"):                                              {key + ".issuer_url", "missing"},
		with("client_id: app, ", ""):                                                               {key + ".client_id", "missing"},
		with("mapper_url", "label"):                                                                {key + ".mapper_url", "this is needed"},
		with("base64://", "https://m.example.org/"):                                                {key + ".mapper_url", "nothing is downloaded"},
		with("base64://", "file:///nowhere/"):                                                      {key + ".mapper_url", "no such file"},
		with("base64://", "base64://ew==#"):                                                        {key + ".mapper_url", "base64"},
		with("client_secret: "+oidcSecret, "client_secret_file: x"):                                {key + ".client_secret_file", "no such file"},
		with("client_secret: "+oidcSecret, "client_secret_file: /dev/null"):                        {key + ".client_secret_file", "first line"},
		`{id: a, provider: github, client_id: app, client_secret: x, mapper_url: "base64://IAo="}`: {key + ".mapper_url", "white space"},
		provider("client_secret_file: x"):                                                          {key + ".client_secret_file", "not both"},
		provider("issuer_url: 'http://sso.example.org/'"):                                          {"", ""}, // plain HTTP is for development
		provider("pkce: yes please"):                                                               {key + ".pkce", "auto, force or never"},
		provider("claims_source: me"):                                                              {key + ".claims_source", "userinfo"},
		provider("account_linking_mode: auto"):                                                     {key + ".account_linking_mode", "automatic"},
		provider("subject_source: me"):                                                             {key + ".subject_source", "want userinfo"},
		provider("microsoft_tenant: common"):                                                       {key + ".microsoft_tenant", "only the provider microsoft"},
		provider("authoritative_for: [a@b.org]"):                                                   {key + ".authoritative_for[0]", "want a domain"},
		provider("authoritative_for: ['*.example.org']"):                                           {key + ".authoritative_for[0]", "want a domain"},
		provider("requested_claims: {a: {b: .nan}}"):                                               {key + ".requested_claims", "JSON"},
		provider("upstream_parameters: [state]"):                                                   {key, "set by the attempt itself"},
		provider("organization_id: acme"):                                                          {key + ".organization_id", "not built yet"},
		provider("client_secrt: x"):                                                                {key + ".client_secrt", "did you mean"},
		provider("") + ",\n" + provider(""):                                                        {"selfservice.methods.oidc.config.providers[1].id", "another provider (line 7)"},
		strings.Repeat(provider("")+",", 64) + provider("pkce: force"):                             {"selfservice.methods.oidc.config.providers", "64 at most"},
	} {
		path := file(t, withProviders(true, text))
		if want[0] == "" {
			load(t, config.Options{File: path})
			continue
		}
		problems := refused(t, config.Options{File: path})
		if len(problems) != 1 || problems[0].Key != want[0] || !strings.Contains(problems[0].Text, want[1]) || problems[0].Line < 6 {
			t.Errorf("%.120s: problems = %v, want one of %s with %q", text, problems, want[0], want[1])
		}
		if strings.Contains(problems.Error(), oidcSecret) {
			t.Errorf("%.120s: the secret shows in %v", text, problems)
		}
	}
	load(t, config.Options{File: file(t, withProviders(false, "{id: later, provider: apple, apple_private_key: x, mapper_url: file://none}"))})
	production := strings.Replace(withProviders(true, provider("issuer_url: 'http://sso.example.org/'")), "dev: true", "dev: false", 1)
	if problems := refused(t, config.Options{File: file(t, production), Env: withSecret}); !strings.Contains(problems.Error(), "https URL") {
		t.Errorf("plain HTTP in production: %v", problems)
	}
}

func TestMapperThatDoesNotCompileNamesItsLine(t *testing.T) {
	t.Parallel()
	broken := base64.StdEncoding.EncodeToString([]byte("local c = 1;\n{identity: }"))
	text := withProviders(true, `{id: google, provider: google, client_id: app, client_secret: x, mapper_url: "base64://`+broken+`"}`)
	problems := refused(t, config.Options{File: file(t, text)})
	if len(problems) != 1 || !strings.HasSuffix(problems[0].Key, ".mapper_url") || !strings.Contains(problems[0].Text, "mapper:2:") {
		t.Errorf("problems = %v, want one of mapper_url that names line 2", problems)
	}
}

func TestProvidersAreWarnedOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		withProviders(true):                                       "without effect: selfservice.methods.oidc.config.providers names none",
		withProviders(false, provider("")):                        "without effect: selfservice.methods.oidc.enabled is false",
		withProviders(true, provider("")):                         "",
		withProviders(true, provider(`authoritative_for: ["*"]`)): "name the domains",
		withProviders(true, provider(`authoritative_for: ["*"], account_linking_mode: automatic`)): "is signed in to the account",
		withProviders(true, provider(`account_linking_mode: automatic`)):                           "no effect without authoritative_for",
		withProviders(true, strings.Replace(provider(""), "client_secret", "label", 1)):            "public client",
		withProviders(true, provider("additional_id_token_audiences: [a]")):                        "until their feature is built",
	} {
		c, warnings := load(t, config.Options{File: file(t, text)})
		if got := fmt.Sprint(warnings); len(warnings) > 1 || want == "" && len(warnings) > 0 || !strings.Contains(got, want) || strings.Contains(got, oidcSecret) {
			t.Errorf("%s: warnings = %v, want one with %q", text, warnings, want)
		}
		if on := slices.Contains(c.Methods(), "oidc"); on != (len(c.OIDCProviders()) > 0) {
			t.Errorf("%s: oidc is a method: %t, providers %v", text, on, c.OIDCProviders())
		}
	}
}

// The reference server takes the list from a variable too, and secrets come so.
func TestProvidersFromTheEnvironment(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, Env: []string{
		"USHER_SELFSERVICE__METHODS__OIDC__ENABLED=true",
		"USHER_SELFSERVICE__METHODS__OIDC__CONFIG__BASE_REDIRECT_URI=https://id.example.org/in/",
		`USHER_SELFSERVICE__METHODS__OIDC__CONFIG__PROVIDERS=[{"id":"hub","provider":"github","client_id":"app","client_secret":"` + oidcSecret + `","mapper_url":"base64://e30="}]`,
	}})
	if p := c.OIDCProviders(); len(p) != 1 || p[0].ID != "hub" || p[0].ClientSecret != oidcSecret {
		t.Errorf("providers = %v, want that of the variable", p)
	}
	if got, want := c.OIDCRedirectURL("hub"), "https://id.example.org/in/self-service/methods/oidc/callback/hub"; got != want {
		t.Errorf("redirect URL = %s, want %s", got, want)
	}
	problems := refused(t, config.Options{Dev: true, Env: []string{
		"USHER_SELFSERVICE__METHODS__OIDC__CONFIG__PROVIDERS=[{client_secret: " + oidcSecret + ", {",
	}})
	if len(problems) != 1 || strings.Contains(problems.Error(), oidcSecret) {
		t.Errorf("a list that is none: %v, want one problem without the secret", problems)
	}
}

func TestHooksOfSocialLogin(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Overrides: map[string]any{
		"selfservice.flows.login.after.hooks":                           []any{map[string]any{"hook": "revoke_active_sessions"}},
		"selfservice.flows.login.after.oidc.hooks":                      []any{map[string]any{"hook": "require_verified_address"}},
		"selfservice.flows.login.after.oidc.default_browser_return_url": "https://app.example.org/in",
	}})
	if plan := hook.CompileLogin("oidc", c.LoginLists("oidc")); !plan.RequireVerified || plan.RevokeOthers {
		t.Errorf("login plan of oidc = %+v, want the method's own list", plan)
	}
	if !c.Lists("oidc").Gated || c.Lists("password").Gated {
		t.Errorf("gated: oidc %t, password %t; want oidc only", c.Lists("oidc").Gated, c.Lists("password").Gated)
	}
	if got, want := c.LoginMethodReturnURLs(), map[string]string{"oidc": "https://app.example.org/in"}; !maps.Equal(got, want) {
		t.Errorf("LoginMethodReturnURLs = %v, want %v", got, want)
	}
	problems := refused(t, config.Options{Overrides: map[string]any{"selfservice.flows.login.after.oidc.hooks": []any{map[string]any{"hook": "session"}}}})
	if len(problems) != 1 || problems[0].Key != "selfservice.flows.login.after.oidc.hooks[0].hook" {
		t.Errorf("session at login: %v, want it refused", problems)
	}
}

func TestDiffSeesMappersAndSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("usher.yaml", withProviders(true, "{id: a, provider: github, client_id: app, client_secret_file: s, mapper_url: file://m}"))
	write("s", "one")
	write("m", "{}")
	read := func() *config.Config {
		c, _ := load(t, config.Options{File: filepath.Join(dir, "usher.yaml")})
		return c
	}
	for name, text := range map[string]string{"s": "two", "m": "{a: 1}"} {
		before := read()
		write(name, text)
		if changed, restart := config.Diff(before, read()); !slices.Equal(changed, []string{"selfservice.methods.oidc.config.providers"}) || len(restart) > 0 {
			t.Errorf("Diff with another %s = %v, %v, want the providers and no restart", name, changed, restart)
		}
	}
}

// What "config print" leaves out cannot be seen in force.
func TestPrintShowsWhereHooksGo(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Overrides: map[string]any{"selfservice.flows.registration.after.hooks": []any{
		map[string]any{"hook": "web_hook", "config": map[string]any{"url": "https://hooks.example.org/key", "headers": map[string]any{"X-Key": oidcSecret}}},
	}}})
	text, err := c.Print()
	if err != nil || !strings.Contains(string(text), "https://hooks.example.org/[secret]") || strings.Contains(string(text), "/key") {
		t.Errorf("printed %s, %v; want the hook's host", text, err)
	}
}
