package config

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// adminKeys begin the keys that say where the admin listener is.
const adminKeys = "serve.admin"

// Admin is where the admin listener of a running server is.
type Admin struct {
	// URL is its base URL, and From what says so: the file, the variables, or that it is
	// the default.
	URL, From string
	// Own is its URL on the machine that it runs on, whatever URL is.
	Own string
	// Certificate is that of the listener; nil without TLS, or where it cannot be read.
	Certificate *x509.Certificate
}

// FindAdmin gives the admin listener of a running server. It reads no other
// keys, so that a command that only asks a server needs no configuration that
// could be served: its secrets, files and other programs' keys may be missing or
// wrong. The error is [Problems] unless the file cannot be read at all.
func FindAdmin(o Options) (Admin, error) {
	l := newLoader(o)
	if err := l.read(); err != nil {
		return Admin{}, err
	}
	all := koanf.New(".")
	_ = all.Load(confmap.Provider(defaults(), "."), nil) // a map cannot fail to be read
	found := Admin{From: "the default"}
	for _, in := range l.layers {
		given := koanf.New(".")
		_ = given.Load(confmap.Provider(in.values, ""), nil)
		for _, name := range []string{adminKeys + ".base_url", adminKeys + ".host", adminKeys + ".port"} {
			if given.Exists(name) {
				_ = all.Set(name, given.Get(name))
				found.From = l.at(name).String()
			}
		}
		for _, name := range l.keys.find(adminKeys + ".tls").names() {
			if given.Exists(name) {
				_ = all.Set(name, given.Get(name))
			}
		}
	}
	c := &Config{}
	admin := &c.Serve.Admin
	admin.BaseURL, admin.Host, admin.Port = all.String(adminKeys+".base_url"), all.String(adminKeys+".host"), all.Int(adminKeys+".port")
	t := &admin.TLS
	t.Cert.Path, t.Cert.Base64 = all.String(tlsKey("admin", "cert.path")), all.String(tlsKey("admin", "cert.base64"))
	t.Key.Path, t.Key.Base64 = all.String(tlsKey("admin", "key.path")), NewSecret(all.String(tlsKey("admin", "key.base64")))
	l.checkTLS("admin", t)
	l.checkURL(adminKeys+".base_url", admin.BaseURL, baseURL)
	l.checkPort(adminKeys+".port", admin.Port)
	if own := l.problems.below(adminKeys); len(own) > 0 {
		return Admin{}, own.sorted()
	}
	if admin.BaseURL == "" && admin.Port == 0 {
		return Admin{}, errors.New(adminKeys + ".port: 0 lets the server take any port: which one did it log?")
	}
	found.URL, found.Own = c.AdminURL(), listenerURL("", admin.Host, admin.Port, *t)
	if t.On() {
		found.Certificate = l.leaf(t)
	}
	return found, nil
}

// below are the problems with the keys below a name, and with the name.
func (p Problems) below(name string) (found Problems) {
	for _, one := range p {
		if one.Key == name || strings.HasPrefix(one.Key, name+".") {
			found = append(found, one)
		}
	}
	return found
}

// Sources says in words what a configuration is made of: the file, or that
// there is none, development, and the variables that name keys.
func (o Options) Sources(c *Config) string {
	parts := []string{"built-in defaults"}
	if o.File != "" {
		parts = []string{o.File}
	}
	switch {
	case o.Dev:
		parts = append(parts, "--dev")
	case c.Dev && o.File == "":
		parts = append(parts, "development, as with --dev")
	case c.Dev:
		parts = append(parts, "dev: true")
	}
	return strings.Join(append(parts, o.variables()...), ", ")
}

// variables are the names of those that name keys.
func (o Options) variables() (names []string) {
	l := newLoader(o)
	for _, p := range l.readEnv(l.options.Env).places {
		names = append(names, p.source)
	}
	slices.Sort(names)
	return names
}
