package config

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// secretsFile holds the secrets of a development configuration, in its data_dir.
const secretsFile = "dev-secrets.json"

const (
	// shortestSecret holds for production, shortestDevSecret for what is written
	// in a development configuration.
	shortestSecret    = 32
	shortestDevSecret = 16
	// fewestBytes is how many different bytes a secret has at least.
	fewestBytes = 8
)

// placeholders stand in examples and are known to everybody.
var placeholders = []string{"please-change", "change-me", "changeme", "insecure", "not-secure", "placeholder", "example", "random-characters"}

// CookieSecrets are for what cookies hold: the first seals, all of them open.
func (c *Config) CookieSecrets() [][]byte {
	var secrets [][]byte
	for _, s := range c.Secrets.Cookie {
		secrets = append(secrets, []byte(s.Reveal()))
	}
	return secrets
}

// CipherSecrets are for the keys in the database: the first seals, all of them open.
func (c *Config) CipherSecrets() []string {
	var secrets []string
	for _, s := range c.Secrets.Cipher {
		secrets = append(secrets, s.Reveal())
	}
	return secrets
}

func (l *loader) checkSecrets(c *Config) {
	for _, list := range []struct {
		name    string
		secrets []Secret
		needed  bool
	}{
		{"secrets.cookie", c.Secrets.Cookie, len(c.Secrets.Default) == 0 && !c.Dev},
		{"secrets.cipher", c.Secrets.Cipher, len(c.Secrets.Default) == 0 && !c.Dev},
		{"secrets.default", c.Secrets.Default, false},
	} {
		if list.needed && len(list.secrets) == 0 && !l.options.NoSecrets {
			l.refuseKey(list.name, "this is needed: %d random characters or more, such as 'openssl rand -hex 32' gives; secrets.default will do too", shortestSecret)
		}
		seen := map[string]bool{}
		for i, s := range list.secrets {
			name := entry(list.name, i)
			if text := weakness(s.Reveal(), c.Dev); text != "" {
				l.refuseKey(name, "%s", text)
			}
			if seen[s.Reveal()] {
				l.refuseKey(name, "this stands in the list twice")
			}
			seen[s.Reveal()] = true
		}
	}
}

// completeSecrets fills empty lists with what stands in for them.
func (l *loader) completeSecrets(c *Config) {
	for _, list := range []*[]Secret{&c.Secrets.Cookie, &c.Secrets.Cipher} {
		if len(*list) == 0 {
			*list = c.Secrets.Default
		}
	}
	if !c.Dev {
		return
	}
	if err := c.readSecrets(); err != nil {
		l.refuse(place{source: filepath.Join(c.DataDir, secretsFile)}, "secrets", "%w", err)
	}
}

// weakness says why a secret is none, without showing it.
func weakness(secret string, dev bool) string {
	shortest := shortestSecret
	if dev {
		shortest = shortestDevSecret
	}
	if len(secret) < shortest {
		return fmt.Sprintf("this is too short: want %d characters or more", shortest)
	}
	if dev {
		return ""
	}
	plain := strings.ToLower(strings.NewReplacer("_", "-", " ", "-").Replace(secret))
	for _, p := range placeholders {
		if strings.Contains(plain, p) {
			return "this is a placeholder: everybody knows it; make one with openssl rand -hex 32, or use --dev for a trial"
		}
	}
	different := map[byte]bool{}
	for i := range len(secret) {
		different[secret[i]] = true
	}
	if len(different) < fewestBytes {
		return "this can be guessed: want random characters"
	}
	return ""
}

// madeSecrets are what secretsFile holds.
type madeSecrets struct {
	Cookie string `json:"cookie"`
	Cipher string `json:"cipher"`
}

// MakeSecrets gives a development configuration the secrets that it leaves
// out: made once, then kept in DataDir in a file that only its owner may read.
// Several processes may do it at once and get the same. Any other
// configuration has its secrets.
func (c *Config) MakeSecrets() error {
	if !c.Dev || len(c.Secrets.Cookie) > 0 && len(c.Secrets.Cipher) > 0 {
		return nil
	}
	if err := writeSecrets(c.DataDir); err != nil {
		return fmt.Errorf("make secrets: %w", err)
	}
	if err := c.readSecrets(); err != nil {
		return fmt.Errorf("make secrets: %w", err)
	}
	return nil
}

// readSecrets fills in the secrets that have been made, if they have.
func (c *Config) readSecrets() error {
	text, err := readRegular(filepath.Join(c.DataDir, secretsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var made madeSecrets
	if err := json.Unmarshal(text, &made); err != nil || len(made.Cookie) < shortestSecret || len(made.Cipher) < shortestSecret {
		return errors.New("the file is damaged; without it sessions in cookies and the database's keys are lost") // the cause could show a secret
	}
	if len(c.Secrets.Cookie) == 0 {
		c.Secrets.Cookie = []Secret{NewSecret(made.Cookie)}
	}
	if len(c.Secrets.Cipher) == 0 {
		c.Secrets.Cipher = []Secret{NewSecret(made.Cipher)}
	}
	return nil
}

// writeSecrets makes the file, unless it is there. It appears as a whole.
func writeSecrets(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text, err := json.Marshal(madeSecrets{Cookie: rand.Text() + rand.Text(), Cipher: rand.Text() + rand.Text()})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, secretsFile) // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // its other name stays
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, secretsFile)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
