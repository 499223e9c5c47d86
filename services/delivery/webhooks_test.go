package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

// declarations are a table of hooks, a file, a bus and an endpoint in memory.
type declarations struct {
	mu      sync.Mutex
	rows    []delivery.Hook
	reads   int
	before  func() // is called once, before a change of a row
	inFile  []delivery.Hook
	said    []string // type, actor, and what of it
	bus     []string
	sent    []webhook.SignedMessage
	changes atomic.Int64
	broken  error // of the bus
	answer  func() (int, error)
}

func (d *declarations) say(e events.Event) {
	d.said = append(d.said, e.Type+" "+e.Actor+" "+string(e.Data))
}

// others lets another process change what this one has read.
func (d *declarations) others() {
	if before := d.before; before != nil {
		d.before = nil
		before()
	}
}

func (d *declarations) Hooks(context.Context) ([]delivery.Hook, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	return slices.Clone(d.rows), nil
}

func (d *declarations) at(name string) int {
	return slices.IndexFunc(d.rows, func(h delivery.Hook) bool { return h.Name == name })
}

func (d *declarations) CreateHook(_ context.Context, h delivery.Hook, e events.Event) error {
	d.others()
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.at(h.Name); n >= 0 && (d.rows[n].Kind != delivery.Webhook || len(d.rows[n].Secrets) > 0 || len(h.Secrets) == 0 && d.rows[n].URL == h.URL) {
		return delivery.ErrHookExists
	}
	d.rows = slices.DeleteFunc(d.rows, func(row delivery.Hook) bool { return row.Name == h.Name })
	d.rows = append(d.rows, h)
	d.say(e)
	return nil
}

func (d *declarations) UpdateHook(_ context.Context, former time.Time, h delivery.Hook, e events.Event) error {
	d.others()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.at(h.Name)
	if n < 0 || !d.rows[n].UpdatedAt.Equal(former) {
		return delivery.ErrHookChanged
	}
	d.rows[n] = h
	d.say(e)
	return nil
}

func (d *declarations) DeleteHook(_ context.Context, name string, e events.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.at(name)
	if n < 0 {
		return delivery.ErrNoHook
	}
	d.rows = slices.Delete(d.rows, n, n+1)
	d.say(e)
	return nil
}

func (d *declarations) Provision(_ context.Context, h delivery.Hook) error {
	d.bus = append(d.bus, "ensure "+h.Name+" since "+h.CreatedAt.Format(time.RFC3339))
	return d.broken
}

func (d *declarations) Remove(_ context.Context, name string) error {
	d.bus = append(d.bus, "remove "+name)
	return d.broken
}

func (d *declarations) Send(_ context.Context, to webhook.Signed, m webhook.SignedMessage) (int, error) {
	d.sent = append(d.sent, m)
	return d.answer()
}

func newWebhooks() (*declarations, *delivery.Webhooks) {
	d := &declarations{answer: func() (int, error) { return 204, nil }}
	return d, &delivery.Webhooks{Catalogue: d.catalogue(), Sender: d}
}

// catalogue is that of a process.
func (d *declarations) catalogue() *delivery.Catalogue {
	return &delivery.Catalogue{
		Table: d, Bus: d, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler), Changed: func() { d.changes.Add(1) },
		Fixed: func() map[string]delivery.Hook {
			all := map[string]delivery.Hook{"taken": {Name: "taken", Kind: delivery.Webhook}}
			for _, h := range d.inFile {
				all[h.Name] = h
			}
			return all
		},
	}
}

var (
	crmURL    = "https://crm.example/in?key=hidden"
	crmEvents = []string{"identity.deleted", "identity.created", "identity.created"}
)

func TestWebhooksAreAddedRotatedAndRemoved(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	h, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna)
	if err != nil || len(h.Secrets) != 1 || webhook.CheckSigningSecret(h.Secrets[0]) != nil || !slices.Equal(h.Types, []string{"identity.deleted", "identity.created"}) {
		t.Fatalf("Add = %+v, %v, want it with a secret and its types", h, err)
	}
	first := h.Secrets[0].Reveal()
	if _, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("Add again = %v, want ErrHookExists", err)
	}
	rotated, err := w.Rotate(t.Context(), "crm", anna)
	if err != nil {
		t.Fatal(err)
	}
	second := rotated.Reveal()
	// The endpoint may still know the first one alone: another one would end it.
	if _, err := w.Rotate(t.Context(), "crm", anna); !errors.Is(err, delivery.ErrRotating) {
		t.Errorf("Rotate again = %v, want ErrRotating", err)
	}
	if got := secretsOf(d.rows[0]); !slices.Equal(got, []string{second, first}) || first == second {
		t.Error("while it rotates the secrets are not the new one and the former")
	}
	if err := w.FinishRotation(t.Context(), "crm", anna); err != nil || !slices.Equal(secretsOf(d.rows[0]), []string{second}) {
		t.Errorf("FinishRotation = %v, want the newest secret alone", err)
	}
	if err := w.Remove(t.Context(), "crm", anna); err != nil || len(d.rows) > 0 {
		t.Errorf("Remove = %v, %d rows are left, want none", err, len(d.rows))
	}
	want := []string{
		`admin.acted admin:anna {"action":"webhook.add","target":"crm"}`,
		`admin.acted admin:anna {"action":"webhook.rotate","target":"crm"}`,
		`admin.acted admin:anna {"action":"webhook.rotate.finish","target":"crm"}`,
		`admin.acted admin:anna {"action":"webhook.remove","target":"crm"}`,
	}
	if diff := cmp.Diff(want, d.said); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ensure crm since 2026-11-24T12:00:00Z", "remove crm"}, d.bus); diff != "" {
		t.Errorf("the bus was told (-want +got):\n%s", diff)
	}
	if n := d.changes.Load(); n != 4 {
		t.Errorf("%d changes were told, want 4", n)
	}
	for name, err := range map[string]error{
		"Remove": w.Remove(t.Context(), "crm", anna), "Enable": w.Enable(t.Context(), "crm", anna), "FinishRotation": w.FinishRotation(t.Context(), "crm", anna),
	} {
		if !errors.Is(err, delivery.ErrNoHook) {
			t.Errorf("%s of none = %v, want ErrNoHook", name, err)
		}
	}
}

func secretsOf(h delivery.Hook) (texts []string) {
	for _, s := range h.Secrets {
		texts = append(texts, s.Reveal())
	}
	return texts
}

func TestWebhooksThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		name, url string
		types     []string
		want      string
	}{
		"name":          {"Crm", crmURL, crmEvents, "name"},
		"part":          {"identity", crmURL, crmEvents, "part of Usher"},
		"web_hook":      {"webhook-crm", crmURL, crmEvents, "part of Usher"},
		"scheme":        {"crm", "ftp://crm.example/hidden", crmEvents, "url"},
		"password":      {"crm", "https://u:hidden@crm.example", crmEvents, "url"},
		"no types":      {"crm", crmURL, nil, "no event types"},
		"unknown type":  {"crm", crmURL, []string{"identity.gone"}, "identity.gone"},
		"wildcard":      {"crm", crmURL, []string{"identity.*"}, "identity.*"},
		"path":          {"crm", crmURL, []string{"../events/identity.created"}, "no event type"},
		"envelope":      {"crm", crmURL, []string{"envelope"}, "envelope"},
		"name of a row": {"taken", crmURL, crmEvents, "has that name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, w := newWebhooks()
			_, err := w.Add(t.Context(), wanted(tc.name, tc.url, tc.types), anna)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("Add = %v, want a refusal that names %q and shows nothing", err, tc.want)
			}
			if len(d.rows)+len(d.bus)+len(d.said) > 0 {
				t.Errorf("a refused webhook left %v, %v, %v", d.rows, d.bus, d.said)
			}
		})
	}
}

func TestAWebhookIsStoredAlthoughTheBusIsAway(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	d.broken = errors.New("no bus")
	h, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna)
	if !errors.Is(err, delivery.ErrUnready) || len(h.Secrets) != 1 || len(d.rows) != 1 {
		t.Errorf("Add = %v, %d secrets, want ErrUnready and the webhook", err, len(h.Secrets))
	}
	if err := w.Remove(t.Context(), "crm", anna); err != nil || len(d.rows) != 0 {
		t.Errorf("Remove = %v, want it done: whoever leads does the rest", err)
	}
}

func TestWebhookThatHasGone(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	if _, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna); err != nil {
		t.Fatal(err)
	}
	d.said = nil
	if err := w.DisableWebhook(t.Context(), "crm", "https://other.example"); err != nil || d.rows[0].Disabled != "" {
		t.Errorf("an endpoint at another URL disables it: %v", err)
	}
	if err := w.DisableWebhook(t.Context(), "nobody", crmURL); err != nil {
		t.Errorf("DisableWebhook of none = %v, want nil", err)
	}
	for range 2 {
		if err := w.DisableWebhook(t.Context(), "crm", crmURL); err != nil || d.rows[0].Disabled != "gone" || len(d.rows[0].Secrets) != 1 {
			t.Errorf("DisableWebhook = %v, %+v, want it disabled and whole", err, d.rows[0])
		}
	}
	for range 2 {
		if err := w.Enable(t.Context(), "crm", anna); err != nil || d.rows[0].Disabled != "" {
			t.Errorf("Enable = %v, %+v", err, d.rows[0])
		}
	}
	want := []string{`hook.disabled system:delivery {"hook":"crm","reason":"gone"}`, `admin.acted admin:anna {"action":"webhook.enable","target":"crm"}`}
	if diff := cmp.Diff(want, d.said); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

// Of a webhook in the file the table holds that it is disabled, and nothing that
// makes it one of the table when the file does not have it any more.
func TestWebhookInTheFile(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	secret := webhook.NewSigningSecret()
	d.inFile = []delivery.Hook{{Name: "crm", Kind: delivery.Webhook, Types: []string{"identity.created"}, URL: crmURL, Secrets: []webhook.Secret{secret}, InFile: true}}
	if _, err := w.Rotate(t.Context(), "crm", anna); !errors.Is(err, delivery.ErrFixed) {
		t.Errorf("Rotate = %v, want ErrFixed", err)
	}
	if err := w.Remove(t.Context(), "crm", anna); !errors.Is(err, delivery.ErrFixed) {
		t.Errorf("Remove = %v, want ErrFixed", err)
	}
	if _, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna); !errors.Is(err, delivery.ErrHookExists) {
		t.Errorf("Add = %v, want ErrHookExists", err)
	}
	for range 2 { // the second time there is a row
		if err := w.DisableWebhook(t.Context(), "crm", crmURL); err != nil {
			t.Fatal(err)
		}
		h, err := w.Webhook(t.Context(), "crm")
		if err != nil || h.Disabled != "gone" || !h.InFile || len(h.Secrets) != 1 || len(d.rows[0].Secrets) > 0 {
			t.Errorf("disabled: Webhook = %+v, %v, want the file's", h, err)
		}
		moved := d.inFile[0].URL
		d.inFile[0].URL = "https://moved.example"
		if h, err := w.Webhook(t.Context(), "crm"); err != nil || h.Disabled != "" {
			t.Errorf("with another URL in the file: Webhook = %+v, %v, want it enabled", h, err)
		}
		d.inFile[0].URL = moved
		if err := w.Enable(t.Context(), "crm", anna); err != nil {
			t.Fatal(err)
		}
		if h, err := w.Webhook(t.Context(), "crm"); err != nil || h.Disabled != "" || len(d.rows[0].Secrets) > 0 {
			t.Errorf("enabled: Webhook = %+v, %v", h, err)
		}
	}
	d.inFile = nil
	if all, err := w.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("List behind the file = %v, %v, want none", all, err)
	}
	if h, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna); err != nil || len(d.rows) != 1 || d.rows[0].Disabled != "" || len(secretsOf(h)) != 1 {
		t.Errorf("Add of a name that has gone from the file = %+v, %v, want it", h, err)
	}
}

// Many deliveries are answered 410 at the same time.
func TestWebhookOfTheFileIsDisabledOnce(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	d.inFile = []delivery.Hook{{Name: "crm", Kind: delivery.Webhook, URL: crmURL, Secrets: []webhook.Secret{webhook.NewSigningSecret()}, InFile: true}}
	var err error
	d.before = func() { err = w.DisableWebhook(t.Context(), "crm", crmURL) }
	if failed := w.DisableWebhook(t.Context(), "crm", crmURL); failed != nil || err != nil {
		t.Errorf("DisableWebhook = %v and %v, want it done once", failed, err)
	}
	if !d.rows[0].ReuseName {
		t.Error("a webhook whose name a worker had cannot be disabled")
	}
	if len(d.said) != 1 || len(d.rows) != 1 {
		t.Errorf("it is said %d times, want once", len(d.said))
	}
}

// A 410 in one process while another rotates brought the former secrets back.
func TestTwoProcessesChangeAWebhook(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	h, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna)
	if err != nil {
		t.Fatal(err)
	}
	another := &delivery.Webhooks{Catalogue: d.catalogue(), Sender: d}
	var secret webhook.Secret
	d.before = func() { secret, err = another.Rotate(t.Context(), "crm", anna) }
	if failed := w.DisableWebhook(t.Context(), "crm", crmURL); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	want := []string{secret.Reveal(), h.Secrets[0].Reveal()}
	if got := d.rows[0]; got.Disabled != "gone" || !slices.Equal(secretsOf(got), want) {
		t.Errorf("it is disabled (%q) with %d secrets, want both changes", got.Disabled, len(got.Secrets))
	}
	d.before = func() { err = another.Enable(t.Context(), "crm", anna) }
	if failed := w.FinishRotation(t.Context(), "crm", anna); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	if got := d.rows[0]; got.Disabled != "" || !slices.Equal(secretsOf(got), want[:1]) {
		t.Errorf("it is disabled (%q) with %d secrets, want both changes", got.Disabled, len(got.Secrets))
	}
}

func TestOnlyWebhooksAreListed(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	d.rows = []delivery.Hook{{Name: "z-worker", Kind: delivery.Worker}, {Name: "a-answer", Kind: delivery.Answer}}
	for _, name := range []string{"crm", "bi"} {
		if _, err := w.Add(t.Context(), wanted(name, crmURL, crmEvents), anna); err != nil {
			t.Fatal(err)
		}
	}
	all, err := w.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "bi" || all[1].Name != "crm" {
		t.Errorf("List = %v, %v, want bi and crm", all, err)
	}
	if err := w.Remove(t.Context(), "z-worker", anna); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Remove of a worker = %v, want ErrNoHook", err)
	}
}

func TestWebhookTest(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	if _, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna); err != nil {
		t.Fatal(err)
	}
	got, err := w.Test(t.Context(), "crm", anna)
	if err != nil || got.Status != 204 || got.Failed != "" || got.EventID != d.sent[0].ID {
		t.Errorf("Test = %+v, %v, want what was answered", got, err)
	}
	var e events.Event
	if err := json.Unmarshal(d.sent[0].Body, &e); err != nil || e.Type != "webhook.test" || e.ID != got.EventID || string(e.Data) != `{"webhook":"crm"}` || e.Actor != "admin:anna" {
		t.Errorf("sent %s, %v, want a test event", d.sent[0].Body, err)
	}
	d.answer = func() (int, error) { return 500, errors.New("answered 500") }
	if got, err := w.Test(t.Context(), "crm", anna); err != nil || got.Status != 500 || got.Failed != "answered 500" {
		t.Errorf("Test = %+v, %v, want why it was not taken", got, err)
	}
	if _, err := w.Test(t.Context(), "nobody", anna); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Test of none = %v, want ErrNoHook", err)
	}
	if len(d.said) != 1 {
		t.Errorf("a test is in the log: %v", d.said)
	}
}

// wanted is what somebody declares.
func wanted(name, url string, types []string) delivery.Hook {
	return delivery.Hook{Name: name, URL: url, Types: types}
}
