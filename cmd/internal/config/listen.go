package config

import (
	"path/filepath"
	"slices"
	"time"
)

// longestDrainDelay is about what balancers wait for at most.
const longestDrainDelay = 10 * time.Minute

// beside gives the path of a file that a key names, relative to the configuration file,
// and notes it as one of [Config.Files].
func (l *loader) beside(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.options.File), path)
	}
	l.reads(path)
	return path
}

// readsBus notes what the connections to an external bus are made with.
func (l *loader) readsBus(b *Bus) {
	if b.URL == "" {
		return
	}
	credentials, _ := filepath.Glob(filepath.Join(b.Credentials, "*.creds")) // fails at no folder
	for _, path := range append(credentials, b.TLS.CA, b.TLS.Cert, b.TLS.Key) {
		if path != "" {
			l.reads(path)
		}
	}
}

// reads notes that the configuration depends on a file.
func (l *loader) reads(path string) {
	if !slices.Contains(l.files, path) {
		l.files = append(l.files, path)
	}
}

// Files are those that the configuration was read from, and those that it names: whoever
// follows it loads it again when one of them changes.
func (c *Config) Files() []string { return slices.Clone(c.reading().files) }
