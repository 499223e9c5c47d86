package doctor

import (
	"context"
	"net"
	"strconv"

	"github.com/usher-auth/usher/services/courier"
)

const checkMail = "mail.server"

var mailLooks = []look{{[]Check{{checkMail, "the mail server takes a connection, TLS and the login; nothing is sent"}}, (*Doctor).lookMail, false}}

func (d *Doctor) lookMail(ctx context.Context) (f findings) {
	c := d.Config
	needed := c.SelfService.Flows.Verification.Enabled
	if c.Courier.SMTP.ConnectionURI.Reveal() == "" {
		switch {
		case c.KeepsMails() && !loopback(c.Serve.Public.Host):
			f.add(Yellow, checkMail, "mails are kept in the mailbox of development, and others can connect", "set courier.smtp.connection_uri and from_address")
		case c.KeepsMails():
			f.green(checkMail, "mails are kept in the mailbox of development: 'usher mail list%s'", d.Flags)
		case needed:
			f.add(Red, checkMail, "verification is on, and there is no mail server", "set courier.smtp.connection_uri and from_address")
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
	case !o.Server.Encrypted() && !loopback(o.Server.Host):
		f.add(Yellow, checkMail, address+" takes mails, over a connection that others can read or take over", "leave disable_starttls and skip_ssl_verify out of courier.smtp.connection_uri")
	default:
		f.green(checkMail, "%s takes mails", address)
	}
	return f
}
