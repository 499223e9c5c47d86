package doctor

import (
	"context"
	"net"
	"net/url"
	"strconv"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/webhook"
)

const checkMail = "mail.server"

var mailLooks = []look{{[]Check{{checkMail, "the mail server takes a connection, TLS and the login, an API for mails a connection and TLS; nothing is sent"}}, (*Doctor).lookMail, false}}

func (d *Doctor) lookMail(ctx context.Context) (f findings) {
	c := d.Config
	needed := c.SelfService.Flows.Verification.Enabled
	if c.Courier.ByAPI() {
		return d.lookMailAPI(ctx)
	}
	if !c.SendsMails() {
		switch {
		case c.KeepsMails() && !config.Loopback(c.Serve.Public.Host):
			f.add(Yellow, checkMail, "mails are kept in the mailbox of development, and others can connect", "set courier.smtp.connection_uri and from_address, or courier.http and delivery_strategy: http")
		case c.KeepsMails():
			f.green(checkMail, "mails are kept in the mailbox of development: 'usher mail list%s'", d.Flags)
		case needed:
			f.add(Red, checkMail, "verification is on, and there is no mail server", "set courier.smtp.connection_uri and from_address, or courier.http and delivery_strategy: http")
		default:
			f.green(checkMail, "nothing needs mails")
		}
		return f
	}
	o, err := c.Courier.SMTPOptions()
	if err != nil {
		f.skip("see "+checkValid, checkMail)
		return f
	}
	server, err := courier.NewSMTP(o)
	if err != nil {
		f.skip("see "+checkValid, checkMail)
		return f
	}
	address := net.JoinHostPort(o.Server.Host, strconv.Itoa(o.Server.Port))
	switch err := server.Probe(ctx); {
	case err != nil:
		f.add(Red, checkMail, address+": "+oneLine(err), "mend courier.smtp.connection_uri or that server; mails wait and are tried again meanwhile")
	case !o.Server.Encrypted() && !config.Loopback(o.Server.Host):
		f.add(Yellow, checkMail, address+" takes mails, over a connection that others can read or take over", "leave disable_starttls and skip_ssl_verify out of courier.smtp.connection_uri")
	default:
		f.green(checkMail, "%s takes mails", address)
	}
	return f
}

func (d *Doctor) lookMailAPI(ctx context.Context) (f findings) {
	c := d.Config
	e := c.MailEndpoint()
	client, err := webhook.New(webhook.Options{
		DisallowPrivateIPRanges: c.Clients.HTTP.DisallowPrivateIPRanges, PrivateIPExceptionURLs: c.Clients.HTTP.PrivateIPExceptionURLs,
	})
	var api *webhook.Single
	if err == nil {
		api, err = client.Single(e)
	}
	u, parsing := url.Parse(e.URL)
	if err != nil || parsing != nil {
		f.skip("see "+checkValid, checkMail)
		return f
	}
	at := u.Scheme + "://" + u.Host
	switch err := api.Probe(ctx); {
	case err != nil:
		f.add(Red, checkMail, at+": "+oneLine(err), "mend courier.http.request_config.url or that server; mails wait and are tried again meanwhile")
	case u.Scheme == "http" && !config.Loopback(u.Hostname()):
		f.add(Yellow, checkMail, at+" is there, over a connection that others can read or take over", "let courier.http.request_config.url be https")
	default:
		f.green(checkMail, "%s is there; whether it takes mails only one tells", at)
	}
	return f
}
