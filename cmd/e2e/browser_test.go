package e2e_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPagesInABrowser drives the built-in pages in Chromium: register, sign in,
// verify and log out by typing, sign up and in at a provider, mistakes at their
// fields, keyboard only, light and dark, axe.
func TestPagesInABrowser(t *testing.T) {
	for _, needed := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(needed); err != nil {
			leftOut(t, "no "+needed+" on this machine")
		}
	}
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		leftOut(t, "cmd/e2e/browser has no node_modules: npm ci makes them")
	}
	t.Run("registration", func(t *testing.T) { browse(t, "registration.mjs", hooks(sessionHook)) })
	t.Run("login", func(t *testing.T) { browse(t, "login.mjs", mustVerify()) })
	t.Run("social", func(t *testing.T) {
		p := newProvider(t)
		config := merge(hooks(sessionHook), providers(p.oidcProvider(example, settings{"label": "Example"})))
		browse(t, "social.mjs", config, "USHER_PROVIDER_URL="+p.issuer)
	})
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

// browse runs a script of the browser folder against a system of its own.
func browse(t *testing.T, script string, config settings, env ...string) {
	t.Helper()
	s := newSystem(t, "sqlite", config)
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir = "browser"
	cmd.Env = append(os.Environ(), "USHER_URL="+s.apis[0], "USHER_ADMIN_URL="+s.admins[0], "USHER_SCREENSHOTS="+t.TempDir())
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
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
