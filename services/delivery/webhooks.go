package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/webhook"
)

// Disabled is why a webhook gets nothing: its endpoint answered 410.
const Disabled = "gone"

// Errors of [Webhooks] that callers tell apart.
var (
	// ErrInFile says that a webhook can only be changed in the configuration file.
	ErrInFile = errors.New("delivery: the webhook is declared in the configuration file")
	// ErrRotating says that the former secret of a webhook still signs: the rotation
	// has to be finished before another one, which would end it unasked.
	ErrRotating = errors.New("delivery: the webhook rotates its secret already")
	// ErrUnready says that a webhook is stored and its durable consumer is not there
	// yet: it is made later, and no event is lost.
	ErrUnready = errors.New("delivery: the webhook is stored; the bus does not have it yet")
)

// WebhookSender makes one attempt at an endpoint, see [webhook.Client.Send].
type WebhookSender interface {
	Send(ctx context.Context, to webhook.Signed, m webhook.SignedMessage) (status int, err error)
}

// Webhooks declares webhooks. All fields are needed but Changed.
type Webhooks struct {
	Hooks Hooks
	// InFile gives those that the configuration file declares, as it is in force.
	InFile func() []Hook
	// Taken tells whether a name is that of a hook which is built in.
	Taken  func(name string) bool
	Bus    Provisioner
	Sender WebhookSender
	Now    func() time.Time
	// Changed is told that a webhook has changed; nil is fine.
	Changed func()

	changing sync.Mutex // held by who reads and writes
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
	table, err := w.Hooks.Hooks(ctx)
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	return DeclaredWebhooks(w.InFile(), table), nil
}

// DeclaredWebhooks are the webhooks of a file and of the table of hooks, by
// name. A name that both have is the file's. Of a webhook in the file the table
// holds no more than that it is disabled, in a row without secrets.
func DeclaredWebhooks(inFile, table []Hook) []Hook {
	all := slices.Clone(inFile)
	for _, row := range table {
		at := slices.IndexFunc(all, func(h Hook) bool { return h.Name == row.Name })
		switch {
		case row.Kind != Webhook:
		case at >= 0 && row.URL == all[at].URL && len(row.Secrets) == 0:
			all[at].Disabled = row.Disabled
		case at < 0 && len(row.Secrets) > 0:
			all = append(all, row)
		}
	}
	slices.SortFunc(all, func(a, b Hook) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Webhook gives one webhook, or [ErrNoHook].
func (w *Webhooks) Webhook(ctx context.Context, name string) (Hook, error) {
	all, err := w.List(ctx)
	if err != nil {
		return Hook{}, err
	}
	at := slices.IndexFunc(all, func(h Hook) bool { return h.Name == name })
	if at < 0 {
		return Hook{}, ErrNoHook
	}
	return all[at], nil
}

// Add declares a webhook, of which Name, URL, Types and ReuseName count. It gets
// the events of the types from now on. Its secret is made here. The error is [*Invalid], [ErrHookExists], [*NameUsed], or
// [ErrUnready] with a webhook that is stored.
func (w *Webhooks) Add(ctx context.Context, wanted Hook, by Author) (Hook, error) {
	name, types := wanted.Name, slices.Compact(slices.Sorted(slices.Values(wanted.Types)))
	h := Hook{
		Name: name, Kind: Webhook, Types: types, URL: wanted.URL, ReuseName: wanted.ReuseName,
		Secrets: []webhook.Secret{webhook.NewSigningSecret()}, CreatedAt: w.Now(), UpdatedAt: w.Now(),
	}
	if err := CheckWebhook(h); err != nil {
		return Hook{}, &Invalid{Text: err.Error()}
	}
	if w.Taken(name) || slices.ContainsFunc(w.InFile(), func(f Hook) bool { return f.Name == name }) {
		return Hook{}, ErrHookExists
	}
	if err := w.Hooks.CreateHook(ctx, h, by.acted("webhook.add", name, w.Now())); err != nil {
		return Hook{}, fmt.Errorf("add webhook: %w", err)
	}
	defer w.changed()
	if err := w.Bus.Provision(ctx, h); err != nil {
		return h, fmt.Errorf("%w: %w", ErrUnready, err)
	}
	return h, nil
}

// Rotate gives a webhook a new secret, which it returns. The former one goes on
// signing too, until [Webhooks.FinishRotation]; before that the error is [ErrRotating].
func (w *Webhooks) Rotate(ctx context.Context, name string, by Author) (secret webhook.Secret, err error) {
	secret = webhook.NewSigningSecret()
	err = w.change(ctx, name, by.acted("webhook.rotate", name, w.Now()), func(h *Hook) error {
		if len(h.Secrets) > 1 {
			return ErrRotating
		}
		h.Secrets = append([]webhook.Secret{secret}, h.Secrets...)
		return nil
	})
	return secret, err
}

// FinishRotation ends all secrets of a webhook but the newest.
func (w *Webhooks) FinishRotation(ctx context.Context, name string, by Author) error {
	return w.change(ctx, name, by.acted("webhook.rotate.finish", name, w.Now()), func(h *Hook) error {
		h.Secrets = h.Secrets[:1]
		return nil
	})
}

// change changes a webhook of the table. The error is [ErrNoHook], [ErrInFile]
// or that of change, with which nothing is stored.
func (w *Webhooks) change(ctx context.Context, name string, said events.Event, change func(*Hook) error) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	h, err := w.Webhook(ctx, name)
	switch {
	case err != nil:
		return err
	case h.InFile:
		return ErrInFile
	}
	if err := change(&h); err != nil {
		return err
	}
	return w.update(ctx, h, said)
}

// update stores a webhook; of one in the file no more than that it is disabled,
// or is not any more.
func (w *Webhooks) update(ctx context.Context, h Hook, said events.Event) error {
	h.UpdatedAt = w.Now()
	if h.InFile {
		h.Secrets = nil
	}
	if err := w.Hooks.UpdateHook(ctx, h, said); err != nil {
		return fmt.Errorf("webhook %s: %w", h.Name, err)
	}
	w.changed()
	return nil
}

// Enable ends that a webhook is disabled. It gets what has come meanwhile, as
// far as the stream keeps it.
func (w *Webhooks) Enable(ctx context.Context, name string, by Author) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	h, err := w.Webhook(ctx, name)
	if err != nil || h.Disabled == "" {
		return err
	}
	h.Disabled = ""
	return w.update(ctx, h, by.acted("webhook.enable", name, w.Now()))
}

// DisableWebhook disables a webhook whose endpoint is at that URL and has gone.
// One that is disabled already, has another URL by now or is no more is left alone.
func (w *Webhooks) DisableWebhook(ctx context.Context, name, url string) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	h, err := w.Webhook(ctx, name)
	if errors.Is(err, ErrNoHook) || err == nil && (h.Disabled != "" || h.URL != url) {
		return nil
	}
	if err != nil {
		return err
	}
	said := Author{}.event(events.HookDisabled{Hook: name, Reason: Disabled}, w.Now())
	h.Disabled = Disabled
	err = w.update(ctx, h, said)
	if h.InFile && errors.Is(err, ErrNoHook) {
		h.Secrets = nil
		err = w.Hooks.CreateHook(ctx, h, said)
		w.changed()
	}
	return err
}

// Remove removes a webhook with all that it has failed at. The error is
// [ErrNoHook] or [ErrInFile].
func (w *Webhooks) Remove(ctx context.Context, name string, by Author) error {
	h, err := w.Webhook(ctx, name)
	switch {
	case err != nil:
		return err
	case h.InFile:
		return ErrInFile
	}
	if err := w.Hooks.DeleteHook(ctx, name, by.acted("webhook.remove", name, w.Now())); err != nil {
		return fmt.Errorf("remove webhook: %w", err)
	}
	w.changed()
	return w.Bus.Remove(ctx, name)
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
	e := by.event(testEvent{Webhook: name}, w.Now())
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

func (w *Webhooks) changed() {
	if w.Changed != nil {
		w.Changed()
	}
}

// acted is the event of what somebody did.
func (a Author) acted(action, target string, now time.Time) events.Event {
	return a.event(events.AdminActed{Action: action, Target: target}, now)
}
