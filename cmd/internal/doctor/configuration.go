package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
)

const (
	checkValid    = "configuration.valid"
	checkWarnings = "configuration.warnings"
	checkOrder    = "configuration.hooks"
)

var configurationLooks = []look{
	{[]Check{{checkValid, "it can be used"}}, (*Doctor).lookValid, true},
	{[]Check{{checkWarnings, "what it warns of"}, {checkOrder, "hooks run in the order in which they are written"}}, (*Doctor).lookWarnings, false},
	{ruleNames(), (*Doctor).lookRules, false},
}

func (d *Doctor) lookValid(context.Context) (f findings) {
	var problems config.Problems
	switch {
	case errors.As(d.Problems, &problems):
		for _, p := range problems {
			if strings.HasPrefix(p.Key, "secrets") {
				continue // they have a check of their own
			}
			f.add(Red, checkValid, p.Error(), "mend the file; nothing starts with it")
		}
	case d.Problems != nil:
		f.add(Red, checkValid, oneLine(d.Problems), "mend the file; nothing starts with it")
	case d.Config != nil:
		if _, err := app.Check(d.Config); onlyCertificates(err) {
			f.skip("a certificate cannot be used, see "+checkListenerCerts, checkValid)
		} else if err != nil {
			f.add(Red, checkValid, oneLine(err), "mend the file; 'usher config check"+d.Flags+"' says whether it is good")
		}
	}
	if len(f) == 0 && len(problems) == 0 {
		f.green(checkValid, "%s can be used", d.Sources)
	} else if len(f) == 0 {
		f.skip("only secrets are wrong, see "+checkStrength, checkValid)
	}
	return f
}

// onlyCertificates tells whether nothing but certificates of listeners is wrong.
func onlyCertificates(err error) bool {
	var problems config.Problems
	return errors.As(err, &problems) && !slices.ContainsFunc(problems, func(p config.Problem) bool {
		return !strings.HasPrefix(p.Key, "serve.") || !strings.Contains(p.Key, ".tls.")
	})
}

func (d *Doctor) lookWarnings(context.Context) (f findings) {
	plans := app.PlansOf(d.Config)
	for _, w := range d.Warnings {
		if w.Key == mitigate && len(plans.Warnings) > 0 {
			continue // one of the rules says what that means
		}
		f.add(Yellow, checkWarnings, w.String(), mendWarning(w))
	}
	for _, text := range plans.Unknown() {
		seen, mend, _ := strings.Cut(text, ": ")
		f.add(Yellow, checkWarnings, seen, mend)
	}
	if len(f) == 0 {
		f.green(checkWarnings, "none")
	}
	for _, n := range plans.Notes {
		f.add(Yellow, checkOrder, n.In(d.File), "write them in the order in which they run; 'usher hooks plan"+d.Flags+"' shows it")
	}
	if len(plans.Notes) == 0 {
		f.green(checkOrder, "as written")
	}
	return f
}

// mendWarning is what to do about what the configuration warns of: it is good where it
// is meant.
func mendWarning(w config.Warning) string {
	if w.Key == "" {
		return "leave those keys out"
	}
	return "well, if it is meant so; else mend " + w.Key
}

// rule is about settings that are good each and fight each other.
type rule struct {
	name, about string
	// breaks gives a finding where it is broken, its check left out; nil or a green
	// one where it is not.
	breaks func(c *config.Config) *Finding
	good   string
}

var rules = []rule{
	{"enumeration", "whether an answer tells who has an account", enumeration, "an answer does not tell a taken address from a new one by the session"},
	{"dev", "development mode stays on loopback", devBeyondLoopback, "development mode is off"},
	{"deadlines", "waits end before the one who waits gives up", deadlines, "waits end in time"},
	{"drain", "a process that is told to end has the time for it", drain, "a process ends within the half minute that is usual"},
	{"rate_limits", "rate limits beyond loopback", unlimited, "rate limits are on"},
	{"cookies", "cookies that browsers take", cookies, "browsers take and return the cookies"},
	{"proxies", "whose address a request has", proxies, "addresses are those of clients"},
	{"replicas", "copies of events on the bus", replicas, "as many copies as the bus has servers for"},
	{"log", "what is logged", verbose, "no more than operators need"},
}

func ruleNames() (names []Check) {
	for _, r := range rules {
		names = append(names, Check{"configuration." + r.name, r.about})
	}
	return names
}

func (d *Doctor) lookRules(context.Context) (f findings) {
	for _, r := range rules {
		if broken := r.breaks(d.Config); broken != nil {
			f.add(broken.Status, "configuration."+r.name, broken.Seen, broken.Mend)
			continue
		}
		f.green("configuration."+r.name, "%s", r.good)
	}
	return f
}

func enumeration(c *config.Config) *Finding {
	warnings := app.PlansOf(c).Warnings
	switch {
	case len(warnings) == 0:
		return nil
	case c.Written(mitigate):
		return &Finding{Status: Green, Seen: "accepted: " + strings.Join(warnings, "; ")}
	}
	return &Finding{Status: Yellow, Seen: strings.Join(warnings, "; "), Mend: mitigate + ": false accepts it; else leave the session step out"}
}

const mitigate = "security.account_enumeration.mitigate"

func devBeyondLoopback(c *config.Config) *Finding {
	if !c.Dev {
		return nil
	}
	if config.Loopback(c.Serve.Public.Host) && config.Loopback(c.Serve.Admin.Host) {
		return &Finding{Status: Green, Seen: "development mode, and only this machine can connect"}
	}
	return &Finding{
		Status: Red, Seen: "development mode, with a listener beyond this machine: cheap hashes, cookies without Secure, mails can be read by administrators",
		Mend: "leave out dev: true and --dev where others can connect",
	}
}

func deadlines(c *config.Config) *Finding {
	if t := c.Session.Issue.Timeout; t > events.AnswerTime {
		return &Finding{
			Status: Yellow, Seen: fmt.Sprintf("session.issue.timeout is %s, and the session worker's answer comes within %s or never", t, events.AnswerTime),
			Mend: fmt.Sprintf("session.issue.timeout: %s or less; a registration waits so long where no worker answers", events.AnswerTime),
		}
	}
	return nil
}

// usualGrace is the time that Kubernetes leaves a process to end if it is told nothing.
const usualGrace = 30 * time.Second

func drain(c *config.Config) *Finding {
	if c.Serve.DrainDelay+app.DrainTime <= usualGrace {
		return nil
	}
	needs := c.Serve.DrainDelay + app.DrainTime
	return &Finding{
		Status: Yellow, Seen: fmt.Sprintf("serve.drain_delay is %s: a process takes up to %s to end, and is often killed after %s", c.Serve.DrainDelay, needs, usualGrace),
		Mend: fmt.Sprintf("terminationGracePeriodSeconds or TimeoutStopSec of %.0f seconds or more, or a shorter delay", needs.Seconds()),
	}
}

func unlimited(c *config.Config) *Finding {
	if c.RateLimits.Enabled {
		return nil
	}
	if config.Loopback(c.Serve.Public.Host) {
		return &Finding{Status: Green, Seen: "rate limits are off, and only this machine can connect"}
	}
	return &Finding{Status: Yellow, Seen: "rate_limits.enabled is false, and others can connect", Mend: "rate_limits.enabled: true, unless a proxy in front limits registrations and logins"}
}

func cookies(c *config.Config) *Finding {
	base, err := url.Parse(c.PublicURL())
	if err != nil {
		return nil
	}
	host := base.Hostname()
	domain := strings.TrimPrefix(c.Session.Cookie.Domain, ".")
	switch {
	case domain != "" && host != domain && !strings.HasSuffix(host, "."+domain):
		return &Finding{
			Status: Red, Seen: fmt.Sprintf("session.cookie.domain %s does not hold the host of serve.public.base_url, %s: browsers drop the cookie", domain, host),
			Mend: "set session.cookie.domain to the host, to a domain above it, or leave it out",
		}
	case base.Scheme == "http" && c.Session.Cookie.Secure && !config.Loopback(host):
		return &Finding{
			Status: Red, Seen: "session.cookie.secure is true and serve.public.base_url is http: browsers do not return the cookie",
			Mend: "set serve.public.base_url to the https URL that browsers use",
		}
	case base.Scheme == "http" && c.Session.Cookie.Secure:
		return &Finding{Status: Green, Seen: "most browsers keep cookies with Secure of a loopback host over plain HTTP, other clients may not: see the warning"}
	case base.Scheme == "https" && !c.Session.Cookie.Secure:
		return &Finding{Status: Yellow, Seen: "serve.public.base_url is https and session.cookie.secure is false: one plain request shows the session", Mend: "cookies.secure: true"}
	case c.Cookies.SameSite == "Strict" && len(c.OIDCProviders()) > 0:
		return &Finding{Status: Red, Seen: "cookies.same_site is Strict: whoever comes back from an identity provider comes without cookies", Mend: "cookies.same_site: Lax"}
	}
	return nil
}

func proxies(c *config.Config) *Finding {
	base, err := url.Parse(c.Serve.Public.BaseURL)
	if err != nil || base.Host == "" || len(c.Serve.TrustedProxies) > 0 || config.Loopback(base.Hostname()) {
		return nil
	}
	port := cmp.Or(base.Port(), map[string]string{"http": "80", "https": "443"}[base.Scheme])
	if port == fmt.Sprint(c.Serve.Public.Port) && (base.Scheme == "http" || ownTLS(c)) {
		return nil
	}
	seen := fmt.Sprintf("browsers use %s and the listener is on port %d without a proxy in serve.trusted_proxies: all people have the proxy's address", base, c.Serve.Public.Port)
	if c.RateLimits.Enabled {
		return &Finding{Status: Red, Seen: seen + ", and share one rate limit", Mend: "set serve.trusted_proxies to the addresses of the proxy"}
	}
	return &Finding{Status: Yellow, Seen: seen, Mend: "set serve.trusted_proxies to the addresses of the proxy"}
}

func replicas(c *config.Config) *Finding {
	servers := strings.Count(c.Bus.URL, ",") + 1
	switch n := c.Bus.Replicas; {
	case c.Bus.URL == "":
		return nil
	case servers >= 3 && n == 1:
		return &Finding{Status: Yellow, Seen: fmt.Sprintf("bus.url has %d servers and bus.replicas is 1: when the one that holds the events is away, all stands still", servers), Mend: "bus.replicas: 3"}
	case servers > 1 && n > servers:
		return &Finding{Status: Yellow, Seen: fmt.Sprintf("bus.replicas is %d and bus.url has %d servers", n, servers), Mend: "name all servers of the cluster in bus.url, or fewer replicas"}
	}
	return nil
}

func verbose(c *config.Config) *Finding {
	if c.Dev || !slices.Contains([]string{"trace", "debug"}, c.Log.Level) {
		return nil
	}
	return &Finding{Status: Yellow, Seen: "log.level is " + c.Log.Level, Mend: "log.level: info, once what is sought is found"}
}

// ownTLS tells whether the public listener has a certificate of its own.
func ownTLS(c *config.Config) bool { return c.Serve.Public.TLS.On() }
