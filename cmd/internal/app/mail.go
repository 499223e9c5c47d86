package app

import (
	"context"
	"errors"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
)

// newCourier makes what writes the mails. Without a mail server development
// keeps them in its mailbox; anything else that needs mails has not started.
// What the former one knows to be sent and has not stored this one knows too.
func newCourier(cfg *config.Config, f foundation, former *current) (*courier.Service, error) {
	taken := new(courier.Taken)
	if former != nil {
		taken = former.courier.Taken
	}
	templates, err := courier.NewTemplates(cfg.Courier.TemplateOptions())
	if err != nil {
		return nil, err
	}
	sender, err := newSender(cfg, f)
	if err != nil {
		return nil, err
	}
	return &courier.Service{
		Store:        f.messages,
		Sender:       sender,
		Templates:    templates,
		CodeLifespan: cfg.SelfService.Methods.Code.Config.Lifespan,
		LinkLifespan: cfg.SelfService.Methods.Link.Config.Lifespan,
		MaxAttempts:  cfg.Courier.MessageRetries,
		PublicURL:    cfg.PublicURL(),
		LinkURL:      cfg.SelfService.Methods.Link.Config.BaseURL,
		NotifyUnknown: map[flow.Kind]bool{
			flow.Verification: cfg.SelfService.Flows.Verification.NotifyUnknownRecipients,
			flow.Recovery:     cfg.SelfService.Flows.Recovery.NotifyUnknownRecipients,
		},
		KeepContent: cfg.KeepsMails(),
		Observe:     f.observeMail,
		Now:         time.Now,
		Taken:       taken,
	}, nil
}

// noServer is for what was asked for before mails were switched off.
type noServer struct{}

// Send never sends.
func (noServer) Send(context.Context, *courier.Message) error {
	return errors.New("no mail server is configured")
}

func newSender(cfg *config.Config, f foundation) (courier.Sender, error) {
	uri := cfg.Courier.SMTP.ConnectionURI.Reveal()
	switch {
	case uri == "" && cfg.Dev:
		return courier.Mailbox{Log: f.log}, nil
	case uri == "":
		return noServer{}, nil
	}
	options, err := cfg.Courier.SMTPOptions()
	if err != nil {
		return nil, err
	}
	return courier.NewSMTP(options)
}
