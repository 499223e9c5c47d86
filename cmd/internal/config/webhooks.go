package config

import (
	"strings"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// Webhook is an endpoint that gets events, signed.
type Webhook struct {
	Name   string   `yaml:"name"`
	URL    Address  `yaml:"url"`
	Events []string `yaml:"events"`
	// SecretFile holds its signing secrets, one a line and the newest first: two
	// while they rotate. It is relative to the configuration file.
	SecretFile string `yaml:"secret_file"`
	// Secrets are what SecretFile holds.
	Secrets []Secret `yaml:"-"`
}

// maxSecrets is how many secrets a file may hold.
const maxSecrets = 2

// DeclaredWebhooks are the webhooks of the file.
func (c *Config) DeclaredWebhooks() []delivery.Hook {
	all := make([]delivery.Hook, len(c.Webhooks))
	for i, w := range c.Webhooks {
		h := delivery.Hook{Name: w.Name, Kind: delivery.Webhook, Types: w.Events, URL: w.URL.Reveal(), InFile: true}
		for _, s := range w.Secrets {
			h.Secrets = append(h.Secrets, webhook.NewSecret(s.Reveal()))
		}
		all[i] = h
	}
	return all
}

// readWebhookSecrets reads the files of signing secrets.
func (l *loader) readWebhookSecrets(c *Config) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		if w.SecretFile == "" {
			continue // said by the check
		}
		text, err := readRegular(l.beside(w.SecretFile))
		if err != nil {
			l.refuseKey(entry("webhooks", i)+".secret_file", "%w", err)
		}
		for line := range strings.FieldsSeq(string(text)) {
			w.Secrets = append(w.Secrets, NewSecret(line))
		}
	}
}

// checkWebhooks checks each webhook, and that one name is one hook.
func (l *loader) checkWebhooks(c *Config) {
	first := map[string]int{}
	for i, h := range c.DeclaredWebhooks() {
		key := entry("webhooks", i)
		if err := delivery.CheckWebhook(h); err != nil {
			l.refuseKey(key, "%w", err)
		}
		if n := len(h.Secrets); n == 0 || n > maxSecrets {
			l.refuseKey(key+".secret_file", "want a file with one signing secret, or two while they rotate; 'usher webhook secret' prints a new one")
		}
		if _, taken := first[h.Name]; taken {
			l.refuseKey(key+".name", "another webhook%s is called %q too", l.inLine(entry("webhooks", first[h.Name])), h.Name)
			continue
		}
		first[h.Name] = i
	}
}
