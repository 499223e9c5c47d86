package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// office has all that declarations need, as fakes.
type office struct {
	declarations *delivery.Declarations
	hooks        map[string]delivery.Hook
	acted        []string // the events of the commits
	durables     []string // what was done to them
	minted       []string // names that are not in the table, and until when
	expires      time.Time
	log          bytes.Buffer

	mintErr, busErr, ledgerErr, pauseErr error

	removing bool // crm is removed while it is paused
}

func newOffice() *office {
	o := &office{hooks: map[string]delivery.Hook{}}
	o.declarations = &delivery.Declarations{
		Durables: consumers{o}, Presence: o, Minter: o, Counts: o, Ledger: o, Names: o,
		Catalogue: &delivery.Catalogue{
			Table: o, Bus: consumers{o},
			Fixed: func() map[string]delivery.Hook {
				return map[string]delivery.Hook{
					"built": {Name: "built", Kind: delivery.Worker}, "filed": {Name: "filed", Kind: delivery.Worker, InFile: true},
					"webhook-old": {Name: "webhook-old", Kind: delivery.Webhook}, "endpoint": {Name: "endpoint", Kind: delivery.Webhook, InFile: true, URL: crmURL},
				}
			},
			Log: slog.New(slog.NewTextHandler(&o.log, nil)),
			Now: func() time.Time { return monday },
		},
	}
	return o
}

var (
	monday = time.Date(2026, 1, 5, 3, 4, 5, 0, time.UTC)
	boss   = delivery.Author{Actor: "admin:boss"}
)

func (o *office) Append(_ context.Context, e events.Event) error {
	if o.ledgerErr != nil {
		return o.ledgerErr
	}
	o.acted = append(o.acted, fmt.Sprintf("%s %s %s", e.Type, e.Actor, e.Data))
	return nil
}

func (o *office) Hooks(context.Context) (all []delivery.Hook, _ error) {
	for _, h := range o.hooks {
		all = append(all, h)
	}
	return all, nil
}

func (o *office) CreateHook(ctx context.Context, h delivery.Hook, e events.Event) error {
	if _, ok := o.hooks[h.Name]; ok {
		return delivery.ErrHookExists
	}
	o.hooks[h.Name] = h
	return o.Append(ctx, e)
}

func (o *office) UpdateHook(ctx context.Context, former time.Time, h delivery.Hook, e events.Event) error {
	if is, ok := o.hooks[h.Name]; !ok || !is.UpdatedAt.Equal(former) {
		return delivery.ErrHookChanged
	}
	o.hooks[h.Name] = h
	return o.Append(ctx, e)
}

func (o *office) DeleteHook(ctx context.Context, name string, e events.Event) error {
	if _, ok := o.hooks[name]; !ok {
		return delivery.ErrNoHook
	}
	delete(o.hooks, name)
	return o.Append(ctx, e)
}

func (o *office) NameMinted(ctx context.Context, name string, until time.Time, e events.Event) error {
	o.minted = append(o.minted, name+" "+until.Format(time.DateOnly))
	return o.Append(ctx, e)
}

func (o *office) RemovedNames(context.Context) (map[string]time.Time, error) { return nil, nil }

func (o *office) FailureCounts(context.Context) (map[string]map[delivery.State]int64, error) {
	return map[string]map[delivery.State]int64{"crm": {delivery.Dead: 3}}, nil
}

func (o *office) WorkerCredentials(name string, expires time.Time) ([]byte, error) {
	o.expires = expires
	return []byte("worker creds of " + name), o.mintErr
}

func (o *office) AnswerCredentials(name string, expires time.Time) ([]byte, error) {
	o.expires = expires
	return []byte("answer creds of " + name), o.mintErr
}

// consumers are those of the office's bus.
type consumers struct{ *office }

func (c consumers) did(what string, args ...any) error {
	if c.busErr == nil {
		c.durables = append(c.durables, fmt.Sprintf(what, args...))
	}
	return c.busErr
}

func (c consumers) Provision(_ context.Context, h delivery.Hook) error {
	return c.did("provision %s since %s", h.Name, h.CreatedAt.Format(time.RFC3339))
}
func (c consumers) Remove(_ context.Context, name string) error { return c.did("remove %s", name) }
func (c consumers) Pause(_ context.Context, name string, until time.Time) error {
	if c.removing {
		delete(c.hooks, name)
	}
	if c.pauseErr != nil {
		return c.pauseErr
	}
	return c.did("pause %s %s", name, until.Format(time.RFC3339))
}

func (c consumers) Consumers(context.Context) (map[string]delivery.Consumer, error) {
	return map[string]delivery.Consumer{"crm": {Pending: 7}}, c.busErr
}

func (o *office) Instances(_ context.Context, all []delivery.Hook) (map[string][]delivery.Instance, error) {
	return map[string][]delivery.Instance{"crm": {{ID: "one", Version: "1.0.0"}}}, o.busErr
}

func crm() delivery.Hook {
	return delivery.Hook{Name: "crm", Kind: delivery.Worker, Types: []string{"identity.created"}, CreatedAt: monday}
}

func TestDeclareCreateWorker(t *testing.T) {
	t.Parallel()
	o := newOffice()
	shown, access, err := o.declarations.Create(t.Context(), crm(), boss)
	if err != nil || access.Reveal() != "worker creds of crm" {
		t.Fatalf("Create = %v, %v, want the credential alone", access, err)
	}
	if shown.Consumer == nil || shown.Consumer.Pending != 7 || shown.Failures[delivery.Dead] != 3 || !shown.CreatedAt.Equal(monday) {
		t.Errorf("Create shows %+v", shown)
	}
	if want := []string{"provision crm since 2026-01-05T03:04:05Z"}; !slices.Equal(o.durables, want) {
		t.Errorf("durables: %q, want %q", o.durables, want)
	}
	if !o.expires.Equal(monday.AddDate(0, 0, 90)) {
		t.Errorf("the credential expires %s, want in 90 days", o.expires)
	}
	o.wantActed(t, "hook.create")
	if _, _, err := o.declarations.Create(t.Context(), crm(), boss); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("Create again = %v, want ErrHookExists", err)
	}
	if strings.Contains(o.log.String()+fmt.Sprint(o.acted), "creds of") {
		t.Errorf("the credential is in the log or an event: %s %s", &o.log, o.acted)
	}
}

func TestDeclareCreateAnswer(t *testing.T) {
	t.Parallel()
	o := newOffice()
	_, access, err := o.declarations.Create(t.Context(), delivery.Hook{Name: "gate", Kind: delivery.Answer}, boss)
	if err != nil || access.Reveal() != "answer creds of gate" || len(o.durables) != 0 {
		t.Errorf("Create = %v, durables %q, want an answering credential and no durable", err, o.durables)
	}
	var invalid *delivery.Invalid
	if _, err := o.declarations.Pause(t.Context(), "gate", 0, boss); !errors.As(err, &invalid) {
		t.Errorf("Pause = %v, want *Invalid", err)
	}
}

func TestDeclareRefusals(t *testing.T) {
	t.Parallel()
	types := []string{"identity.created"}
	for _, h := range []delivery.Hook{
		{Name: "CRM", Kind: delivery.Worker, Types: types},
		{Name: strings.Repeat("a", 65), Kind: delivery.Worker, Types: types},
		{Name: "crm", Kind: "other", Types: types},
		{Name: "crm", Kind: delivery.Worker},
		{Name: "crm", Kind: delivery.Worker, Types: []string{"no.such"}},
		{Name: "crm", Kind: delivery.Worker, Types: types, URL: "https://a.example"},
		{Name: "session", Kind: delivery.Worker, Types: types},
		{Name: "crm", Kind: delivery.Worker, Types: types, Traits: []string{"email", ""}},
		{Name: "crm", Kind: delivery.Worker, Types: types, Traits: []string{"e\x00mail"}},
		{Name: "crm", Kind: delivery.Worker, Types: types, Traits: []string{"name.first"}},
		{Name: "crm", Kind: delivery.Worker, Types: types, Traits: []string{strings.Repeat("a", 65)}},
		{Name: "gate", Kind: delivery.Answer, Traits: []string{"a b"}},
		{Name: "console", Kind: delivery.Answer},
		{Name: "crm", Kind: delivery.Webhook, Types: types},
		{Name: "crm", Kind: delivery.Webhook, Types: types, URL: "http://a.example"},
		{Name: "crm", Kind: delivery.Webhook, Types: types, URL: "https://user@a.example"},
		{Name: "crm", Kind: delivery.Webhook, Types: types, URL: "https://a.example/#x"},
	} {
		o := newOffice()
		var invalid *delivery.Invalid
		if _, _, err := o.declarations.Create(t.Context(), h, boss); !errors.As(err, &invalid) {
			t.Errorf("Create(%+v) = %v, want *Invalid", h, err)
		}
		o.wantNothing(t)
	}
}

func TestDeclareFixedHooksStay(t *testing.T) {
	t.Parallel()
	o := newOffice()
	h := crm()
	h.Name = "built"
	if _, _, err := o.declarations.Create(t.Context(), h, boss); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("Create = %v, want ErrHookExists", err)
	}
	for _, name := range []string{"built", "webhook-old", "endpoint"} {
		if _, _, err := o.declarations.Rotate(t.Context(), name, boss); !errors.Is(err, delivery.ErrFixed) {
			t.Errorf("Rotate(%s) = %v, want ErrFixed", name, err)
		}
	}
	for _, name := range []string{"built", "filed", "webhook-old", "endpoint"} {
		if err := o.declarations.Remove(t.Context(), name, boss); !errors.Is(err, delivery.ErrFixed) {
			t.Errorf("Remove(%s) = %v, want ErrFixed", name, err)
		}
	}
	o.wantNothing(t)
	if _, credential, err := o.declarations.Rotate(t.Context(), "filed", boss); err != nil || credential.Reveal() != "worker creds of filed" {
		t.Errorf("Rotate of a worker of the file = %v, want its credential", err)
	}
	o.wantActed(t, "hook.rotate")
}

// A name that nobody has declared may be that of a durable of another version.
func TestDeclareRemoveTouchesOnlyWhatIsDeclared(t *testing.T) {
	t.Parallel()
	o := newOffice()
	for _, name := range []string{"nobody", "session", "courier", "../x"} {
		if err := o.declarations.Remove(t.Context(), name, boss); !errors.Is(err, delivery.ErrNoHook) {
			t.Errorf("Remove(%q) = %v, want ErrNoHook", name, err)
		}
	}
	o.wantNothing(t)
}

// TestDeclareWhatCannotBeToldIsNotDone is S82 for pauses.
func TestDeclareWhatCannotBeToldIsNotDone(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.hooks["crm"], o.ledgerErr = crm(), errors.New("the disk is full")
	if _, err := o.declarations.Pause(t.Context(), "crm", time.Hour, boss); !errors.Is(err, o.ledgerErr) || len(o.durables) > 0 {
		t.Errorf("Pause = %v, durables %q, want the error and no pause", err, o.durables)
	}
}

func TestDeclareWithoutCredentialLeavesNothing(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.mintErr = errors.New("no keys")
	if _, _, err := o.declarations.Create(t.Context(), crm(), boss); err == nil {
		t.Error("Create without keys = nil")
	}
	o.wantNothing(t)
}

func TestDeclareWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.busErr = errors.New("the bus is away")
	shown, access, err := o.declarations.Create(t.Context(), crm(), boss)
	if err != nil || access.Reveal() == "" || len(o.hooks) != 1 {
		t.Errorf("Create = %v, %v, want the hook and its credential", shown, err)
	}
	if !strings.Contains(o.log.String(), "is not there yet") || !strings.Contains(o.log.String(), "hook=crm") {
		t.Errorf("log: %s, want the missing durable", &o.log)
	}
	if err := o.declarations.Remove(t.Context(), "crm", boss); err != nil || len(o.hooks) != 0 {
		t.Errorf("Remove = %v, want it done", err)
	}
	if !strings.Contains(o.log.String(), "is deleted once the bus is") {
		t.Errorf("log: %s, want the durable that is left", &o.log)
	}
	o.wantActed(t, "hook.create", "hook.remove")
}

func TestDeclareRotate(t *testing.T) {
	t.Parallel()
	o := newOffice()
	if _, _, err := o.declarations.Create(t.Context(), crm(), boss); err != nil {
		t.Fatal(err)
	}
	o.hooks["sink"] = sink()
	shown, credential, err := o.declarations.Rotate(t.Context(), "crm", boss)
	if err != nil || shown.Name != "crm" || credential.Reveal() != "worker creds of crm" {
		t.Errorf("Rotate = %+v, %v, want a new credential", shown, err)
	}
	if _, _, err := o.declarations.Rotate(t.Context(), "nobody", boss); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Rotate of none = %v, want ErrNoHook", err)
	}
	var invalid *delivery.Invalid
	if _, _, err := o.declarations.Rotate(t.Context(), "sink", boss); !errors.As(err, &invalid) {
		t.Errorf("Rotate of a webhook = %v, want *Invalid", err)
	}
	if err := o.declarations.Remove(t.Context(), "sink", boss); !errors.As(err, &invalid) || !strings.Contains(invalid.Text, `"sink" is a webhook`) {
		t.Errorf("Remove of a webhook = %v, want *Invalid", err)
	}
	o.wantActed(t, "hook.create", "hook.rotate")
}

func sink() delivery.Hook {
	return delivery.Hook{
		Name: "sink", Kind: delivery.Webhook, Types: []string{"identity.created"}, URL: "https://a.example/in",
		Secrets: []webhook.Secret{webhook.NewSigningSecret()}, CreatedAt: monday,
	}
}

// What a caller says of a new hook is its declaration, and nothing else.
func TestDeclareTakesOnlyTheDeclaration(t *testing.T) {
	t.Parallel()
	o := newOffice()
	h := crm()
	h.Secrets, h.Disabled, h.InFile, h.UpdatedAt = sink().Secrets, "gone", true, monday.Add(-time.Hour)
	h.Types, h.Traits = []string{"mail.sent", "identity.created", "mail.sent"}, []string{"email", "email"}
	if _, _, err := o.declarations.Create(t.Context(), h, boss); err != nil {
		t.Fatal(err)
	}
	want := crm()
	want.Types, want.Traits, want.UpdatedAt = []string{"mail.sent", "identity.created"}, []string{"email"}, monday
	want.CredentialUntil = monday.AddDate(0, 0, 90)
	if diff := cmp.Diff(want, o.hooks["crm"]); diff != "" {
		t.Errorf("the hook that is stored differs (-want +got):\n%s", diff)
	}
}

// A durable that goes, or is not there yet, while it is paused was an error of the server.
func TestDeclarePauseRacesWithRemove(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.hooks["crm"], o.pauseErr = crm(), fmt.Errorf("pause: %w", events.ErrNoDurable)
	if _, err := o.declarations.Pause(t.Context(), "crm", 0, boss); !errors.Is(err, delivery.ErrUnready) {
		t.Errorf("Pause of a hook without a durable = %v, want ErrUnready", err)
	}
	o.removing = true
	if _, err := o.declarations.Resume(t.Context(), "crm", boss); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Resume of a hook that is removed meanwhile = %v, want ErrNoHook", err)
	}
}

func TestDeclarePauseAndResume(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.hooks["crm"] = crm()
	ctx := t.Context()
	_, err1 := o.declarations.Pause(ctx, "crm", time.Hour, boss)
	_, err2 := o.declarations.Pause(ctx, "crm", 0, boss)
	_, err3 := o.declarations.Resume(ctx, "crm", boss)
	want := []string{"pause crm 2026-01-05T04:04:05Z", "pause crm 2126-01-05T03:04:05Z", "pause crm 0001-01-01T00:00:00Z"}
	if err := errors.Join(err1, err2, err3); err != nil || !slices.Equal(o.durables, want) {
		t.Errorf("durables: %q, %v, want %q", o.durables, err, want)
	}
	if _, err := o.declarations.Pause(ctx, "nobody", 0, boss); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Pause of none = %v, want ErrNoHook", err)
	}
	o.wantActed(t, "hook.pause", "hook.pause", "hook.resume")
}

func TestDeclareList(t *testing.T) {
	t.Parallel()
	o := newOffice()
	o.hooks["crm"], o.hooks["a"] = crm(), delivery.Hook{Name: "a", Kind: delivery.Answer}
	all, err := o.declarations.List(t.Context())
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if want := []string{"a", "built", "crm", "endpoint", "filed", "webhook-old"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("List = %q, %v, want %q", names, err, want)
	}
	one, err := o.declarations.Show(t.Context(), "crm")
	if err != nil || len(one.Instances) != 1 || len(all) != 6 || len(all[2].Instances) != 1 || len(all[1].Instances) != 0 {
		t.Errorf("Show = %+v, %v, want the program that runs, as in the list: %+v", one, err, all)
	}
}

// wantActed checks which actions were stored, each by boss.
func (o *office) wantActed(t *testing.T, actions ...string) {
	t.Helper()
	ok := len(o.acted) == len(actions)
	for n := 0; ok && n < len(actions); n++ {
		ok = strings.HasPrefix(o.acted[n], "admin.acted admin:boss ") && strings.Contains(o.acted[n], `"`+actions[n]+`"`)
	}
	if !ok {
		t.Errorf("events: %q, want %q", o.acted, actions)
	}
}

func (o *office) wantNothing(t *testing.T) {
	t.Helper()
	if len(o.durables)+len(o.acted)+len(o.hooks) != 0 {
		t.Errorf("left behind: %q, %q, %v", o.durables, o.acted, o.hooks)
	}
}
