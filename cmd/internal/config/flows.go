package config

import (
	"time"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

// Login is what is configured for the login flow.
type Login struct {
	UIURL    string        `yaml:"ui_url"`
	Lifespan time.Duration `yaml:"lifespan"`
	Style    string        `yaml:"style"` // unified
	After    struct {
		DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
		Hooks                   []Hook `yaml:"hooks"`
		// Password and OIDC: their hooks take the place of the others, if there are any.
		Password struct {
			DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
			Hooks                   []Hook `yaml:"hooks"`
		} `yaml:"password"`
		OIDC struct {
			DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
			Hooks                   []Hook `yaml:"hooks"`
		} `yaml:"oidc"`
	} `yaml:"after"`
}

// Verification is what is configured for the verification flow.
type Verification struct {
	Enabled  bool          `yaml:"enabled"`
	Use      string        `yaml:"use"` // code or link
	UIURL    string        `yaml:"ui_url"`
	Lifespan time.Duration `yaml:"lifespan"`
	// NotifyUnknownRecipients writes also to addresses that are nobody's.
	NotifyUnknownRecipients bool `yaml:"notify_unknown_recipients"`
	After                   struct {
		DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
		Hooks                   []Hook `yaml:"hooks"`
	} `yaml:"after"`
}

// Recovery is what is configured for the recovery flow.
type Recovery struct {
	Enabled  bool          `yaml:"enabled"`
	Use      string        `yaml:"use"` // code or link
	UIURL    string        `yaml:"ui_url"`
	Lifespan time.Duration `yaml:"lifespan"`
	// NotifyUnknownRecipients writes also to addresses that are nobody's.
	NotifyUnknownRecipients bool `yaml:"notify_unknown_recipients"`
	After                   struct {
		Hooks []Hook `yaml:"hooks"`
	} `yaml:"after"`
}

// Settings is what is configured for the flow in which people change their identity.
type Settings struct {
	UIURL    string        `yaml:"ui_url"`
	Lifespan time.Duration `yaml:"lifespan"`
	// PrivilegedSessionMaxAge is how long after a login a session may change how its
	// person signs in.
	PrivilegedSessionMaxAge time.Duration `yaml:"privileged_session_max_age"`
	// RequiredAAL is aal1 or highest_available, which is the same as long as there is
	// no second factor.
	RequiredAAL string `yaml:"required_aal"`
	After       struct {
		DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
		Hooks                   []Hook `yaml:"hooks"`
		// Of each method its web_hooks take the place of the others, if there are any.
		Profile  SettingsAfter `yaml:"profile"`
		Password SettingsAfter `yaml:"password"`
		OIDC     SettingsAfter `yaml:"oidc"`
	} `yaml:"after"`
}

// SettingsAfter is what comes behind a change of settings with one method.
type SettingsAfter struct {
	DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
	Hooks                   []Hook `yaml:"hooks"`
}

// settingsMethods gives what is configured behind a change with each method.
func (c *Config) settingsMethods() map[string]*SettingsAfter {
	after := &c.SelfService.Flows.Settings.After
	return map[string]*SettingsAfter{"profile": &after.Profile, "password": &after.Password, "oidc": &after.OIDC}
}

// Courier is what is configured for mails.
type Courier struct {
	SMTP struct {
		// ConnectionURI is smtp://user:password@host:port or smtps://…; empty where an
		// API takes the mails, and in development, where the mailbox keeps them.
		ConnectionURI Address           `yaml:"connection_uri"`
		FromAddress   string            `yaml:"from_address"`
		FromName      string            `yaml:"from_name"`
		Headers       map[string]string `yaml:"headers"`
		// LocalName is what this side calls itself.
		LocalName string `yaml:"local_name"`
	} `yaml:"smtp"`
	DeliveryStrategy string `yaml:"delivery_strategy"` // smtp or http
	// HTTP is the API that takes mails, where DeliveryStrategy says so.
	HTTP struct {
		RequestConfig MailAPI `yaml:"request_config"`
	} `yaml:"http"`
	// MessageRetries is how often a mail is tried that the server does not take for now.
	MessageRetries int `yaml:"message_retries"`
	Templates      struct {
		VerificationCode MailTemplates `yaml:"verification_code"`
		Verification     MailTemplates `yaml:"verification"`
		RecoveryCode     MailTemplates `yaml:"recovery_code"`
		Recovery         MailTemplates `yaml:"recovery"`
	} `yaml:"templates"`
	// TemplateOverridePath is a folder with templates that take the place of the
	// built-in ones.
	TemplateOverridePath string `yaml:"template_override_path"`
}

// MailTemplates are those of one kind of mail: for somebody's address, and for one that
// is nobody's.
type MailTemplates struct {
	Valid   MailTemplate `yaml:"valid"`
	Invalid MailTemplate `yaml:"invalid"`
}

// MailTemplate says where the templates of a mail stand: file://PATH or
// base64://DATA; empty means the built-in one.
type MailTemplate struct {
	Email struct {
		Subject string `yaml:"subject"`
		Body    struct {
			Plaintext string `yaml:"plaintext"`
			HTML      string `yaml:"html"`
		} `yaml:"body"`
	} `yaml:"email"`
	// Texts are what Email leads to.
	Texts struct{ Subject, Plain, HTML string } `yaml:"-"`
}

// TemplateOptions are what the templates of mails are made of.
func (m *Courier) TemplateOptions() courier.TemplateOptions {
	o := courier.TemplateOptions{Given: map[flow.Purpose]courier.Given{}, Folder: m.TemplateOverridePath}
	for purpose, given := range m.templates() {
		o.Given[purpose] = courier.Given{Valid: courier.Texts(given.Valid.Texts), Invalid: courier.Texts(given.Invalid.Texts)}
	}
	return o
}

// templates are those of each kind of mail.
func (m *Courier) templates() map[flow.Purpose]*MailTemplates {
	return map[flow.Purpose]*MailTemplates{
		flow.VerifyByCode:  &m.Templates.VerificationCode,
		flow.VerifyByLink:  &m.Templates.Verification,
		flow.RecoverByCode: &m.Templates.RecoveryCode,
		flow.RecoverByLink: &m.Templates.Recovery,
	}
}

// SMTPOptions say how the mail server is reached; without connection_uri its
// place in them is empty.
func (m *Courier) SMTPOptions() (courier.SMTPOptions, error) {
	o := courier.SMTPOptions{
		FromAddress: m.SMTP.FromAddress,
		FromName:    m.SMTP.FromName,
		Headers:     m.SMTP.Headers,
		LocalName:   m.SMTP.LocalName,
	}
	var err error
	if uri := m.SMTP.ConnectionURI.Reveal(); uri != "" {
		o.Server, err = courier.ParseSMTP(uri)
	}
	return o, err
}

// completeTemplates reads the templates of mails.
func (l *loader) completeTemplates(c *Config) {
	for purpose, given := range c.Courier.templates() {
		key := "courier.templates." + courier.Kinds[purpose]
		l.completeTemplate(key+".valid.email.", &given.Valid)
		l.completeTemplate(key+".invalid.email.", &given.Invalid)
	}
}

func (l *loader) completeTemplate(key string, t *MailTemplate) {
	for _, part := range []struct {
		key, from string
		text      *string
	}{
		{"subject", t.Email.Subject, &t.Texts.Subject},
		{"body.plaintext", t.Email.Body.Plaintext, &t.Texts.Plain},
		{"body.html", t.Email.Body.HTML, &t.Texts.HTML},
	} {
		if part.from != "" {
			*part.text = string(l.text(key+part.key, part.from))
		}
	}
}
