package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/webhook"
)

// newCourier makes what writes the mails. Without a mail server or an API, which is
// called as hooks are, development keeps them in its mailbox; anything else that needs
// mails has not started. What the former one knows to be sent and has not stored this
// one knows too.
func newCourier(cfg *config.Config, f foundation, former *current, hooks *webhook.Client) (*courier.Service, error) {
	taken := new(courier.Taken)
	if former != nil {
		taken = former.courier.Taken
	}
	templates, err := courier.NewTemplates(cfg.Courier.TemplateOptions())
	if err != nil {
		return nil, err
	}
	sender, err := newSender(cfg, f, hooks)
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
	return errors.New("no mail server and no API for mails is configured")
}

func newSender(cfg *config.Config, f foundation, hooks *webhook.Client) (courier.Sender, error) {
	switch {
	case cfg.Courier.ByAPI():
		api, err := hooks.Single(cfg.MailEndpoint())
		if err != nil {
			return nil, fmt.Errorf("courier.http.request_config: %w", err)
		}
		return courier.HTTP{API: api}, nil
	case cfg.KeepsMails():
		return courier.Mailbox{Log: f.log}, nil
	case !cfg.SendsMails():
		return noServer{}, nil
	}
	options, err := cfg.Courier.SMTPOptions()
	if err != nil {
		return nil, err
	}
	return courier.NewSMTP(options)
}
