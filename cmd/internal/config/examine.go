package config

import (
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Weakness says why a secret is not good enough where others can connect, without
// showing it; empty for one that is.
func Weakness(secret string) string { return weakness(secret, false) }

// Password gives the password that an address holds, empty if none. It may have
// several hosts.
func (a Address) Password() string {
	scheme, rest, _ := strings.Cut(a.Reveal(), "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	u, err := url.Parse(scheme + "://" + rest[:strings.LastIndex(rest[:end], "@")+1])
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// SecretFile is a file with a secret in it.
type SecretFile struct {
	// Path is as this process opens it.
	Path string
	// Key is what the file gives, or is named by, such as "secrets.default".
	Key string
	// Bare tells whether each line is a secret as it is; else it is part of a URL or
	// of a larger value.
	Bare bool
}

// SecretFiles are the files with secrets that variables, identity providers and
// webhooks name, whether they are there or not. Those of TLS, the bus and the database
// are not among them, nor is the configuration file.
func (c *Config) SecretFiles() []SecretFile {
	l := c.reading()
	all := slices.Clone(l.secretFiles)
	add := func(key, path string) {
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(l.options.File), path)
		}
		if path != "" {
			all = append(all, SecretFile{path, key, true})
		}
	}
	for i, p := range c.SelfService.Methods.OIDC.Config.Providers {
		add(entry(oidcProviders, i)+".client_secret_file", p.ClientSecretFile)
	}
	for i, w := range c.Webhooks {
		add(entry("webhooks", i)+".secret_file", w.SecretFile)
	}
	return all
}

var (
	secretType  = reflect.TypeFor[Secret]()
	addressType = reflect.TypeFor[Address]()
)

// holdsSecret tells whether what the key gives may be a secret, or hold one.
func (k *key) holdsSecret() bool {
	if k.item != nil {
		return k.item.holdsSecret()
	}
	for _, below := range k.kids {
		if below.holdsSecret() {
			return true
		}
	}
	return k.typ == secretType || k.typ == addressType
}

// Written tells whether a key was given, by its full name, and does not stand for its
// default. Of a configuration that was not loaded none was.
func (c *Config) Written(name string) bool { return c.reading != nil && c.reading().given.Exists(name) }

// FileHoldsSecret tells whether the configuration file itself has a secret in it, or
// a URL with a password.
func (c *Config) FileHoldsSecret() bool {
	l := c.reading()
	return l.options.File != "" && l.keys.secretIn(l.layers[0].values)
}

// secretIn tells whether a value of the key has a secret in it.
func (k *key) secretIn(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if next := k.below(name); next != nil && next.secretIn(value) {
				return true
			}
		}
	case []any:
		return k.item != nil && slices.ContainsFunc(v, k.item.secretIn)
	case string:
		return k.typ == secretType && v != "" || k.typ == addressType && NewAddress(v).Password() != ""
	}
	return false
}
