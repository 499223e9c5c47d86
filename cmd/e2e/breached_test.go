package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Nobody chooses a password of the file; another file is used without a restart, and one
// that is damaged changes nothing and starts nothing.
func TestBreachedPasswords(t *testing.T) {
	t.Parallel()
	const first, second, fine = "zx-81 Spectrum!", "Amiga-500/Plus", "neither of them 42"
	dir := t.TempDir()
	set := filepath.Join(dir, "breached.bin")
	build := func(passwords ...string) {
		t.Helper()
		list := write(t, filepath.Join(t.TempDir(), "list.txt"), strings.Join(passwords, "\n"))
		if stdout, stderr, code := usher(t, nil, "passwords", "build", "--out", set, list); code != 0 {
			t.Fatalf("usher passwords build = %d %s%s", code, stdout, stderr)
		}
	}
	build(first)
	s := newSystem(t, "sqlite", merge(signIn(nil), settings{"selfservice": settings{"methods": settings{"password": settings{"config": settings{"breached_file": set}}}}}))
	submit := func(password string) *answer {
		t.Helper()
		app := newApp(t, s.api(0))
		f, err := app.initAPI()
		if err != nil {
			t.Fatal(err)
		}
		a, err := app.submit(f.ID, submission("", newAddress(), password))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	refused := func(password string) error {
		if a := submit(password); a.status != http.StatusBadRequest || !bytes.Contains(a.body, []byte("4000034")) {
			return fmt.Errorf("registration with %q = %d %s, want 400 with 4000034", password, a.status, a.body)
		}
		return nil
	}
	if err := refused(first); err != nil {
		t.Error(err)
	}
	for _, password := range []string{second, fine, strings.ToLower(first)} {
		if a := submit(password); a.status != http.StatusOK {
			t.Errorf("registration with %q = %d %s, want 200", password, a.status, a.body)
		}
	}
	build(second)
	eventually(t, 10*time.Second, func() error { return refused(second) })
	if a := submit(first); a.status != http.StatusOK {
		t.Errorf("registration with a password that is no longer in the file = %d %s, want 200", a.status, a.body)
	}

	said := len(s.processes["serve"].output())
	replace(t, set, "damaged")
	eventually(t, 10*time.Second, func() error {
		if text := s.processes["serve"].output()[said:]; !strings.Contains(text, "the former one stays in force") {
			return fmt.Errorf("the log does not say that the former file stays in force: %s", text)
		}
		return nil
	})
	if err := refused(second); err != nil {
		t.Errorf("with a damaged file in place of the open one: %v", err)
	}
	s.processes["serve"].stop(t)
	for _, command := range [][]string{{"config", "check", "--dev", "-c", s.config}, {"passwords", "show", set}, {"serve", "--dev", "-c", s.config}} {
		if stdout, stderr, code := usher(t, nil, command...); code != 1 || !strings.Contains(stderr, "no file of 'usher passwords build'") {
			t.Errorf("usher %s = %d %s%s, want a refusal that names the file", strings.Join(command, " "), code, stdout, stderr)
		}
	}
}
