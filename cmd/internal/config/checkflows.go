package config

import (
	"errors"
	"net/mail"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
)

func (l *loader) checkLogin(c *Config) {
	f := &c.SelfService.Flows.Login
	l.oneOf(login+".style", f.Style, "unified")
	l.atLeast(login+".lifespan", f.Lifespan, time.Second)
	l.checkURL(login+".ui_url", f.UIURL, pageURL)
	for name, u := range map[string]string{
		login + ".after.default_browser_return_url":                 f.After.DefaultBrowserReturnURL,
		login + ".after.password.default_browser_return_url":        f.After.Password.DefaultBrowserReturnURL,
		login + ".after.oidc.default_browser_return_url":            f.After.OIDC.DefaultBrowserReturnURL,
		"selfservice.flows.logout.after.default_browser_return_url": c.SelfService.Flows.Logout.After.DefaultBrowserReturnURL,
	} {
		l.checkURL(name, u, absoluteURL)
	}
	if c.SelfService.Flows.Verification.Enabled {
		return
	}
	for _, list := range c.hookLists() {
		at := slices.IndexFunc(list.hooks, func(h Hook) bool { return h.Kind == hook.KindRequireVerified })
		if at >= 0 {
			l.refuseKey(entry(list.key, at)+".hook", "nobody could sign in again: it needs %s.enabled: true and a way to write mails, courier.smtp.connection_uri or courier.delivery_strategy: http (a file without identity.schemas has both with --dev)", verification)
		}
	}
}

// noWay is said where something needs mails that is on.
const noWay = "this is needed, since %s.enabled is true: where do mails go? (an API takes them with courier.delivery_strategy: http, and --dev keeps them in a mailbox)"

func (l *loader) checkVerification(c *Config) {
	f, code := &c.SelfService.Flows.Verification, &c.SelfService.Methods.Code
	l.oneOf(verification+".use", f.Use, flow.MethodCode, flow.MethodLink)
	l.atLeast(verification+".lifespan", f.Lifespan, time.Second)
	l.checkURL(verification+".ui_url", f.UIURL, pageURL)
	l.checkURL(verification+".after.default_browser_return_url", f.After.DefaultBrowserReturnURL, absoluteURL)
	l.between("selfservice.methods.link.config.lifespan", c.SelfService.Methods.Link.Config.Lifespan, time.Second, 24*time.Hour)
	l.checkURL("selfservice.methods.link.config.base_url", c.SelfService.Methods.Link.Config.BaseURL, baseURL)
	l.between("selfservice.methods.code.config.lifespan", code.Config.Lifespan, time.Second, 24*time.Hour)
	if n := code.Config.MaxSubmissions; n < 1 || n > 100 {
		l.refuseKey("selfservice.methods.code.config.max_submissions", "want 1 to 100, not %d", n)
	}
	if !f.Enabled {
		return
	}
	l.checkUse(c, verification, f.Use)
	if !c.writesMails() {
		l.refuseKey(connectionURI, noWay, verification)
	}
}

func (l *loader) checkRecovery(c *Config) {
	f := &c.SelfService.Flows.Recovery
	l.oneOf(recovery+".use", f.Use, flow.MethodCode, flow.MethodLink)
	l.atLeast(recovery+".lifespan", f.Lifespan, time.Second)
	l.checkURL(recovery+".ui_url", f.UIURL, pageURL)
	if !f.Enabled {
		return
	}
	l.checkUse(c, recovery, f.Use)
	if !c.writesMails() {
		l.refuseKey(connectionURI, noWay, recovery)
	}
}

// checkUse wants the method that a flow uses to be on.
func (l *loader) checkUse(c *Config, of, method string) {
	m := &c.SelfService.Methods
	on := map[string]bool{flow.MethodCode: m.Code.Enabled, flow.MethodLink: m.Link.Enabled}
	key := "selfservice.methods." + method + ".enabled"
	said := slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Key == key }) // for another flow
	if enabled, known := on[method]; known && !enabled && !said {
		l.refuseKey(key, "want true, since %s.enabled is, and uses it", of)
	}
}

func (l *loader) checkSettings(c *Config) {
	f := &c.SelfService.Flows.Settings
	l.atLeast(settings+".lifespan", f.Lifespan, time.Second)
	l.atLeast(settings+".privileged_session_max_age", f.PrivilegedSessionMaxAge, time.Second)
	l.oneOf(settings+".required_aal", f.RequiredAAL, "aal1", "highest_available")
	l.checkURL(settings+".ui_url", f.UIURL, pageURL)
	l.checkURL(settings+".after.default_browser_return_url", f.After.DefaultBrowserReturnURL, absoluteURL)
	for method, after := range c.settingsMethods() {
		l.checkURL(settings+".after."+method+".default_browser_return_url", after.DefaultBrowserReturnURL, absoluteURL)
	}
}

func (l *loader) checkCourier(c *Config) {
	m := &c.Courier
	l.oneOf("courier.delivery_strategy", m.DeliveryStrategy, bySMTP, byHTTP)
	if m.MessageRetries < 1 || m.MessageRetries > 100 {
		l.refuseKey("courier.message_retries", "want 1 to 100, not %d", m.MessageRetries)
	}
	l.checkSMTP(m)
	l.checkMailAPI(m)
	_, err := courier.NewTemplates(m.TemplateOptions())
	l.refuseMails(err)
}

func (l *loader) checkSMTP(m *Courier) {
	if from := m.SMTP.FromAddress; from != "" {
		if a, err := mail.ParseAddress(from); err != nil || a.Address != from {
			l.refuseKey("courier.smtp.from_address", "want an address such as accounts@example.com")
			return
		}
	}
	options, err := m.SMTPOptions()
	l.refuseMails(err)
	if options.FromAddress == "" {
		options.FromAddress = "nobody@example.com" // the rest is checked all the same
	}
	_, err = courier.NewSMTP(options)
	l.refuseMails(err)
}

// refuseMails notes what the courier says, at the place of the key that it names.
func (l *loader) refuseMails(err error) {
	var named *courier.Misconfigured
	if errors.As(err, &named) {
		l.refuseKey(named.Key, "%w", named.Err)
	} else if err != nil {
		l.refuseKey("courier", "%w", err)
	}
}

func (l *loader) between(name string, got, least, most time.Duration) {
	if got < least || got > most {
		l.refuseKey(name, "want %s to %s, not %s", least, most, got)
	}
}
