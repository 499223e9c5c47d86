package e2e_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPagesInABrowser drives the built-in pages in Chromium: register, sign in,
// verify, change, recover and log out by typing, in each language, sign up and in at a
// provider, mistakes at their fields, keyboard only, light and dark, axe; and the console, where an operator
// toggles Sign In After Registration.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	needsBrowser(t)
	t.Run("registration", func(t *testing.T) {
		t.Parallel()
		browse(t, "registration.mjs", hooks(sessionHook))
	})
	t.Run("login", func(t *testing.T) {
		t.Parallel()
		browse(t, "login.mjs", mustVerify())
	})
	t.Run("account", func(t *testing.T) {
		t.Parallel()
		browse(t, "account.mjs", wholeAccount("code"))
	})
	t.Run("account by link", func(t *testing.T) {
		t.Parallel()
		browse(t, "account.mjs", wholeAccount("link"), "USHER_BY_LINK=1")
	})
	t.Run("social", func(t *testing.T) {
		t.Parallel()
		p := newProvider(t)
		config := merge(hooks(sessionHook), providers(p.oidcProvider(example, settings{"label": "Example"})))
		browse(t, "social.mjs", config, "USHER_PROVIDER_URL="+p.issuer)
	})
	t.Run("console", func(t *testing.T) {
		t.Parallel()
		background := newEndpoint(t)
		s := newSystem(t, "parts", hooks(background.webHook("crm", settings{"ignore": true})))
		base := s.startConsole()
		s.browse(t, "console.mjs", "USHER_CONSOLE_URL="+base, "USHER_SETUP_LINK="+s.setUpLink(), "USHER_APIS="+strings.Join(s.apis, ","))
	})
}

// needsBrowser leaves a test out where there is no Chromium, or no driver of it.
func needsBrowser(t *testing.T) {
	t.Helper()
	for _, needed := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(needed); err != nil {
			leftOut(t, "no "+needed+" on this machine")
		}
	}
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		leftOut(t, "cmd/e2e/browser has no node_modules: npm ci makes them")
	}
}

// mustVerify is a configuration in which people must verify before they sign in,
// and registration signs them in all the same.
func mustVerify() settings {
	return merge(hooks(settings{"hook": "show_verification_ui"}, sessionHook), settings{
		"selfservice": settings{"flows": settings{
			"verification": settings{"enabled": true},
			"login": settings{"after": settings{"password": settings{
				"hooks": []any{settings{"hook": "require_verified_address"}},
			}}},
		}},
	})
}

// wholeAccount is a configuration in which registration signs in and shows the
// verification, and accounts are verified and recovered by code or by link.
func wholeAccount(use string) settings {
	return merge(hooks(settings{"hook": "show_verification_ui"}, sessionHook), settings{
		"selfservice": settings{
			"methods": settings{"link": settings{"enabled": true}},
			"flows": settings{
				"verification": settings{"enabled": true, "use": use},
				"recovery":     settings{"enabled": true, "use": use},
			},
		},
	})
}

// browse runs a script of the browser folder against a system of its own.
func browse(t *testing.T, script string, config settings, env ...string) {
	t.Helper()
	newSystem(t, "sqlite", config).browse(t, script, env...)
}

// browse runs a script of the browser folder against this system.
func (s *system) browse(t *testing.T, script string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir = "browser"
	cmd.Env = append(os.Environ(), "USHER_URL="+s.apis[0], "USHER_ADMIN_URL="+s.admins[0])
	if folder := os.Getenv("USHER_TEST_SCREENSHOTS"); folder != "" {
		cmd.Env = append(cmd.Env, "USHER_SCREENSHOTS="+folder)
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "# /") { // what a script has measured of a page
			t.Log(line)
		}
	}
	t.Log(lines[len(lines)-1])
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
}

// leftOut skips a test for what the machine lacks; in the pipeline it fails.
func leftOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
