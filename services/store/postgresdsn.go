package store

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/lib/pq"
)

// limits are what a DSN says of the pool and not of the server.
type limits struct {
	conns, idle        int
	lifetime, idleTime time.Duration
	statement          time.Duration // how long a statement may take, 0 means any time
}

// shares are the limits of the connections that wait for the disk, three in four, and of
// those that do not.
func (l limits) shares() (durable, relaxed limits) {
	durable, relaxed = l, l
	relaxed.conns = max(1, l.conns/4)
	durable.conns -= relaxed.conns
	if l.idle > 0 {
		relaxed.idle = max(1, l.idle/4)
		durable.idle = max(1, l.idle-relaxed.idle)
	}
	return durable, relaxed
}

// DefaultStatement is how long a statement of PostgreSQL may take where the DSN
// says nothing.
const DefaultStatement = 4 * time.Second

// Defaults. A server that is silent is noticed after [DefaultStatement] and
// [grace], a new connection takes one round of defaultConnect: together less
// than ten seconds.
const (
	defaultConnect = 4 * time.Second // all hosts together
	leastConnect   = time.Second     // each
	defaultLock    = 2 * time.Second
	// defaultLifetime lets connections follow a name that means another server.
	defaultLifetime = 30 * time.Minute
	// idleTransaction ends a transaction whose process is frozen, or its locks would stop the others.
	idleTransaction = 10 * time.Second
	minConns        = 3 // one leads, one commits, one does not wait for the disk
)

// poolParameters are those of a DSN that are not the server's.
var poolParameters = []string{"max_conns", "max_idle_conns", "max_conn_lifetime", "max_conn_idle_time", "statement_timeout"}

// sessionParameters are those of the server that a DSN may set, besides what the
// driver knows and those of extensions, which have a dot.
var sessionParameters = []string{
	"client_connection_check_interval", "client_min_messages", "idle_in_transaction_session_timeout", "idle_session_timeout",
	"jit", "lock_timeout", "log_min_duration_statement", "plan_cache_mode", "role", "search_path", "synchronous_commit",
	"tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout", "temp_buffers", "timezone", "work_mem",
}

// parseDSN reads postgres://…, with one host or several:
//
//	postgres://usher@one:5432,two:5432/usher
//	postgres://usher@one,two/usher
//	postgres:///usher?host=one,two&port=5432,5433
//
// The parameters are those of the driver, of the server's session, and
// max_conns, max_idle_conns, max_conn_lifetime, max_conn_idle_time and
// statement_timeout (milliseconds). Its errors show nothing of the DSN but names.
func parseDSN(dsn string) (pq.Config, limits, error) {
	config, l, err := readDSN(dsn)
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
		config.ConnectTimeout = max(leastConnect, defaultConnect/time.Duration(1+len(config.Multi)))
	}
	// A statement that was not prepared takes one round trip with it, not two,
	// and bytes travel as they are, prepared or not.
	config.BinaryParameters = true
	if config.Runtime == nil {
		config.Runtime = map[string]string{}
	}
	for name, after := range map[string]time.Duration{
		"idle_in_transaction_session_timeout": idleTransaction, "lock_timeout": defaultLock,
	} {
		config.Runtime[name] = cmp.Or(config.Runtime[name], fmt.Sprint(after.Milliseconds()))
	}
	return config, l, nil
}

// errUnescaped is of a password with a sign that ends the place where it stands in a URL:
// what is behind it is read as something else, which an error must not show.
var errUnescaped = errors.New("it cannot be read: write postgres://user:password@host:5432/name, with %XX for signs in the password: %2F for /, %3F for ?, %23 for #, %40 for @")

// errParameter is of a password that stands where nobody looks for one: what hides, weighs
// and replaces the secrets of a configuration knows the place before the host.
var errParameter = errors.New("password is no parameter here: write postgres://user:password@host:5432/name, with %XX for signs such as / ? # @ in the password")

func readDSN(dsn string) (pq.Config, limits, error) {
	certain, likely := unescaped(dsn)
	if certain {
		return pq.Config{}, limits{}, errUnescaped
	}
	config, l, err := readEscaped(dsn)
	if err != nil && likely && !errors.Is(err, errParameter) {
		err = errUnescaped
	}
	return config, l, err
}

// unescaped tells whether a piece of a password is taken for the name of a database or a
// fragment, or may be for parameters, whose values may have an @.
func unescaped(dsn string) (certain, likely bool) {
	_, rest, _ := strings.Cut(dsn, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		return false, false
	}
	path, query, _ := strings.Cut(rest[end:], "?")
	return strings.ContainsAny(path, "@#") || strings.Contains(query, "#"),
		strings.Contains(query, "@") && !strings.Contains(rest[:end], "@")
}

func readEscaped(dsn string) (pq.Config, limits, error) {
	single, hosts, ports := severalHosts(dsn)
	u, err := url.Parse(single)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // the error itself holds the password
		}
		if errors.As(err, new(url.EscapeError)) {
			err = errors.New("a % that does not begin an escaped sign: write %25 for one in the password")
		}
		if strings.Contains(err.Error(), "invalid userinfo") || strings.Contains(err.Error(), "invalid port") {
			err = fmt.Errorf("%s: write postgres://user:password@host:5432/name, with %%XX for signs such as / ? # @ : in the password", kindOf(err))
		}
		return pq.Config{}, limits{}, err
	}
	q := u.Query()
	if q.Has("password") {
		return pq.Config{}, limits{}, errParameter // alone: other parameters may be pieces of it
	}
	if len(hosts) > 0 {
		q.Set("host", strings.Join(hosts, ","))
		if len(ports) > 0 {
			q.Set("port", strings.Join(ports, ","))
		}
	}
	if err := checkParameters(q); err != nil {
		return pq.Config{}, limits{}, err
	}
	l, err := parseLimits(q)
	if err != nil {
		return pq.Config{}, limits{}, err
	}
	u.RawQuery = q.Encode()
	config, err := pq.NewConfig(u.String())
	if err != nil {
		return pq.Config{}, limits{}, err
	}
	switch config.TargetSessionAttrs {
	case "":
		config.TargetSessionAttrs = pq.TargetSessionAttrsReadWrite
	case pq.TargetSessionAttrsReadWrite, pq.TargetSessionAttrsPrimary, pq.TargetSessionAttrsAny:
		if config.TargetSessionAttrs == pq.TargetSessionAttrsAny && len(config.Multi) > 0 {
			return pq.Config{}, limits{}, errors.New("target_session_attrs=any: of several hosts one takes writes, use read-write (the default) or primary")
		}
	default:
		return pq.Config{}, limits{}, fmt.Errorf("target_session_attrs=%s: usher writes, use read-write (the default), primary or any", config.TargetSessionAttrs)
	}
	return config, l, nil
}

// kindOf says what is wrong with a URL without what it holds.
func kindOf(err error) string {
	if strings.Contains(err.Error(), "port") {
		return "invalid port"
	}
	return "invalid user or password"
}

// severalHosts takes the hosts out of the place where URLs have one. It gives
// none when there is at most one, and no ports when none is named.
func severalHosts(dsn string) (rest string, hosts, ports []string) {
	scheme, rest, _ := strings.Cut(dsn, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	at := strings.LastIndex(authority, "@") + 1
	list := strings.Split(authority[at:], ",")
	if len(list) < 2 {
		return dsn, nil, nil
	}
	named := false
	for _, one := range list {
		host, port, err := net.SplitHostPort(one)
		if err != nil {
			host, port = strings.Trim(one, "[]"), ""
		}
		named = named || port != ""
		hosts, ports = append(hosts, host), append(ports, cmp.Or(port, "5432"))
	}
	if !named {
		ports = nil
	}
	return scheme + "://" + authority[:at] + tail, hosts, ports
}

// checkParameters refuses what nobody knows: the server would refuse it too, but
// only when somebody connects, and a misspelt limit would not be one.
func checkParameters(q url.Values) error {
	known := slices.Concat(poolParameters, sessionParameters)
	driver := reflect.TypeFor[pq.Config]()
	for i := range driver.NumField() {
		if name := driver.Field(i).Tag.Get("postgres"); name != "" && name != "-" {
			known = append(known, name)
		}
	}
	var errs []error
	for name := range q {
		switch {
		case slices.Contains(known, name) || strings.Contains(name, "."):
		case name == "database":
			errs = append(errs, errors.New("unknown parameter database: the name stands behind the host, postgres://host/name"))
		case !parameterName.MatchString(name): // it may be a piece of the password
			errs = append(errs, errors.New("a parameter has no name: write %3F for a ? in the password"))
		default:
			errs = append(errs, fmt.Errorf("unknown parameter %s%s", name, didYouMean(name, known)))
		}
	}
	if q.Has("load_balance_hosts") {
		errs = append(errs, errors.New("load_balance_hosts: usher writes, and one host takes writes; leave it out"))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

var parameterName = regexp.MustCompile(`^[a-z_]+$`)

func didYouMean(name string, known []string) string {
	best := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
	if levenshtein.ComputeDistance(name, best) > max(2, len(name)/4) {
		return ""
	}
	return "; did you mean " + best + "?"
}

var errNegative = errors.New("want 0 or more")

// parseLimits takes its parameters out of q.
func parseLimits(q url.Values) (limits, error) {
	l := limits{conns: max(8, 4*runtime.GOMAXPROCS(0)), lifetime: defaultLifetime}
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
			if *into, err = strconv.Atoi(s); err == nil && *into < 0 {
				err = errNegative
			}
			return err
		}
	}
	duration := func(into *time.Duration) func(string) error {
		return func(s string) (err error) {
			if *into, err = time.ParseDuration(s); err == nil && *into < 0 {
				err = errNegative
			}
			return err
		}
	}
	take("max_conns", number(&l.conns))
	take("max_idle_conns", number(&l.idle))
	take("max_conn_lifetime", duration(&l.lifetime))
	take("max_conn_idle_time", duration(&l.idleTime))
	ms := int(DefaultStatement.Milliseconds())
	take("statement_timeout", number(&ms))
	l.statement = time.Duration(ms) * time.Millisecond
	if l.conns < minConns {
		errs = append(errs, fmt.Errorf("max_conns=%d: at least %d are needed", l.conns, minConns))
	}
	return l, errors.Join(errs...)
}

// ServerName names the database of a postgres:// DSN for people, with no secret
// in it; empty when the DSN cannot be read.
func ServerName(dsn string) string {
	single, hosts, ports := severalHosts(dsn)
	u, err := url.Parse(single)
	if err != nil {
		return ""
	}
	for i, port := range ports {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return u.Scheme + "://" + cmp.Or(strings.Join(hosts, ","), u.Host) + u.Path
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
