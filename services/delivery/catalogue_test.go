package delivery_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

// A hook of one process is known to another: what is there within two seconds,
// what is missing at once, though not for every stranger.
func TestHooksAreReadAgain(t *testing.T) {
	t.Parallel()
	now, d := noon, &declarations{}
	c := d.catalogue()
	c.Now = func() time.Time { return now }
	want := func(when, name string, want error, reads int) {
		t.Helper()
		if h, err := c.Hook(t.Context(), name); !errors.Is(err, want) || err == nil && h.Name != name || d.reads != reads {
			t.Errorf("%s: Hook(%s) = %+v, %v after %d reads, want %v after %d", when, name, h, err, d.reads, want, reads)
		}
	}
	want("first", "taken", nil, 1)
	for range 10 {
		want("a stranger", "crm", delivery.ErrNoHook, 1)
	}
	row := crm()
	d.rows = []delivery.Hook{row}
	now = now.Add(101 * time.Millisecond)
	want("declared elsewhere", "crm", nil, 2)
	d.rows = nil
	now = now.Add(1999 * time.Millisecond)
	want("removed elsewhere, a moment ago", "crm", nil, 2)
	if traits, ok, err := c.Declared(t.Context(), "crm"); ok || err != nil || d.reads != 3 {
		t.Errorf("Declared of what is removed = %v, %v, %v, want that it is not", traits, ok, err)
	}
	want("removed elsewhere", "crm", delivery.ErrNoHook, 3)
}

func TestAChangeIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	d, w := newWebhooks()
	if _, err := w.Hook(t.Context(), "crm"); !errors.Is(err, delivery.ErrNoHook) || len(w.Last()) != 1 {
		t.Errorf("Hook = %v, want ErrNoHook", err)
	}
	if _, err := w.Add(t.Context(), wanted("crm", crmURL, crmEvents), anna); err != nil {
		t.Fatal(err)
	}
	if h, err := w.Hook(t.Context(), "crm"); err != nil || w.Last()["crm"].URL != h.URL {
		t.Errorf("Hook = %v, want what was just added", err)
	}
	if err := w.DisableWebhook(t.Context(), "crm", crmURL); err != nil {
		t.Fatal(err)
	}
	if h, err := w.Hook(t.Context(), "crm"); err != nil || h.Disabled == "" {
		t.Errorf("Hook = %v, %v, want it disabled", h.Disabled, err)
	}
	if err := w.Remove(t.Context(), "crm", anna); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Hook(t.Context(), "crm"); !errors.Is(err, delivery.ErrNoHook) {
		t.Errorf("Hook = %v, want ErrNoHook", err)
	}
	if d.changes.Load() != 3 {
		t.Errorf("%d changes were told, want 3", d.changes.Load())
	}
}

// The one rule of who declares a hook.
func TestWhoDeclaresAHook(t *testing.T) {
	t.Parallel()
	secrets := []webhook.Secret{webhook.NewSigningSecret()}
	row := func(kind delivery.Kind, url string, secrets []webhook.Secret) delivery.Hook {
		return delivery.Hook{Name: "crm", Kind: kind, URL: url, Secrets: secrets, Disabled: "gone", CreatedAt: noon}
	}
	filed := delivery.Hook{Name: "crm", Kind: delivery.Webhook, URL: crmURL, Secrets: secrets, InFile: true}
	worker := delivery.Hook{Name: "crm", Kind: delivery.Worker, InFile: true}
	for _, c := range []struct {
		name         string
		inFile       []delivery.Hook
		row          delivery.Hook
		there, filed bool
		disabled     string
	}{
		{"the table alone", nil, row(delivery.Webhook, crmURL, secrets), true, false, "gone"},
		{"a mark that the file has left", nil, row(delivery.Webhook, crmURL, nil), false, false, ""},
		{"a mark of the file's", []delivery.Hook{filed}, row(delivery.Webhook, crmURL, nil), true, true, "gone"},
		{"a mark of another URL", []delivery.Hook{filed}, row(delivery.Webhook, "https://a.example", nil), true, true, ""},
		{"a webhook that the file took over", []delivery.Hook{filed}, row(delivery.Webhook, crmURL, secrets), true, true, "gone"},
		{"another webhook of that name", []delivery.Hook{filed}, row(delivery.Webhook, "https://a.example", secrets), true, true, ""},
		{"a worker of that name", []delivery.Hook{filed}, row(delivery.Worker, "", nil), true, true, ""},
		{"a worker of the file", []delivery.Hook{worker}, row(delivery.Webhook, "", nil), true, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &declarations{inFile: c.inFile, rows: []delivery.Hook{c.row}}
			all, err := d.catalogue().All(t.Context())
			h, ok := all["crm"]
			if err != nil || ok != c.there || h.InFile != c.filed || h.Disabled != c.disabled {
				t.Errorf("All = %+v, %v, %v, want it there: %v, of the file: %v, disabled: %q", h, ok, err, c.there, c.filed, c.disabled)
			}
		})
	}
}

type allRows interface{ delivery.Hooks }

// slowRows is a table that does not answer until it is let.
type slowRows struct {
	allRows
	asked, answer chan struct{}
}

func (s *slowRows) Hooks(context.Context) ([]delivery.Hook, error) {
	s.asked <- struct{}{}
	<-s.answer
	return nil, nil
}

// Who looks while the table does not answer waits as long as it wants to, and not
// at all if what was read last is new enough.
func TestASlowTableHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	table := &slowRows{asked: make(chan struct{}), answer: make(chan struct{})}
	c := &delivery.Catalogue{
		Table: table, Now: time.Now,
		Fixed: func() map[string]delivery.Hook { return map[string]delivery.Hook{"courier": {Name: "courier"}} },
	}
	look := func() chan error {
		done := make(chan error, 1)
		go func() { _, err := c.All(context.Background()); done <- err }()
		<-table.asked
		return done
	}
	first := look()
	table.answer <- struct{}{}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	second := look() // and the table is silent
	if _, err := c.Hook(t.Context(), "courier"); err != nil {
		t.Errorf("Hook beside a look that waits = %v, want what is known", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.All(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("All beside a look that waits = %v, want the end of its own time", err)
	}
	table.answer <- struct{}{}
	if err := <-second; err != nil {
		t.Error(err)
	}
}
