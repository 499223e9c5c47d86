package config

import (
	"net/url"
	"path/filepath"
	"time"

	"github.com/usher-auth/usher/events"
)

// Audit is what is configured for the event log.
type Audit struct {
	// Retention is how long events stay; 0 is for ever.
	Retention  time.Duration `yaml:"retention"`
	Checkpoint struct {
		// Sink is a file's absolute path or a URL that checkpoints are sent to; empty
		// for none.
		Sink Address `yaml:"sink"`
	} `yaml:"checkpoint"`
}

func (l *loader) checkAudit(c *Config) {
	// The ladder of hooks ends within what the stream keeps.
	if d := c.Audit.Retention; d != 0 && d < events.StreamAge {
		l.refuseKey("audit.retention", "want %s or more, or 0 for ever, not %s", events.StreamAge, d)
	}
	sink := c.Audit.Checkpoint.Sink.Reveal()
	if sink == "" || filepath.IsAbs(sink) {
		return
	}
	if u, err := url.Parse(sink); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		l.refuseKey("audit.checkpoint.sink", "want the absolute path of a file, or an http(s) URL") // it may hold a password
	}
}
