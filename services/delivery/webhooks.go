package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/webhook"
)

// Disabled is why a webhook gets nothing: its endpoint answered 410.
const Disabled = "gone"

// ErrRotating says that the former secret of a webhook still signs: the rotation
// has to be finished before another one, which would end it unasked.
var ErrRotating = errors.New("delivery: the webhook rotates its secret already")

// WebhookSender makes one attempt at an endpoint, see [webhook.Client.Send].
type WebhookSender interface {
	Send(ctx context.Context, to webhook.Signed, m webhook.SignedMessage) (status int, err error)
}

// Webhooks declares webhooks. All fields are needed.
type Webhooks struct {
	*Catalogue
	Sender WebhookSender
}

// CheckWebhook says what is wrong with the declaration of a webhook, without
// showing its URL or secrets.
func CheckWebhook(h Hook) error {
	if err := h.Check(Known); err != nil {
		return err
	}
	if events.Reserved(h.Name) {
		return fmt.Errorf("name %q: it belongs to a part of Usher; another one, please", h.Name)
	}
	for _, secret := range h.Secrets {
		if err := webhook.CheckSigningSecret(secret); err != nil {
			return fmt.Errorf("secret: %w", err)
		}
	}
	return webhook.CheckURL(h.URL)
}

// List gives all webhooks, by name: those of the file and those of the table.
func (w *Webhooks) List(ctx context.Context) ([]Hook, error) {
	all, err := w.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	list := slices.Collect(maps.Values(all))
	list = slices.DeleteFunc(list, func(h Hook) bool { return h.URL == "" })
	slices.SortFunc(list, func(a, b Hook) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Webhook gives one webhook, or [ErrNoHook].
func (w *Webhooks) Webhook(ctx context.Context, name string) (Hook, error) {
	h, err := w.now(ctx, name)
	if err == nil && h.URL == "" {
		err = ErrNoHook
	}
	return h, err
}

// Add declares a webhook, of which Name, URL, Types and ReuseName count. It gets
// the events of the types from now on. Its secret is made here. The error is
// [*Invalid], [ErrHookExists], [*NameUsed], or [ErrUnready] with a webhook that is stored.
func (w *Webhooks) Add(ctx context.Context, wanted Hook, by Author) (Hook, error) {
	h := Hook{
		Name: wanted.Name, Kind: Webhook, Types: unique(wanted.Types), URL: wanted.URL, ReuseName: wanted.ReuseName,
		Secrets: []webhook.Secret{webhook.NewSigningSecret()}, CreatedAt: w.Now(), UpdatedAt: w.Now(),
	}
	if err := CheckWebhook(h); err != nil {
		return Hook{}, &Invalid{Text: err.Error()}
	}
	err := w.create(ctx, h, by.Acted("webhook.add", h.Name, w.Now()))
	if err != nil && !errors.Is(err, ErrUnready) {
		return Hook{}, err
	}
	return h, err
}

// Rotate gives a webhook a new secret, which it returns. The former one goes on
// signing too, until [Webhooks.FinishRotation]; before that the error is
// [ErrRotating]. Others are [ErrNoHook] and [ErrFixed].
func (w *Webhooks) Rotate(ctx context.Context, name string, by Author) (secret webhook.Secret, err error) {
	secret = webhook.NewSigningSecret()
	err = w.update(ctx, name, by.Acted("webhook.rotate", name, w.Now()), onlyWebhook, func(h *Hook) error {
		if len(h.Secrets) > 1 {
			return ErrRotating
		}
		h.Secrets = append([]webhook.Secret{secret}, h.Secrets...)
		return nil
	})
	return secret, err
}

// FinishRotation ends all secrets of a webhook but the newest. The error is
// [ErrNoHook] or [ErrFixed].
func (w *Webhooks) FinishRotation(ctx context.Context, name string, by Author) error {
	return w.update(ctx, name, by.Acted("webhook.rotate.finish", name, w.Now()), onlyWebhook, func(h *Hook) error {
		h.Secrets = h.Secrets[:1]
		return nil
	})
}

// onlyWebhook takes a worker for no webhook.
func onlyWebhook(h Hook) error {
	if h.URL == "" {
		return ErrNoHook
	}
	return nil
}

// Enable ends that a webhook is disabled, also of one in the file. It gets what
// has come meanwhile, as far as the stream keeps it. The error is [ErrNoHook].
func (w *Webhooks) Enable(ctx context.Context, name string, by Author) error {
	return w.disable(ctx, name, "", by.Acted("webhook.enable", name, w.Now()), func(Hook) bool { return true })
}

// DisableWebhook disables a webhook whose endpoint is at that URL and has gone.
// One that is disabled already, has another URL by now or is no more is left alone.
func (w *Webhooks) DisableWebhook(ctx context.Context, name, url string) error {
	said := event(system, events.HookDisabled{Hook: name, Reason: Disabled}, w.Now())
	err := w.disable(ctx, name, Disabled, said, func(h Hook) bool { return h.URL == url })
	if errors.Is(err, ErrNoHook) {
		return nil
	}
	return err
}

// Remove removes a webhook with all that it has failed at, as
// [Declarations.Remove] does a worker. The error is [ErrNoHook] or [ErrFixed].
func (w *Webhooks) Remove(ctx context.Context, name string, by Author) error {
	return w.remove(ctx, name, by.Acted("webhook.remove", name, w.Now()), onlyWebhook)
}

// WebhookTest is what came of a test.
type WebhookTest struct {
	EventID string
	Status  int // 0 if there was no answer
	Took    time.Duration
	// Failed says why the endpoint has not taken it, empty if it has.
	Failed string
}

// testEvent is sent to one endpoint and is on no bus.
type testEvent struct {
	Webhook string `json:"webhook"`
}

// EventType is "webhook.test".
func (testEvent) EventType() string { return "webhook.test" }

// Test sends a signed event of type webhook.test to an endpoint, once, also if
// the webhook is disabled.
func (w *Webhooks) Test(ctx context.Context, name string, by Author) (WebhookTest, error) {
	h, err := w.Webhook(ctx, name)
	if err != nil {
		return WebhookTest{}, err
	}
	e := event(by, testEvent{Webhook: name}, w.Now())
	m, err := webhook.MessageOf(e)
	if err != nil {
		return WebhookTest{}, err
	}
	began := time.Now()
	status, err := w.Sender.Send(ctx, h.Signed(), m)
	t := WebhookTest{EventID: e.ID, Status: status, Took: time.Since(began)}
	if err != nil {
		t.Failed = err.Error()
	}
	return t, nil
}

// Signed is a webhook's endpoint.
func (h Hook) Signed() webhook.Signed {
	return webhook.Signed{Name: h.Name, URL: h.URL, Secrets: h.Secrets}
}
