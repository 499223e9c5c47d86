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
	// begins is when one that was not taken is good; zero for one that never is.
	begins time.Time
}

// newCertificates reads the certificates of listeners, or says why they cannot be used.
// One that is over or has not begun is used with a warning: no service is worse.
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
// one. One that cannot be used leaves the former in use, and so does one that is over or
// has not begun while the former is good; that is said once, and ok is false.
func (c *certificates) renew(cfg *config.Config) (changed []string, ok bool) {
	if c == nil {
		return nil, true // nothing listens yet
	}
	ok = true
	for _, listener := range config.Listeners {
		one := c.byListener[listener]
		if one == nil {
			continue
		}
		pair, warnings, err := cfg.Certificate(listener, c.now())
		if err == nil && pair == nil {
			continue // TLS goes with the next start
		}
		if err = one.judge(listener, pair, err, c.now()); err != nil {
			ok = false
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
	return changed, ok
}

// judge says why a pair must not take the place of the one in use: it could not be read,
// or clients refuse it and not that one.
func (one *certificate) judge(listener string, pair *tls.Certificate, unreadable error, now time.Time) error {
	one.begins = time.Time{}
	if unreadable != nil {
		return unreadable
	}
	text := config.Untimely(pair.Leaf, now)
	if text == "" || config.Untimely(one.current.Load().Leaf, now) != "" {
		return nil
	}
	if now.Before(pair.Leaf.NotBefore) {
		one.begins = pair.Leaf.NotBefore
	}
	return fmt.Errorf("serve.%s.tls.cert: %s", listener, text)
}

// next is when the first of those that were not taken is good, since no file changes
// then; false where none ever is.
func (c *certificates) next() (at time.Time, ok bool) {
	if c == nil {
		return at, false
	}
	for _, one := range c.byListener {
		if !one.begins.IsZero() && (!ok || one.begins.Before(at)) {
			at, ok = one.begins, true
		}
	}
	return at, ok
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
