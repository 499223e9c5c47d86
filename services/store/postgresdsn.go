package store

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
)

// limits are what a DSN says of the pool and not of the server.
type limits struct {
	conns, idle        int
	lifetime, idleTime time.Duration
	statement          time.Duration // how long a statement may take, 0 means any time
}

const (
	defaultStatement = 5 * time.Second
	defaultConnect   = 5 * time.Second
	// idleTransaction ends a transaction whose process is frozen, or its locks would stop the others.
	idleTransaction = 10 * time.Second
	minConns        = 3 // one leads, one commits, one does not wait for the disk
)

// parseDSN reads postgres://…, with max_conns, max_idle_conns,
// max_conn_lifetime, max_conn_idle_time and statement_timeout (milliseconds) as
// parameters. Its errors show nothing of the DSN but names.
func parseDSN(dsn string) (pq.Config, limits, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // the error itself holds the password
		}
		return pq.Config{}, limits{}, fmt.Errorf("dsn: %w", err)
	}
	q := u.Query()
	l, err := parseLimits(q)
	if err != nil {
		return pq.Config{}, limits{}, fmt.Errorf("dsn: %w", err)
	}
	u.RawQuery = q.Encode()
	config, err := pq.NewConfig(u.String())
	if err != nil {
		return pq.Config{}, limits{}, fmt.Errorf("dsn: %w", err)
	}
	if config.SSLMode == "" {
		config.SSLMode = pq.SSLModeRequire
		if onlyLoopback(config) {
			config.SSLMode = pq.SSLModeDisable
		}
	}
	if config.ConnectTimeout <= 0 {
		config.ConnectTimeout = defaultConnect
	}
	if config.ApplicationName == "" {
		config.ApplicationName = "usher"
	}
	// A statement that was not prepared takes one round trip with it, not two,
	// and bytes travel as they are, prepared or not.
	config.BinaryParameters = true
	if config.Runtime == nil {
		config.Runtime = map[string]string{}
	}
	const idle = "idle_in_transaction_session_timeout"
	if config.Runtime[idle] == "" {
		config.Runtime[idle] = fmt.Sprint(idleTransaction.Milliseconds())
	}
	return config, l, nil
}

// parseLimits takes its parameters out of q.
func parseLimits(q url.Values) (limits, error) {
	l := limits{conns: max(8, 4*runtime.GOMAXPROCS(0)), statement: defaultStatement}
	var errs []error
	take := func(name string, read func(string) error) {
		if value := q.Get(name); value != "" {
			if err := read(value); err != nil {
				errs = append(errs, fmt.Errorf("%s=%s: %w", name, value, err))
			}
		}
		q.Del(name)
	}
	number := func(into *int) func(string) error {
		return func(s string) (err error) {
			*into, err = strconv.Atoi(s)
			return err
		}
	}
	duration := func(into *time.Duration) func(string) error {
		return func(s string) (err error) {
			*into, err = time.ParseDuration(s)
			return err
		}
	}
	take("max_conns", number(&l.conns))
	take("max_idle_conns", number(&l.idle))
	take("max_conn_lifetime", duration(&l.lifetime))
	take("max_conn_idle_time", duration(&l.idleTime))
	take("statement_timeout", func(s string) error {
		ms, err := strconv.Atoi(s)
		l.statement = time.Duration(ms) * time.Millisecond
		return err
	})
	if l.conns < minConns {
		errs = append(errs, fmt.Errorf("max_conns=%d: at least %d are needed", l.conns, minConns))
	}
	return l, errors.Join(errs...)
}

// onlyLoopback tells whether nothing can listen between here and the server.
func onlyLoopback(c pq.Config) bool {
	hosts := []string{c.Host}
	if c.Hostaddr.IsValid() {
		hosts[0] = c.Hostaddr.String()
	}
	for _, m := range c.Multi {
		if m.Hostaddr.IsValid() {
			m.Host = m.Hostaddr.String()
		}
		hosts = append(hosts, m.Host)
	}
	for _, h := range hosts {
		ip, err := netip.ParseAddr(strings.Trim(h, "[]"))
		local := h == "localhost" || filepath.IsAbs(h) || strings.HasPrefix(h, "@") || err == nil && ip.IsLoopback()
		if !local {
			return false
		}
	}
	return true
}
