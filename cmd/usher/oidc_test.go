package main

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/oidc/oidctest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds text against a file, in which what differs each time is left out.
func golden(t *testing.T, name, text, differs string) {
	t.Helper()
	text = strings.ReplaceAll(text, differs, "[differs]")
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s:\n%s\nwant (go test -update writes it)\n%s", name, text, want)
	}
}

const mapper = `
local claims = std.extVar('claims');
{
  identity: {
    traits: { email: claims.email, name: { first: claims.given_name } },
    verified_addresses: [{ via: 'email', value: claims.email }],
  },
}`

// social is a configuration with one provider, more of which is in more.
func social(t *testing.T, issuer, mapper, more string) string {
	t.Helper()
	return write(t, fmt.Sprintf(`dev: true
security: {account_enumeration: {mitigate: false}}
selfservice:
  methods:
    oidc:
      enabled: true
      config:
        providers:
          - {id: sso, provider: generic, label: Staff, issuer_url: %q, client_id: %s, client_secret: %s, mapper_url: "base64://%s"%s}
`, issuer, oidctest.ClientID, oidctest.ClientSecret, base64.StdEncoding.EncodeToString([]byte(mapper)), more))
}

func TestOIDCCheck(t *testing.T) {
	t.Parallel()
	provider := oidctest.New(t)
	trusted := social(t, provider.URL, mapper, ", authoritative_for: [example.com]")
	out, errOut, code := run(t, "oidc", "check", "-c", trusted)
	if code != 0 || errOut != "" {
		t.Errorf("usher oidc check = %d %s", code, errOut)
	}
	golden(t, "oidc_check.txt", out, provider.URL)

	claims := filepath.Join(t.TempDir(), "claims.json")
	if err := os.WriteFile(claims, []byte(`{"sub": "1", "email": "ann@partner.example", "email_verified": true, "given_name": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code = run(t, "oidc", "check", "sso", "--claims", claims, "-c", trusted)
	if code != 1 {
		t.Errorf("usher oidc check --claims = %d, want 1: a trait is not what the schema wants", code)
	}
	golden(t, "oidc_check_claims.txt", out, provider.URL)
	if strings.Contains(out, oidctest.ClientSecret) {
		t.Error("the client secret shows")
	}
}

func TestOIDCCheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	provider := oidctest.New(t)
	const trusting = ", authoritative_for: [example.com]"
	for name, c := range map[string]struct{ issuer, mapper, more, want string }{
		"away":          {"http://127.0.0.1:1", mapper, "", "cannot be reached"},
		"slash":         {provider.URL + "/", mapper, "", "slash at the end"},
		"broken":        {provider.URL, `{identity: {traits: {email: std.extVar('claims').mail}}}`, "", "mapper"},
		"unknown trait": {provider.URL, `{identity: {traits: {email: 'a@example.com', shoe: 44}}}`, "", "let the schema know it"},
		"no address":    {provider.URL, `{identity: {traits: {email: 'a@example.com'}, verified_addresses: [{via: 'email', value: 'b@example.com'}]}}`, trusting, "b@example.com is no address of the identity"},
	} {
		file := social(t, c.issuer, c.mapper, c.more)
		out, errOut, code := run(t, "oidc", "check", "-c", file)
		if code != 1 || errOut != "" || !strings.Contains(out, "wrong: ") || !strings.Contains(out, c.want) || strings.Contains(out, oidctest.ClientSecret) {
			t.Errorf("%s: usher oidc check = %d %s%s, want 1 and %q", name, code, out, errOut, c.want)
		}
		out, _, code = run(t, "oidc", "check", "--json", "-c", file)
		var said struct {
			OK        bool
			Providers []struct {
				Provider    string
				RedirectURI string `json:"redirect_uri"`
				Problems    []struct{ Problem, Hint string }
			}
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil || code != 1 || said.OK || len(said.Providers) != 1 || len(said.Providers[0].Problems) == 0 ||
			said.Providers[0].RedirectURI != "http://127.0.0.1:4433/self-service/methods/oidc/callback/sso" || strings.Contains(out, oidctest.ClientSecret) {
			t.Errorf("%s: usher oidc check --json = %d %s", name, code, out)
		}
	}
}

// What people are asked for is no fault of the mapper.
func TestOIDCCheckOfTraitsThatAreAskedFor(t *testing.T) {
	t.Parallel()
	provider := oidctest.New(t)
	out, _, code := run(t, "oidc", "check", "-c", social(t, provider.URL, `{identity: {traits: {name: {first: 'Ann'}}}}`, ""))
	if code != 0 || !strings.Contains(out, "asked for") || !strings.Contains(out, "traits.email") {
		t.Errorf("usher oidc check = %d %s, want that the address is asked for", code, out)
	}
}

func TestOIDCRefusesArguments(t *testing.T) {
	t.Parallel()
	file := social(t, "https://sso.example.org/", mapper, "")
	list := filepath.Join(t.TempDir(), "list.json")
	if err := os.WriteFile(list, []byte("[1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"did you mean sso?":             {"check", "ss", "-c", file},
		"there is sso":                  {"check", "google", "-c", file},
		"no such file":                  {"check", "--claims", "nowhere.json", "-c", file},
		"want a JSON object":            {"check", "--claims", list, "-c", file},
		"no identity providers":         {"check"},
		"no identity providers in":      {"list"},
		"takes no arguments":            {"list", "sso", "-c", file},
		"did you mean check?":           {"chek"},
		"did you mean --claims?":        {"check", "--claim", "x", "-c", file},
		"oidc.config.providers[0].pkce": {"check", "-c", social(t, "https://sso.example.org/", mapper, ", pkce: on")},
	} {
		out, errOut, code := run(t, append([]string{"oidc"}, args...)...)
		if code != 1 || !strings.Contains(errOut, want) || strings.Contains(out+errOut, oidctest.ClientSecret) {
			t.Errorf("usher oidc %s = %d %s%s, want %q", strings.Join(args, " "), code, out, errOut, want)
		}
	}
}

func TestOIDCListAndCompletion(t *testing.T) {
	t.Parallel()
	file := social(t, "https://sso.example.org/", mapper, "")
	out, _, code := run(t, "oidc", "list", "-c", file)
	if fields := strings.Fields(out); code != 0 || !slices.Equal(fields[5:], []string{"sso", "generic", "Staff", "http://127.0.0.1:4433/self-service/methods/oidc/callback/sso"}) {
		t.Errorf("usher oidc list = %d %s", code, out)
	}
	if out, _, _ = run(t, "__complete", "oidc", "check", "-c", file, "s"); !strings.HasPrefix(out, "sso\n") {
		t.Errorf("completion = %q, want sso", out)
	}
	if out, _, _ = run(t, "__complete", "oidc", "check", "-c", file, "sso", ""); strings.Contains(out, "sso") {
		t.Errorf("completion behind sso = %q, want nothing", out)
	}
}

// P3: the plan shows the session step of social sign-in, and that it is there by
// itself; auto_session: false turns it off.
func TestPlanOfSocialSignIn(t *testing.T) {
	t.Parallel()
	file := social(t, "https://sso.example.org/", mapper, "")
	for name, auto := range map[string]string{"": "true", "_off": "false"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		other := write(t, string(text)+`  flows:
    registration:
      after:
        hooks:
          - {hook: web_hook, config: {id: crm, url: "https://crm.example.org/", response: {ignore: true}}}
        oidc: {auto_session: `+auto+`}
    login:
      after:
        oidc:
          hooks:
            - hook: revoke_active_sessions
`)
		out, errOut, code := run(t, "hooks", "plan", "-c", other)
		if code != 0 {
			t.Fatalf("usher hooks plan = %d %s", code, errOut)
		}
		golden(t, "plan_oidc"+name+".txt", out, other)
		checked, _, code := run(t, "config", "check", "-c", other)
		want := map[string]string{"true": "social sign-in with sso: session (by itself)\n", "false": "social sign-in with sso: no session: "}[auto]
		if code != 0 || !strings.Contains(checked, want) {
			t.Errorf("usher config check = %d %s, want %q", code, checked, want)
		}
	}
}
