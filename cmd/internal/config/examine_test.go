package config_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

func TestFilesWithSecrets(t *testing.T) {
	t.Parallel()
	path := file(t, `
webhooks: [{name: crm, url: https://crm.example.com/, secret_file: crm.secret}]
selfservice: {methods: {oidc: {config: {providers: [{id: a, client_secret_file: /a.secret}]}}}}
`)
	dsn, cookie, port := held(t, "postgres://u:p@127.0.0.1/u"), held(t, goodSecret), held(t, "4433")
	c, _, _ := config.Load(config.Options{File: path, Examine: true, Env: []string{
		"USHER_DSN_FILE=" + dsn, "USHER_SECRETS__COOKIE_FILE=" + cookie, "USHER_SERVE__PUBLIC__PORT_FILE=" + port,
	}})
	want := []config.SecretFile{
		{Path: dsn, Key: "dsn"},
		{Path: cookie, Key: "secrets.cookie", Bare: true},
		{Path: "/a.secret", Key: "selfservice.methods.oidc.config.providers[0].client_secret_file", Bare: true},
		{Path: filepath.Join(filepath.Dir(path), "crm.secret"), Key: "webhooks[0].secret_file", Bare: true},
	}
	if got := c.SecretFiles(); !slices.Equal(got, want) {
		t.Errorf("SecretFiles = %+v, want %+v", got, want)
	}
	if c.FileHoldsSecret() || c.Written("dev") || !c.Written("dsn") || !c.Written("webhooks") {
		t.Errorf("FileHoldsSecret = %v, Written dev, dsn, webhooks = %v, %v, %v", c.FileHoldsSecret(), c.Written("dev"), c.Written("dsn"), c.Written("webhooks"))
	}
}

func TestPasswordsOfAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                                  "",
		"memory":                            "",
		"sqlite:///a@b":                     "",
		"postgres://db/ids":                 "",
		"postgres://u:p@db/ids":             "p",
		"postgres://u:p%40@a:1,b:2/ids?x=@": "p@",
		"smtps://u:p@mail:465":              "p",
		"https://h/a:b@c":                   "",
	} {
		if got := config.NewAddress(address).Password(); got != want {
			t.Errorf("Password of %q = %q, want %q", address, got, want)
		}
	}
}
