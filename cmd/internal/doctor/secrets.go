package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
)

const (
	checkStrength = "secrets.strength"
	checkFiles    = "secrets.files"
)

var secretLooks = []look{
	{[]Check{{checkStrength, "secrets are long, random, and one for each purpose"}}, (*Doctor).lookStrength, true},
	{[]Check{{checkFiles, "only their owner can read files that hold secrets"}}, (*Doctor).lookFiles, false},
}

const (
	makeSecret = "openssl rand -hex 32; put it first in the list, keep the former one behind it until the keys were sealed anew ('usher migrate') and old cookies have ended"
	// A weak one may not stay in the list, so that it cannot open anything either.
	replaceSecret = "'openssl rand -hex 32' in its place; if development mode has used it, first 'usher migrate --dev' with the new one before it in the list, or the database's keys stay closed"
)

func (d *Doctor) lookStrength(context.Context) (f findings) {
	var problems config.Problems
	if errors.As(d.Problems, &problems) {
		for _, p := range problems {
			if strings.HasPrefix(p.Key, "secrets") {
				f.add(Red, checkStrength, p.Error(), replaceSecret)
			}
		}
	}
	if d.Config == nil || len(f) > 0 {
		return f
	}
	s := d.Config.Secrets
	for _, list := range []struct {
		name    string
		secrets []config.Secret
	}{{"secrets.cookie", s.Cookie}, {"secrets.cipher", s.Cipher}} {
		for n, secret := range list.secrets {
			if weak := config.Weakness(secret.Reveal()); weak != "" { // development takes what is shorter
				f.add(Yellow, checkStrength, fmt.Sprintf("%s[%d]: %s", list.name, n, weak), makeSecret)
			}
		}
	}
	// secrets.default stands in for both, which is meant; the same text written twice is not.
	if len(s.Cookie) > 0 && len(s.Cipher) > 0 && s.Cookie[0].Reveal() == s.Cipher[0].Reveal() && !fromDefault(s.Cookie[0], s.Default) {
		f.add(Yellow, checkStrength, "secrets.cookie and secrets.cipher are the same: who learns one has both", makeSecret)
	}
	switch {
	case len(f) > 0:
	case len(s.Cookie)+len(s.Cipher) == 0:
		f.green(checkStrength, "made at the first start, as this is development")
	default:
		f.green(checkStrength, "%d for cookies, %d for the database's keys", len(s.Cookie), len(s.Cipher))
	}
	return f
}

func fromDefault(s config.Secret, defaults []config.Secret) bool {
	return slices.ContainsFunc(defaults, func(d config.Secret) bool { return d.Reveal() == s.Reveal() })
}

func (d *Doctor) lookFiles(context.Context) (f findings) {
	seen := 0
	for _, path := range d.secretFiles() {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			f.add(Yellow, checkFiles, oneLine(err), "run 'usher doctor' as the user of the server")
			continue
		}
		if info.IsDir() {
			continue
		}
		seen++
		switch mode := info.Mode().Perm(); {
		case mode&0o006 != 0 && enters(path, 0o001):
			f.add(Red, checkFiles, fmt.Sprintf("everybody on this machine may use %s (mode %04o)", path, mode), "chmod 600 "+path)
		case mode&0o020 != 0 && enters(path, 0o010):
			f.add(Yellow, checkFiles, fmt.Sprintf("its group may change %s (mode %04o)", path, mode), "chmod 640 "+path)
		}
	}
	if len(f) == 0 {
		f.green(checkFiles, "%d files, which nobody else can read", seen)
	}
	return f
}

// enters tells whether the folder of a file lets them in: everybody (0001), or
// its group (0010).
func enters(path string, whom os.FileMode) bool {
	info, err := os.Stat(filepath.Dir(path))
	return err != nil || info.Mode().Perm()&whom != 0
}

// secretFiles are the files that hold secrets, as far as they are known to be there.
func (d *Doctor) secretFiles() (paths []string) {
	find := func(dir string, patterns ...string) {
		for _, p := range patterns {
			found, _ := filepath.Glob(filepath.Join(dir, p)) // the patterns are good
			paths = append(paths, found...)
		}
	}
	find(d.Config.DataDir, "dev-secrets.json", "usher.db", "bus/keys/*")
	if creds := d.Config.Bus.Credentials; creds != "" {
		find(creds, "*.creds", "mint.json")
		find(filepath.Dir(filepath.Clean(creds)), "keys/*", events.UserSystem+"*.creds")
	}
	if path, ok := strings.CutPrefix(d.Config.DSN.Reveal(), "sqlite://"); ok {
		paths = append(paths, path)
	}
	for _, listener := range config.Listeners {
		if path := d.Config.TLSOf(listener).Key.Path; path != "" {
			paths = append(paths, d.beside(path))
		}
	}
	if path := d.Config.Bus.TLS.Key; path != "" {
		paths = append(paths, path)
	}
	if d.File != "" && d.fileHasSecrets() {
		paths = append(paths, d.File)
	}
	return paths
}

// beside gives a path that the configuration file names.
func (d *Doctor) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.File), path)
}

// fileHasSecrets tells whether the configuration file holds one in clear text.
func (d *Doctor) fileHasSecrets() bool {
	text, err := os.ReadFile(d.File)
	if err != nil {
		return false
	}
	secrets := slices.Concat(d.Config.CipherSecrets(), []string{d.Config.DSN.Password(), d.Config.Courier.SMTP.ConnectionURI.Password()})
	for _, s := range d.Config.CookieSecrets() {
		secrets = append(secrets, string(s))
	}
	return slices.ContainsFunc(secrets, func(s string) bool { return s != "" && strings.Contains(string(text), s) })
}
