package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/usher-auth/usher/schemas"
)

// builtInSchema is the URL of the schema with email and name.
const builtInSchema = "builtin://default"

// File is a file that is too large to be read with the configuration. It is another one
// when it was replaced.
type File struct {
	Path string // empty if there is none
	Size int64  // in bytes
	At   time.Time
}

// completeBreached finds the file of passwords that are known from breaches.
func (l *loader) completeBreached(c *Config) {
	p := &c.SelfService.Methods.Password.Config
	if p.BreachedFile == "" {
		return
	}
	path := l.beside(p.BreachedFile)
	switch is, err := os.Stat(path); {
	case err != nil:
		l.refuseKey(passwordConfig+".breached_file", "%w", err)
	case !is.Mode().IsRegular():
		l.refuseKey(passwordConfig+".breached_file", "%s is no file: want one of 'usher passwords build'", path)
	default:
		p.Breached = File{path, is.Size(), is.ModTime()}
	}
}

// text gives what the URL of a key leads to.
func (l *loader) text(name, from string) []byte {
	if path, ok := strings.CutPrefix(from, "file://"); ok {
		l.beside(path)
	}
	text, err := read(from, filepath.Dir(l.options.File))
	if err != nil {
		l.refuseKey(name, "%w", err)
	}
	return text
}

// read gives what a URL leads to, files relative to dir. Nothing is downloaded.
func read(from, dir string) ([]byte, error) {
	scheme, rest, _ := strings.Cut(from, "://")
	switch scheme {
	case "file":
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(dir, rest)
		}
		return readRegular(rest)
	case "base64":
		text, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return nil, fmt.Errorf("base64: %w", err)
		}
		return text, nil
	case "builtin":
		if from == builtInSchema {
			return schemas.Identity.ReadFile("identity/default.schema.json")
		}
		return nil, fmt.Errorf("want %s", builtInSchema)
	case "http", "https":
		return nil, errors.New("nothing is downloaded: save it as a file and write file://PATH")
	default:
		return nil, errors.New("want file://PATH or base64://DATA")
	}
}
