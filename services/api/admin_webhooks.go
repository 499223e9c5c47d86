package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// Webhooks declares webhooks, see [delivery.Webhooks].
type Webhooks interface {
	List(ctx context.Context) ([]delivery.Hook, error)
	Webhook(ctx context.Context, name string) (delivery.Hook, error)
	Add(ctx context.Context, wanted delivery.Hook, by delivery.Author) (delivery.Hook, error)
	Rotate(ctx context.Context, name string, by delivery.Author) (webhook.Secret, error)
	FinishRotation(ctx context.Context, name string, by delivery.Author) error
	Enable(ctx context.Context, name string, by delivery.Author) error
	Remove(ctx context.Context, name string, by delivery.Author) error
	Test(ctx context.Context, name string, by delivery.Author) (delivery.WebhookTest, error)
}

// webhookView is a webhook without what its URL may hold behind the path.
type webhookView struct {
	Name   string   `json:"name"`
	URL    string   `json:"url"`
	Events []string `json:"events"`
	// Disabled says why it gets nothing.
	Disabled string `json:"disabled,omitempty"`
	InFile   bool   `json:"in_file"`
	// Secrets is how many sign: two while they rotate.
	Secrets   int    `json:"secrets"`
	CreatedAt *stamp `json:"created_at,omitempty"`
	UpdatedAt *stamp `json:"updated_at,omitempty"`
}

// newSecretView shows a secret, once.
type newSecretView struct {
	webhookView
	Secret string `json:"secret"`
	// Ready is false as long as the bus does not have the webhook.
	Ready bool `json:"ready"`
}

type webhookTestView struct {
	EventID string  `json:"event_id"`
	Status  int     `json:"status"`
	Took    float64 `json:"took_ms"`
	Failed  string  `json:"failed,omitempty"`
}

func viewWebhook(h delivery.Hook) webhookView {
	return webhookView{
		Name: h.Name, URL: withoutQuery(h.URL), Events: h.Types, Disabled: h.Disabled, InFile: h.InFile,
		Secrets: len(h.Secrets), CreatedAt: happened(h.CreatedAt), UpdatedAt: happened(h.UpdatedAt),
	}
}

// withoutQuery hides what a query holds: it may be a credential.
func withoutQuery(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.String()
}

// listWebhooks gives all webhooks, by name.
func (s *Server) listWebhooks(x *exchange) error {
	all, err := s.Webhooks.List(x.r.Context())
	if err != nil {
		return err
	}
	views := make([]webhookView, len(all))
	for n, h := range all {
		views[n] = viewWebhook(h)
	}
	return x.encode(http.StatusOK, views)
}

// showWebhook gives one webhook.
func (s *Server) showWebhook(x *exchange) error {
	h, err := s.Webhooks.Webhook(x.r.Context(), x.r.PathValue("name"))
	if err != nil {
		return hookError("show webhook", err)
	}
	return x.encode(http.StatusOK, viewWebhook(h))
}

// wantedWebhook is the body that declares a webhook.
type wantedWebhook struct {
	Name   string   `json:"name"`
	URL    string   `json:"url"`
	Events []string `json:"events"`
	Reuse  bool     `json:"reuse_name"`
}

// addWebhook declares a webhook and shows its secret.
func (s *Server) addWebhook(x *exchange) error {
	var in wantedWebhook
	if err := x.decode(&in); err != nil {
		return err
	}
	h, err := s.Webhooks.Add(x.r.Context(), delivery.Hook{Name: in.Name, URL: in.URL, Types: in.Events, ReuseName: in.Reuse}, x.author())
	unready := errors.Is(err, delivery.ErrUnready)
	if err != nil && !unready {
		return hookError("add webhook", err)
	}
	if unready {
		s.Log.Error("a webhook waits for the bus", "hook", h.Name, "error", err)
	}
	return x.encode(http.StatusCreated, newSecretView{viewWebhook(h), h.Secrets[0].Reveal(), !unready})
}

// rotateWebhook gives a webhook another secret and shows it. The former one
// goes on signing too.
func (s *Server) rotateWebhook(x *exchange) error {
	name := x.r.PathValue("name")
	secret, err := s.Webhooks.Rotate(x.r.Context(), name, x.author())
	if err != nil {
		return hookError("rotate webhook", err)
	}
	h, err := s.Webhooks.Webhook(x.r.Context(), name)
	if err != nil {
		return fmt.Errorf("show rotated webhook: %w", err)
	}
	return x.encode(http.StatusOK, newSecretView{viewWebhook(h), secret.Reveal(), true})
}

// changeWebhook does what needs no answer.
func (s *Server) changeWebhook(change func(ctx context.Context, name string, by delivery.Author) error) func(*exchange) error {
	return func(x *exchange) error {
		if err := change(x.r.Context(), x.r.PathValue("name"), x.author()); err != nil {
			return hookError("change webhook", err)
		}
		x.answer(http.StatusNoContent, nil)
		return nil
	}
}

// testWebhook sends a test event and shows what came of it.
func (s *Server) testWebhook(x *exchange) error {
	t, err := s.Webhooks.Test(x.r.Context(), x.r.PathValue("name"), x.author())
	if err != nil {
		return hookError("test webhook", err)
	}
	return x.encode(http.StatusOK, webhookTestView{t.EventID, t.Status, float64(t.Took.Microseconds()) / 1000, t.Failed})
}

// addWebhookRoutes adds what administrators do with webhooks.
func (s *Server) addWebhookRoutes(rt *router) {
	one := routeWebhooks + "/{name}"
	rt.add(routeWebhooks, methods{http.MethodGet: s.listWebhooks, http.MethodPost: s.addWebhook}, guarded|owned)
	rt.add(one, methods{http.MethodGet: s.showWebhook, http.MethodDelete: s.changeWebhook(s.removeWebhook)}, guarded|owned)
	rt.add(one+"/test", methods{http.MethodPost: s.testWebhook}, guarded)
	rt.add(one+"/rotate", methods{http.MethodPost: s.rotateWebhook}, guarded|owned)
	rt.add(one+"/rotate/finish", methods{http.MethodPost: s.changeWebhook(s.finishRotation)}, guarded|owned)
	rt.add(one+"/enable", methods{http.MethodPost: s.changeWebhook(s.enableWebhook)}, guarded)
}

func (s *Server) removeWebhook(ctx context.Context, name string, by delivery.Author) error {
	return s.Webhooks.Remove(ctx, name, by)
}

func (s *Server) finishRotation(ctx context.Context, name string, by delivery.Author) error {
	return s.Webhooks.FinishRotation(ctx, name, by)
}

func (s *Server) enableWebhook(ctx context.Context, name string, by delivery.Author) error {
	return s.Webhooks.Enable(ctx, name, by)
}
