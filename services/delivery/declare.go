package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/webhook"
)

// credentialLife is how long a worker's credential is good.
const credentialLife = 90 * 24 * time.Hour

// Minter makes credentials for the bus, as the text of a .creds file. It refuses
// the names of Usher's own parts.
type Minter interface {
	WorkerCredentials(name string, expires time.Time) ([]byte, error)
	AnswerCredentials(name string, expires time.Time) ([]byte, error)
}

// Instance is a running program of a hook, as it shows itself on the bus.
type Instance = events.Instance

// Presence sees which programs run.
type Presence interface {
	// Instances gives those of the hooks that are seen now; some work unseen.
	Instances(ctx context.Context, all []Hook) (map[string][]Instance, error)
}

// Declarations declare workers while everything runs: no file is edited and
// nothing is started again. All fields are needed; it is safe for concurrent use.
type Declarations struct {
	*Catalogue
	Durables Consumers
	Presence Presence
	Minter   Minter
	Counts   Counter
	Ledger   Ledger
	Names    Names
}

// Shown is a hook with what is known of it now.
type Shown struct {
	Hook
	// Consumer is nil if it has none, or the bus is away.
	Consumer *Consumer
	// Failures counts by state.
	Failures map[State]int64
	// Instances are the programs that are seen, where they were looked for.
	Instances []Instance
}

// Credential is the text of a .creds file, which is shown once.
type Credential = webhook.Secret

// Create declares a hook, with its durable consumer and its credential. A worker
// gets the events from then on. Errors that callers tell apart are [*Invalid],
// [ErrHookExists] and [*NameUsed].
//
// A durable that cannot be made at once is made by whoever leads, within half a minute.
func (d *Declarations) Create(ctx context.Context, h Hook, by Author) (Shown, Credential, error) {
	h.Secrets, h.Disabled, h.InFile = nil, "", false
	h.CreatedAt = d.Now().UTC()
	h.UpdatedAt = h.CreatedAt
	h.Types, h.Traits = unique(h.Types), unique(h.Traits)
	if err := d.check(h); err != nil {
		return Shown{}, Credential{}, &Invalid{Text: err.Error()}
	}
	credential, err := d.credential(h)
	if err != nil {
		return Shown{}, Credential{}, err
	}
	err = d.create(ctx, d.minted(h), d.acted(by, "hook.create", h.Name))
	if errors.Is(err, ErrUnready) {
		d.Log.WarnContext(ctx, "the durable consumer of a new hook is not there yet", "hook", h.Name, "err", err)
		err = nil
	}
	if err != nil {
		return Shown{}, Credential{}, err
	}
	shown, err := d.show(ctx, h.Name)
	return shown, credential, err
}

func (d *Declarations) check(h Hook) error {
	if err := h.Check(Known); err != nil {
		return err
	}
	if events.Reserved(h.Name) {
		return fmt.Errorf("%q is a part of Usher; another name, please", h.Name)
	}
	if h.Kind == Webhook || h.URL != "" {
		return errors.New("a webhook is declared with 'usher webhook add', at /admin/webhooks")
	}
	return nil
}

// credential makes a new credential of a hook.
func (d *Declarations) credential(h Hook) (Credential, error) {
	mint := d.Minter.WorkerCredentials
	if h.Kind == Answer {
		mint = d.Minter.AnswerCredentials
	}
	text, err := mint(h.Name, d.Now().Add(credentialLife))
	if err != nil {
		return Credential{}, fmt.Errorf("credential of %q: %w", h.Name, err)
	}
	return webhook.NewSecret(string(text)), nil
}

// Rotate makes a new credential. A former one stays good until it expires: who
// must end it at once removes the hook. It is also how a worker of the configuration file gets its
// credential.
func (d *Declarations) Rotate(ctx context.Context, name string, by Author) (Shown, Credential, error) {
	h, err := d.now(ctx, name)
	if err == nil {
		err = noWebhook(h)
	}
	if err != nil {
		return Shown{}, Credential{}, err
	}
	if h.InFile {
		return d.rotateInFile(ctx, h, by)
	}
	credential, err := d.credential(h)
	if err != nil {
		return Shown{}, Credential{}, err
	}
	err = d.update(ctx, name, d.acted(by, "hook.rotate", name), noWebhook, func(h *Hook) error {
		*h = d.minted(*h)
		return nil
	})
	if err != nil {
		return Shown{}, Credential{}, err
	}
	shown, err := d.show(ctx, name)
	return shown, credential, err
}

// noWebhook refuses a webhook: what it has is a secret and a worker of Usher's.
func noWebhook(h Hook) error {
	switch {
	case h.Kind != Webhook:
		return nil
	case h.fixed():
		return ErrFixed
	}
	return &Invalid{Text: fmt.Sprintf("%q is a webhook: it is changed and removed with 'usher webhook', at /admin/webhooks", h.Name)}
}

// rotateInFile stores nothing but until when the credential is good.
func (d *Declarations) rotateInFile(ctx context.Context, h Hook, by Author) (Shown, Credential, error) {
	credential, err := d.credential(h)
	if err != nil {
		return Shown{}, Credential{}, err
	}
	if err := d.Names.NameMinted(ctx, h.Name, d.minted(h).CredentialUntil, d.acted(by, "hook.rotate", h.Name)); err != nil {
		return Shown{}, Credential{}, fmt.Errorf("rotate hook %q: %w", h.Name, err)
	}
	shown, err := d.show(ctx, h.Name)
	return shown, credential, err
}

// Remove ends a hook: its credential is powerless at once, and its failures are
// forgotten. A hook that had the name again would give the credential its power
// back, see [NameUsed]. Where the bus is away its durable consumer goes, and the power of its
// credential with it, once the bus is back: whoever leads sees to it. It gives
// [ErrNoHook], [ErrFixed] and, of a webhook, [*Invalid], and touches nothing then.
func (d *Declarations) Remove(ctx context.Context, name string, by Author) error {
	return d.remove(ctx, name, d.acted(by, "hook.remove", name), noWebhook)
}

// Pause lets a hook get nothing for a time, or until it is resumed when the time
// is 0. Its events wait in the stream, for a week at most. It gives [ErrNoHook],
// [*Invalid], and [ErrUnready].
func (d *Declarations) Pause(ctx context.Context, name string, long time.Duration, by Author) (Shown, error) {
	until := d.Now().Add(long)
	if long <= 0 {
		until = d.Now().AddDate(100, 0, 0)
	}
	return d.pause(ctx, name, until, "hook.pause", by)
}

// Resume ends a pause.
func (d *Declarations) Resume(ctx context.Context, name string, by Author) (Shown, error) {
	return d.pause(ctx, name, time.Time{}, "hook.resume", by)
}

func (d *Declarations) pause(ctx context.Context, name string, until time.Time, action string, by Author) (Shown, error) {
	shown, err := d.show(ctx, name)
	if err != nil {
		return Shown{}, err
	}
	if shown.Kind == Answer {
		return Shown{}, &Invalid{Text: "an answering worker has no durable consumer to pause"}
	}
	if err := d.Ledger.Append(ctx, d.acted(by, action, name)); err != nil { // what cannot be told is not done
		return Shown{}, fmt.Errorf("pause hook %q: %w", name, err)
	}
	err = d.Durables.Pause(ctx, name, until)
	if errors.Is(err, events.ErrNoDurable) { // it was removed meanwhile, or is a new one
		if _, err := d.now(ctx, name); err != nil {
			return Shown{}, err
		}
		return Shown{}, ErrUnready
	}
	if err != nil {
		return Shown{}, fmt.Errorf("pause hook %q: %w", name, err)
	}
	return d.show(ctx, name)
}

// List gives all hooks, by name, those of the file and the built-in ones too, with
// the programs that are seen.
func (d *Declarations) List(ctx context.Context) ([]Shown, error) {
	list, err := d.list(ctx)
	if err == nil {
		d.see(ctx, list)
	}
	return list, err
}

// Declared is [Declarations.List] without the programs: it does not wait for them.
func (d *Declarations) Declared(ctx context.Context) ([]Shown, error) { return d.list(ctx) }

// see adds the programs that run.
func (d *Declarations) see(ctx context.Context, list []Shown) {
	all := make([]Hook, len(list))
	for n := range list {
		all[n] = list[n].Hook
	}
	seen, err := d.Presence.Instances(ctx, all)
	if err != nil {
		d.Log.WarnContext(ctx, "which workers run is not known", "err", err)
	}
	for n := range list {
		list[n].Instances = seen[list[n].Name]
	}
}

func (d *Declarations) list(ctx context.Context) ([]Shown, error) {
	all, err := d.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("list hooks: %w", err)
	}
	counts, err := d.Counts.FailureCounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list hooks: %w", err)
	}
	consumers, err := d.Durables.Consumers(ctx)
	if err != nil { // the bus is away: what is declared can be shown all the same
		d.Log.WarnContext(ctx, "the state of the hooks is not known", "err", err)
	}
	list := make([]Shown, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		shown := Shown{Hook: all[name], Failures: counts[name]}
		if c, ok := consumers[name]; ok {
			shown.Consumer = &c
		}
		list = append(list, shown)
	}
	return list, nil
}

// Show gives one hook with the programs that are seen, or [ErrNoHook].
func (d *Declarations) Show(ctx context.Context, name string) (Shown, error) {
	shown, err := d.show(ctx, name)
	if err != nil {
		return Shown{}, err
	}
	one := []Shown{shown}
	d.see(ctx, one)
	return one[0], nil
}

func (d *Declarations) show(ctx context.Context, name string) (Shown, error) {
	all, err := d.list(ctx)
	if err != nil {
		return Shown{}, err
	}
	at := slices.IndexFunc(all, func(s Shown) bool { return s.Name == name })
	if at < 0 {
		return Shown{}, ErrNoHook
	}
	return all[at], nil
}

func (d *Declarations) acted(by Author, action, target string) events.Event {
	return by.Acted(action, target, d.Now())
}
