package e2e_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events/eventstest"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := usher(t, nil, "demo", "--once")
	if code != 0 {
		t.Fatalf("usher demo --once = %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{"session_token: ory_st_", "Set-Cookie: ory_kratos_session=", "/sessions/whoami → session", "identity.created", "session.issued", "web_hook welcome-mail called"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("usher demo --once does not show %q:\n%s", want, stdout)
		}
	}
}

func TestServeWithoutAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	public, admin := freePort(t), freePort(t)
	env := []string{
		"USHER_DATA_DIR=" + dir, fmt.Sprintf("USHER_SERVE__PUBLIC__PORT=%d", public),
		fmt.Sprintf("USHER_SERVE__ADMIN__PORT=%d", admin), fmt.Sprintf("USHER_BUS__LISTEN=127.0.0.1:%d", freePort(t)),
	}
	p := &process{name: "serve", bin: usherBin, env: env, args: []string{"serve"}, log: filepath.Join(dir, "serve.log")}
	p.start(t)
	defer p.stop(t)
	p.waitReady(t, fmt.Sprintf("http://127.0.0.1:%d/health/ready", admin))
	r := newApp(t, fmt.Sprintf("http://127.0.0.1:%d", public)).register(newAddress())
	if r.SessionToken == "" {
		t.Fatal("the built-in defaults do not sign in")
	}
	eventually(t, 10*time.Second, func() error {
		stdout, stderr, code := usher(t, env, "events", "list", "--json", "--subject", r.Identity.ID)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		// Built in: registered, mail asked for and kept, signed in.
		if code != 0 || len(lines) != 4 || !strings.Contains(lines[0], `"type":"identity.created"`) {
			return fmt.Errorf("usher events list --json = %d %s%s", code, stdout, stderr)
		}
		for _, l := range lines {
			eventstest.Validate(t, []byte(l))
		}
		return nil
	})
}

func TestHooksPlanCheck(t *testing.T) {
	t.Parallel()
	waiting := `{hook: web_hook, config: {url: "http://127.0.0.1:1/", method: POST}}`
	background := `{hook: web_hook, config: {url: "http://127.0.0.1:1/", method: POST, response: {ignore: true}}}`
	session := `{hook: session}`
	for _, c := range []struct {
		name  string
		hooks []string
		code  int
	}{
		{"session last", []string{waiting, session}, 0},
		{"background behind session", []string{session, background}, 0},
		{"waiting behind session", []string{session, waiting}, 1},
	} {
		file := write(t, filepath.Join(t.TempDir(), "usher.yaml"), "selfservice:\n  flows:\n    registration:\n      after:\n        password:\n          hooks:\n            - "+strings.Join(c.hooks, "\n            - ")+"\n")
		stdout, stderr, code := usher(t, nil, "hooks", "plan", "--check", "--dev", "-c", file)
		if code != c.code {
			t.Errorf("%s: usher hooks plan --check = %d, want %d: %s%s", c.name, code, c.code, stdout, stderr)
		}
		if c.code == 1 && (!strings.Contains(stdout, "line 8") || !strings.Contains(stdout, "write it above session")) {
			t.Errorf("%s: the plan does not name the line and the mend:\n%s", c.name, stdout)
		}
		if !strings.Contains(stdout, "anybody can tell a taken address from a new one") {
			t.Errorf("%s: the plan does not warn:\n%s", c.name, stdout)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		args         []string
		want         string
	}{
		{"flag", "", []string{"serve", "--confg", "x"}, "did you mean --config?"},
		{"command", "", []string{"sevre"}, "serve"},
		{"key", "selfservice: {flows: {registraton: {}}}", []string{"config", "check"}, "registration"},
		{"protected mode", "security: {account_enumeration: {mitigate: true}}", []string{"config", "check"}, "mitigate"},
		{"hook of another place", "selfservice: {flows: {registration: {after: {password: {hooks: [{hook: require_verified_address}]}}}}}", []string{"config", "check"}, "selfservice.flows.login.after"},
		{"parts on SQLite", "log: {level: info}", []string{"serve", "api", "--dev"}, "SQLite is for one process"},
	} {
		args := c.args
		if c.config != "" {
			args = append(args, "-c", write(t, filepath.Join(t.TempDir(), "usher.yaml"), c.config))
		}
		stdout, stderr, code := usher(t, nil, args...)
		if code == 0 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: usher %s = %d %s%s, want a refusal that names %q", c.name, strings.Join(args, " "), code, stdout, stderr, c.want)
		}
	}
}

func TestAdminTokens(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "postgres", hooks(sessionHook))
	if _, stderr, code := usher(t, s.env, "admin", "token", "new", "grafana", "--scope", "metrics", "--dev", "-c", s.config, "--json"); code != 0 {
		t.Fatalf("admin token new: %s", stderr)
	}
	stdout, _, _ := usher(t, s.env, "admin", "token", "list", "--dev", "-c", s.config, "--json")
	var tokens []struct{ Name, Scope string }
	if err := json.Unmarshal([]byte(stdout), &tokens); err != nil || len(tokens) != 1 || tokens[0].Scope != "metrics" {
		t.Errorf("admin token list = %s, %v, want the token", stdout, err)
	}
	if _, stderr, code := usher(t, s.env, "admin", "token", "remove", "grafana", "--dev", "-c", s.config); code != 0 {
		t.Errorf("admin token remove: %s", stderr)
	}
	if _, _, code := usher(t, s.env, "admin", "token", "remove", "grafana", "--dev", "-c", s.config); code == 0 {
		t.Error("admin token remove of one that is gone succeeds")
	}
}
