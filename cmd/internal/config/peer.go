package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// completeLikePeer fills in what a file written for the reference server may leave
// out, where one value is what its author expects: it says so in a warning.
func (l *loader) completeLikePeer(c *Config) {
	if dsn, idle := withoutIdle(c.DSN.Reveal()); len(idle) > 0 {
		c.DSN = NewAddress(dsn)
		l.warn("dsn", "without effect here: "+strings.Join(idle, ", "))
	}
	if cors := &c.Serve.Public.CORS; cors.Enabled && len(cors.AllowedOrigins) == 0 {
		cors.AllowedOrigins = c.originsOfPages()
		if len(cors.AllowedOrigins) > 0 {
			l.warn("serve.public.cors.allowed_origins", fmt.Sprintf("not set, so those of the pages that are configured may ask: %s", strings.Join(cors.AllowedOrigins, ", ")))
		}
	}
	if smtp := &c.Courier.SMTP; smtp.FromAddress == "" && smtp.ConnectionURI.Reveal() != "" && !c.Courier.ByAPI() {
		smtp.FromAddress = "no-reply@" + c.mailDomain()
		l.warn("courier.smtp.from_address", fmt.Sprintf("not set, so mails are from %s", smtp.FromAddress))
	}
}

// idleParameters of SQLite ask for what is so here anyway, or for what its own pool
// decides; those with values are idle with these alone.
var idleParameters = map[string][]string{
	"_fk": {"true", "1", "on"}, "_foreign_keys": {"true", "1", "on"}, "mode": {"rwc"}, "_journal": {"WAL", "wal"}, "_journal_mode": {"WAL", "wal"},
	"cache": nil, "_busy_timeout": nil, "_timeout": nil, "max_conns": nil, "max_idle_conns": nil, "max_conn_lifetime": nil, "max_conn_idle_time": nil,
}

// withoutIdle takes idle parameters off a DSN of SQLite, and names them.
func withoutIdle(dsn string) (rest string, idle []string) {
	path, query, _ := strings.Cut(dsn, "?")
	if !strings.HasPrefix(path, "sqlite://") || query == "" {
		return dsn, nil
	}
	var kept []string
	for parameter := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(parameter, "=")
		switch values, known := idleParameters[name]; {
		case known && (values == nil || slices.Contains(values, value)):
			idle = append(idle, name)
		default:
			kept = append(kept, parameter)
		}
	}
	if len(kept) > 0 {
		path += "?" + strings.Join(kept, "&")
	}
	return path, idle
}

// originsOfPages are those of the pages that the file configures, as browsers write
// them, each once; pages of this server itself ask without it.
func (c *Config) originsOfPages() (origins []string) {
	flows := &c.SelfService.Flows
	for _, page := range []string{
		c.SelfService.DefaultBrowserReturnURL, flows.Registration.UIURL, flows.Login.UIURL, flows.Verification.UIURL, flows.Recovery.UIURL, flows.Settings.UIURL, flows.Error.UIURL,
	} {
		u, err := url.Parse(page)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.HasPrefix(c.PublicURL(), u.Scheme+"://"+u.Host+"/") {
			continue
		}
		if origin := u.Scheme + "://" + strings.ToLower(u.Host); !slices.Contains(origins, origin) {
			origins = append(origins, origin)
		}
	}
	return origins
}

// mailDomain is the host that people know, where that has a name.
func (c *Config) mailDomain() string {
	u, err := url.Parse(c.PublicURL())
	if err != nil {
		return "localhost"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Hostname() == "" {
		return "localhost"
	}
	return u.Hostname()
}
