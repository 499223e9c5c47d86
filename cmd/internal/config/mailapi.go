package config

import (
	"net/http"

	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/jsonnet"
	"github.com/usher-auth/usher/services/webhook"
)

// Ways to deliver mails.
const (
	bySMTP = "smtp"
	byHTTP = "http"
)

// MailAPI is what is configured for an API that takes mails over HTTP.
type MailAPI struct {
	URL     Address           `yaml:"url"`
	Method  string            `yaml:"method"`
	Headers map[string]Secret `yaml:"headers"`
	// Body is where the Jsonnet template stands, Template the template itself.
	Body     string       `yaml:"body"`
	Template string       `yaml:"-"`
	Auth     EndpointAuth `yaml:"auth"`
}

// ByAPI tells whether mails are handed to an API, and not to a mail server.
func (m *Courier) ByAPI() bool { return m.DeliveryStrategy == byHTTP }

// SendsMails tells whether there is a mail server or an API that takes mails.
func (c *Config) SendsMails() bool {
	return c.Courier.ByAPI() || c.Courier.SMTP.ConnectionURI.Reveal() != ""
}

// KeepsMails tells whether mails are kept in the mailbox of development, with
// what they say, instead of sent.
func (c *Config) KeepsMails() bool { return c.Dev && !c.SendsMails() }

// writesMails tells whether there is a way to write mails.
func (c *Config) writesMails() bool { return c.Dev || c.SendsMails() }

// MailEndpoint gives the API that takes mails as it is called.
func (c *Config) MailEndpoint() webhook.Endpoint {
	m := &c.Courier.HTTP.RequestConfig
	return webhook.Endpoint{
		ID: "courier", URL: m.URL.Reveal(), Method: m.Method, Header: headerOf(m.Headers), Body: m.Template, Auth: m.Auth.webhook(),
	}
}

func headerOf(headers map[string]Secret) http.Header {
	if len(headers) == 0 {
		return nil
	}
	h := http.Header{}
	for name, value := range headers {
		h.Set(name, value.Reveal())
	}
	return h
}

const mailAPI = "courier.http.request_config"

// completeMailAPI reads the template of the request's body.
func (l *loader) completeMailAPI(m *MailAPI) {
	m.Template = courier.DefaultBody
	if m.Body != "" {
		m.Template = string(l.text(mailAPI+".body", m.Body))
	}
}

func (l *loader) checkMailAPI(m *Courier) {
	r := &m.HTTP.RequestConfig
	switch {
	case r.URL.Reveal() != "":
		l.checkRequest(mailAPI, r.URL, r.Method, r.Headers, &r.Auth)
	case m.ByAPI():
		l.refuseKey(mailAPI+".url", "this is needed, since courier.delivery_strategy is http: where do mails go?")
	}
	if _, err := jsonnet.Compile("body", r.Template); err != nil && r.Template != "" {
		l.refuseKey(mailAPI+".body", "%w", err)
	}
}
