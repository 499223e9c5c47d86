package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// certificates are those of the listeners that speak TLS. Connections that were made with
// a former one go on.
type certificates struct {
	log     *slog.Logger
	now     func() time.Time
	observe func(listener string, expires time.Time)
	// byListener is only read once it is made.
	byListener map[string]*certificate
}

// certificate is one of a listener, and what became of the last reading of its files.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
	trouble string
}

// newCertificates reads the certificates of listeners, or says why they cannot be used.
func newCertificates(cfg *config.Config, listeners []string, log *slog.Logger, observe func(string, time.Time)) (*certificates, error) {
	c := &certificates{log: log, now: time.Now, observe: observe, byListener: map[string]*certificate{}}
	for _, listener := range listeners {
		pair, warnings, err := cfg.Certificate(listener, c.now())
		if err != nil {
			return nil, err
		}
		for _, w := range warnings {
			log.Warn(w.String())
		}
		if pair == nil {
			continue
		}
		one := &certificate{}
		one.current.Store(pair)
		c.byListener[listener] = one
		observe(listener, pair.Leaf.NotAfter)
	}
	return c, nil
}

// renew takes the certificates as they are now and names the listeners that have another
// one. One that cannot be used leaves the former in use, and is said once.
func (c *certificates) renew(cfg *config.Config) (changed []string) {
	if c == nil {
		return nil // nothing listens yet
	}
	for _, listener := range config.Listeners {
		one := c.byListener[listener]
		if one == nil {
			continue
		}
		pair, warnings, err := cfg.Certificate(listener, c.now())
		if err == nil && pair == nil {
			continue // TLS goes with the next start
		}
		if err != nil {
			if text := err.Error(); text != one.trouble {
				one.trouble = text
				c.log.Error("the new certificate cannot be used; the former one stays in use", "listener", listener, "error", err)
			}
			continue
		}
		one.trouble = ""
		if slices.EqualFunc(pair.Certificate, one.current.Load().Certificate, slices.Equal) {
			continue
		}
		for _, w := range warnings {
			c.log.Warn(w.String())
		}
		one.current.Store(pair)
		c.observe(listener, pair.Leaf.NotAfter)
		c.log.Info("another certificate is in use", "listener", listener, "expires", pair.Leaf.NotAfter.UTC())
		changed = append(changed, listener)
	}
	return changed
}

// of gives what a listener speaks TLS with, or nil.
func (c *certificates) of(listener string) *tls.Config {
	one := c.byListener[listener]
	if one == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return one.current.Load(), nil },
	}
}

// leaf gives the certificate of a listener that is in use, or nil.
func (c *certificates) leaf(listener string) *x509.Certificate {
	if one := c.byListener[listener]; one != nil {
		return one.current.Load().Leaf
	}
	return nil
}

// url gives where a listener is, by its address.
func (c *certificates) url(listener string, at fmt.Stringer) string {
	if c.byListener[listener] != nil {
		return "https://" + at.String()
	}
	return "http://" + at.String()
}
