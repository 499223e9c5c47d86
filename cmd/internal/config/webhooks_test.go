package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/webhook"
)

// secretFile writes signing secrets, one a line.
func secretFile(t *testing.T, secrets ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crm.secret")
	if err := os.WriteFile(path, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	one, two := webhook.NewSigningSecret().Reveal(), webhook.NewSigningSecret().Reveal()
	path := secretFile(t, one, two)
	c, _, err := config.Load(config.Options{Dev: true, File: file(t, "webhooks:\n  - {name: crm, url: 'https://crm.example/in?key=hidden', events: [identity.created], secret_file: '"+path+"'}\n")})
	if err != nil {
		t.Fatal(err)
	}
	all := c.DeclaredWebhooks()
	if len(all) != 1 || all[0].Name != "crm" || !all[0].InFile || len(all[0].Secrets) != 2 || all[0].Secrets[0].Reveal() != one || all[0].Secrets[1].Reveal() != two {
		t.Errorf("DeclaredWebhooks = %+v, want the one with both secrets", all)
	}
	text, err := c.Print()
	if err != nil || strings.Contains(string(text), one) || strings.Contains(string(text), "hidden") {
		t.Errorf("Print = %s, %v, which shows a secret", text, err)
	}
	former := *c
	c.Webhooks = append([]config.Webhook{}, c.Webhooks...)
	c.Webhooks[0].Secrets = c.Webhooks[0].Secrets[:1]
	if changed, restart := config.Diff(&former, c); len(changed) != 1 || len(restart) > 0 {
		t.Errorf("Diff of rotated secrets = %v, %v, want a change that is followed", changed, restart)
	}
}

func TestWebhooksThatAreRefused(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSigningSecret().Reveal()
	fine := secretFile(t, secret)
	for name, tt := range map[string]struct{ hooks, key, says string }{
		"no file":      {"{name: crm, url: 'https://crm.example', events: [identity.created]}", "webhooks[0].secret_file", "usher webhook secret"},
		"missing file": {"{name: crm, url: 'https://crm.example', events: [identity.created], secret_file: missing}", "webhooks[0].secret_file", "no such file"},
		"three":        {"{name: crm, url: 'https://crm.example', events: [identity.created], secret_file: '" + secretFile(t, secret, secret, secret) + "'}", "webhooks[0].secret_file", "two while they rotate"},
		"no secret":    {"{name: crm, url: 'https://crm.example', events: [identity.created], secret_file: '" + secretFile(t, "s3cr3t") + "'}", "webhooks[0]", "whsec_"},
		"url":          {"{name: crm, url: 'ftp://s3cr3t', events: [identity.created], secret_file: '" + fine + "'}", "webhooks[0]", "absolute"},
		"type":         {"{name: crm, url: 'https://crm.example', events: [identity.gone], secret_file: '" + fine + "'}", "webhooks[0]", "identity.gone"},
		"name":         {"{name: webhook-crm, url: 'https://crm.example', events: [identity.created], secret_file: '" + fine + "'}", "webhooks[0]", "part of Usher"},
		"twice":        {"{name: crm, url: 'https://crm.example', events: [identity.created], secret_file: '" + fine + "'}, {name: crm, url: 'https://crm.example', events: [identity.created], secret_file: '" + fine + "'}", "webhooks[1].name", "too"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems := refused(t, config.Options{Dev: true, File: file(t, "webhooks: ["+tt.hooks+"]\n")})
			text := problems.Error()
			if !strings.Contains(text, tt.key) || !strings.Contains(text, tt.says) || strings.Contains(text, "s3cr3t") || strings.Contains(text, secret) {
				t.Errorf("Load = %s, want a refusal of %s that says %q and shows nothing", text, tt.key, tt.says)
			}
		})
	}
}
