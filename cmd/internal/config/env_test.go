package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// held writes a file that holds a value.
func held(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVariableNamesFile(t *testing.T) {
	t.Parallel()
	const other = "Bc4Hf9Lp3Ds6Ga0YeVj2mWq8Zt5Rk1Xn7"
	secrets := held(t, "\n "+other+" \n\n"+goodSecret+"\n")
	for _, tt := range []struct {
		variable, text string
		got            func(*config.Config) string
		want           string
	}{
		{"USHER_DSN_FILE", "postgres://u:p@db/ids\n", func(c *config.Config) string { return c.DSN.Reveal() }, "postgres://u:p@db/ids"},
		{"USHER_SERVE__PUBLIC__PORT_FILE", "8080\n", func(c *config.Config) string { return c.PublicURL() }, "http://127.0.0.1:8080/"},
		{"USHER_SELFSERVICE__ALLOWED_RETURN_URLS_FILE", "[https://a.example, https://b.example]\n", func(c *config.Config) string { return strings.Join(c.SelfService.AllowedReturnURLs, " ") }, "https://a.example https://b.example"},
		{"USHER_SELFSERVICE__ALLOWED_RETURN_URLS_FILE", "https://a.example\nhttps://b.example\n", func(c *config.Config) string { return strings.Join(c.SelfService.AllowedReturnURLs, " ") }, "https://a.example https://b.example"},
	} {
		path := held(t, tt.text)
		c, _ := load(t, config.Options{Dev: true, Env: []string{tt.variable + "=" + path}})
		if got := tt.got(c); got != tt.want {
			t.Errorf("%s with %q gives %q, want %q", tt.variable, tt.text, got, tt.want)
		}
		if !slices.Contains(c.Files(), path) {
			t.Errorf("%s: Files = %q, want %s among them", tt.variable, c.Files(), path)
		}
	}
	c, _ := load(t, config.Options{File: file(t, ""), Env: []string{"USHER_SECRETS__DEFAULT_FILE=" + secrets}})
	if got := c.CipherSecrets(); !slices.Equal(got, []string{other, goodSecret}) {
		t.Errorf("CipherSecrets are %d, want the two lines of the file", len(got))
	}
	if got := (config.Options{Env: []string{"USHER_DSN_FILE=" + held(t, "memory")}}).Sources(c); !strings.HasSuffix(got, "USHER_DSN_FILE") {
		t.Errorf("Sources = %q, want the variable in it", got)
	}
}

func TestVariableNamesNoGoodFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env       []string
		key, says string
	}{
		{[]string{"USHER_DSN_FILE=/missing/dsn"}, "dsn", "/missing/dsn"},
		{[]string{"USHER_DSN_FILE="}, "dsn", "path"},
		{[]string{"USHER_DSN_FILE=" + held(t, "postgres://u:12#s3cr3t@db/x\n")}, "dsn", "%23 for #"},
		{[]string{"USHER_DSN_FILE=" + held(t, "sqlite:///data/usher.db?mode=s3cr3t\n")}, "dsn", "no parameter"},
		{[]string{"USHER_DSN=memory", "USHER_DSN_FILE=" + held(t, "memory")}, "dsn", "want one of both"},
		{[]string{"USHER_DSN_FILE=" + held(t, "memory"), "USHER_DSN=memory"}, "dsn", "want one of both"},
		{[]string{"USHER_SERVE__PUBLIC__PORT_FILE=" + held(t, "many")}, "serve.public.port", "whole number"},
		{[]string{"USHER_SERVE__PUBLIC_FILE=" + held(t, "x")}, "serve.public_file", "unknown key"},
		{[]string{"USHER_NONSENSE_FILE=" + held(t, "x")}, "nonsense_file", "unknown key"},
	} {
		problems := refused(t, config.Options{Dev: true, Env: tt.env})
		if len(problems) != 1 || problems[0].Key != tt.key || !strings.Contains(problems[0].Text, tt.says) || strings.Contains(problems.Error(), "s3cr3t") || !strings.HasPrefix(problems[0].Source, "USHER_") {
			t.Errorf("%q: problems = %v, want one of %s that says %q", tt.env, problems, tt.key, tt.says)
		}
	}
}
