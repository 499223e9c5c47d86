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
	"github.com/usher-auth/usher/services/store"
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
	makeSecret = "make another by 'openssl rand -hex 32'; put it first in the list, keep the former one behind it until the keys were sealed anew ('usher migrate') and old cookies have ended"
	// A weak one may not stay in the list, so that it cannot open anything either.
	replaceSecret = "put what 'openssl rand -hex 32' prints in its place; if development mode has used it, first 'usher migrate --dev' with the new one before it in the list, or the database's keys stay closed"
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

// shortest is how long a secret that nobody can guess is at least.
const shortest = 16

func (d *Doctor) lookFiles(context.Context) (f findings) {
	seen := 0
	for _, file := range d.secretFiles() {
		info, err := os.Stat(file.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // who needs it says so
		}
		if err != nil {
			f.add(Yellow, checkFiles, oneLine(err), "run 'usher doctor' as the user of the server")
			continue
		}
		if info.IsDir() {
			continue
		}
		seen++
		d.judgeAccess(&f, file.Path, info)
		judgeLength(&f, file, info)
	}
	if len(f) == 0 {
		f.green(checkFiles, "%d files, which nobody else can read", seen)
	}
	return f
}

// judgeAccess judges who may read and change a file.
func (d *Doctor) judgeAccess(f *findings, path string, info fs.FileInfo) {
	mounted := strings.HasPrefix(path, mountedSecrets)
	owner, known := ownerOf(info)
	switch mode := info.Mode().Perm(); {
	case mode&0o002 != 0 && enters(path, 0o001), mode&0o004 != 0 && !mounted && enters(path, 0o001):
		f.add(Red, checkFiles, fmt.Sprintf("everybody on this machine may use %s (mode %04o)", path, mode), "chmod 600 "+path+"; and a new secret, if others work on this machine")
	case mode&0o020 != 0 && enters(path, 0o010):
		f.add(Yellow, checkFiles, fmt.Sprintf("its group may change %s (mode %04o)", path, mode), "chmod 640 "+path)
	case known && !mounted && !slices.Contains(d.owners(), owner):
		f.add(Yellow, checkFiles, fmt.Sprintf("%s belongs to user %d, who can read and change it", path, owner), "chown it to the user of the server, or to root; or run 'usher doctor' as the user of the server")
	}
}

// mountedSecrets is where containers are given secrets, as files that every user of
// the container may read: there is none but the server.
const mountedSecrets = "/run/secrets/"

// owners are the users to whom a file with a secret may belong: root, the one who
// looks, and the one whose data folder it is.
func (d *Doctor) owners() []int {
	all := []int{0, os.Geteuid()}
	if info, err := os.Stat(d.Config.DataDir); err == nil {
		if owner, known := ownerOf(info); known {
			all = append(all, owner)
		}
	}
	return all
}

// judgeLength judges what a key or a variable names: an empty file, which is as if
// nobody had named it, and secrets that are too short to be random. It shows nothing
// of them.
func judgeLength(f *findings, file config.SecretFile, info fs.FileInfo) {
	if file.Key == "" || strings.HasPrefix(file.Key, "secrets.") || !info.Mode().IsRegular() || info.Size() > mostSecrets {
		return // said by who uses it, by the check of their strength, or by who reads the configuration
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		return // said by who reads the configuration
	}
	lines := strings.Fields(string(text))
	if len(lines) == 0 && !file.Bare {
		f.add(Red, checkFiles, fmt.Sprintf("%s is empty, which is as if nobody had set %s", file.Path, file.Key), "write into it what it should hold")
	}
	for _, line := range lines {
		if file.Bare && len(line) < shortest {
			f.add(Yellow, checkFiles, fmt.Sprintf("%s: a secret of %s has %d characters, and can be guessed", file.Path, file.Key, len(line)), fmt.Sprintf("have a new one made, of %d characters or more, where this one comes from", shortest))
			return
		}
	}
}

// mostSecrets is how large a file is that is read.
const mostSecrets = 1 << 20

// enters tells whether the folders of a file let them in: everybody (0001), or
// its group (0010).
func enters(path string, whom os.FileMode) bool {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	path, _ = filepath.Abs(path) // else it is as it was
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		// The group of a folder above may be another one: then it lets in who is of neither.
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&(whom|0o001) == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// secretFiles are the files that hold secrets, as far as they are known to be there:
// whoever has made or named them. Those that Usher has written have no key.
func (d *Doctor) secretFiles() []config.SecretFile {
	files := d.Config.SecretFiles()
	find := func(dir string, patterns ...string) {
		for _, p := range patterns {
			found, _ := filepath.Glob(filepath.Join(dir, p)) // the patterns are good
			for _, path := range found {
				files = append(files, config.SecretFile{Path: path})
			}
		}
	}
	find(d.Config.DataDir, "dev-secrets.json", "usher.db", "bus/keys/*")
	if creds := d.Config.Bus.Credentials; creds != "" {
		find(creds, "*.creds", "mint.json")
		find(filepath.Dir(filepath.Clean(creds)), "keys/*", events.UserSystem+"*.creds")
	}
	paths := append(store.SecretFiles(d.Config.DSN.Reveal()), d.Config.Bus.TLS.Key)
	for _, listener := range config.Listeners {
		paths = append(paths, d.beside(d.Config.TLSOf(listener).Key.Path))
	}
	if d.Config.FileHoldsSecret() {
		paths = append(paths, d.File)
	}
	for _, path := range paths {
		if path != "" {
			files = append(files, config.SecretFile{Path: path})
		}
	}
	slices.SortStableFunc(files, func(a, b config.SecretFile) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(files, func(a, b config.SecretFile) bool { return a.Path == b.Path })
}

// beside gives a path that the configuration file names.
func (d *Doctor) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.File), path)
}
