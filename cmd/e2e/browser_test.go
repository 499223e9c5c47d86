package e2e_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPagesInABrowser drives the built-in pages in Chromium: register by
// typing, mistakes at their fields, keyboard only, light and dark, axe.
func TestPagesInABrowser(t *testing.T) {
	for _, needed := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(needed); err != nil {
			leftOut(t, "no "+needed+" on this machine")
		}
	}
	if _, err := os.Stat("browser/node_modules/playwright-core"); err != nil {
		leftOut(t, "cmd/e2e/browser has no node_modules: npm ci makes them")
	}
	s := newSystem(t, "sqlite", nil)
	cmd := exec.CommandContext(t.Context(), "node", "registration.mjs")
	cmd.Dir = "browser"
	cmd.Env = append(os.Environ(), "USHER_URL="+s.apis[0], "USHER_SCREENSHOTS="+t.TempDir())
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil {
		t.Errorf("registration.mjs: %v\n%s", err, out)
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
