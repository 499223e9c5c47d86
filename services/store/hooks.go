package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

type hookRow struct {
	Name      string   `db:"name"`
	Kind      string   `db:"kind"`
	Types     document `db:"types"`
	Traits    document `db:"traits"`
	URL       string   `db:"url"`
	Secrets   []byte   `db:"secrets"` // sealed
	Disabled  string   `db:"disabled"`
	CreatedAt moment   `db:"created_at"`
	UpdatedAt moment   `db:"updated_at"`
}

var hooks = tableOf[hookRow]("hooks")

// about binds what is sealed to its row.
func (r hookRow) about() []byte { return []byte("hooks.secrets\x00" + r.Name) }

func (k *keyring) newHookRow(h delivery.Hook) (hookRow, error) {
	r := hookRow{
		Name:      h.Name,
		Kind:      string(h.Kind),
		Types:     encodeNames(h.Types),
		Traits:    encodeNames(h.Traits),
		URL:       h.URL,
		Disabled:  h.Disabled,
		CreatedAt: moment{h.CreatedAt},
		UpdatedAt: moment{h.UpdatedAt},
	}
	if len(h.Secrets) == 0 {
		return r, nil
	}
	texts := make([]string, len(h.Secrets))
	for n, s := range h.Secrets {
		texts[n] = s.Reveal()
	}
	plain, err := json.Marshal(texts)
	if err != nil {
		return r, fmt.Errorf("secrets: %w", err)
	}
	r.Secrets = k.seal(plain, r.about())
	return r, nil
}

func (k *keyring) openHook(r hookRow) (delivery.Hook, error) {
	h := delivery.Hook{
		Name:      r.Name,
		Kind:      delivery.Kind(r.Kind),
		URL:       r.URL,
		Disabled:  r.Disabled,
		CreatedAt: r.CreatedAt.Time,
		UpdatedAt: r.UpdatedAt.Time,
	}
	var err error
	if h.Types, err = decodeNames(r.Types); err != nil {
		return h, fmt.Errorf("types: %w", err)
	}
	if h.Traits, err = decodeNames(r.Traits); err != nil {
		return h, fmt.Errorf("traits: %w", err)
	}
	if r.Secrets == nil {
		return h, nil
	}
	plain, err := k.open(r.Secrets, r.about())
	if err != nil {
		return h, fmt.Errorf("secrets: %w", err)
	}
	var texts []string
	if err := json.Unmarshal(plain, &texts); err != nil {
		return h, fmt.Errorf("secrets: %w", err)
	}
	for _, t := range texts {
		h.Secrets = append(h.Secrets, webhook.NewSecret(t))
	}
	return h, nil
}

// encodeNames stores no names as an empty list.
func encodeNames(names []string) document {
	if names == nil {
		names = []string{}
	}
	return encode(names)
}

// decodeNames gives nil for an empty list.
func decodeNames(d document) (names []string, err error) {
	if err := d.decode(&names); err != nil || len(names) == 0 {
		return nil, err
	}
	return names, nil
}

// Hooks gives all hooks that are stored, by name.
func (s *Store) Hooks(ctx context.Context) ([]delivery.Hook, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, fmt.Errorf("hooks: %w", err)
	}
	var rows []hookRow
	if err := s.reads.list(ctx, &rows, `SELECT `+hooks.list()+` FROM hooks`); err != nil {
		return nil, fmt.Errorf("hooks: %w", err)
	}
	slices.SortFunc(rows, func(a, b hookRow) int { return strings.Compare(a.Name, b.Name) }) // databases differ about hyphens
	all := make([]delivery.Hook, len(rows))
	for n, r := range rows {
		if all[n], err = ring.openHook(r); err != nil {
			return nil, fmt.Errorf("hook %s: %w", r.Name, err)
		}
	}
	return all, nil
}

// CreateHook stores a hook and the event in one durable commit, or gives
// [delivery.ErrHookExists] or [*delivery.NameUsed]. Its times, where they are zero, are now. A webhook
// without secrets only marks one of the file: another hook replaces it, as does
// a mark of another URL.
func (s *Store) CreateHook(ctx context.Context, h delivery.Hook, e events.Event) error {
	err := s.saveHook(ctx, h, e, func(tx *tx, row hookRow) error {
		st := hooks.insert(row).statements()[0]
		stored, err := tx.exec(st.query+` ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, types = excluded.types, traits = excluded.traits,
			url = excluded.url, secrets = excluded.secrets, disabled = excluded.disabled, created_at = excluded.created_at, updated_at = excluded.updated_at
			WHERE hooks.kind = 'webhook' AND hooks.secrets IS NULL AND (excluded.secrets IS NOT NULL OR excluded.url <> hooks.url)`, st.args...)
		if err == nil && stored == 0 {
			err = delivery.ErrHookExists
		}
		if err != nil {
			return err
		}
		return takeName(tx, h, s.now())
	})
	if err != nil {
		return fmt.Errorf("create hook %s: %w", h.Name, err)
	}
	return nil
}

// UpdateHook replaces a hook, but for the time of its creation, if that was
// updated last at former, and stores the event, in one durable commit, or gives
// [delivery.ErrHookChanged]. UpdatedAt, if zero, is now.
func (s *Store) UpdateHook(ctx context.Context, former time.Time, h delivery.Hook, e events.Event) error {
	err := s.saveHook(ctx, h, e, func(tx *tx, r hookRow) error {
		changed, err := tx.exec(`UPDATE hooks SET kind = ?, types = ?, traits = ?, url = ?, secrets = ?, disabled = ?, updated_at = ? WHERE name = ? AND updated_at = ?`,
			r.Kind, r.Types, r.Traits, r.URL, r.Secrets, r.Disabled, r.UpdatedAt, r.Name, moment{former})
		if err == nil && changed == 0 {
			err = delivery.ErrHookChanged
		}
		if err != nil {
			return err
		}
		return keepName(tx, h.Name, h.CredentialUntil)
	})
	if err != nil {
		return fmt.Errorf("update hook %s: %w", h.Name, err)
	}
	return nil
}

func (s *Store) saveHook(ctx context.Context, h delivery.Hook, e events.Event, save func(*tx, hookRow) error) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	row, err := ring.newHookRow(h)
	if err != nil {
		return err
	}
	for _, at := range []*moment{&row.CreatedAt, &row.UpdatedAt} {
		if at.IsZero() {
			at.Time = s.now()
		}
	}
	return s.durable.commit(ctx, func(tx *tx) error {
		if err := save(tx, row); err != nil {
			return err
		}
		return appendEvent(tx, e)
	})
}

// DeleteHook deletes a hook with its failures and stores the event, in one
// durable commit, or gives [delivery.ErrNoHook].
func (s *Store) DeleteHook(ctx context.Context, name string, e events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		deleted, err := tx.exec(`DELETE FROM hooks WHERE name = ?`, name)
		if err != nil {
			return err
		}
		if deleted == 0 {
			return delivery.ErrNoHook
		}
		if _, err := tx.exec(`DELETE FROM hook_failures WHERE hook = ?`, name); err != nil {
			return err
		}
		if err := leaveName(tx, name, s.now()); err != nil {
			return err
		}
		return appendEvent(tx, e)
	})
	if err != nil {
		return fmt.Errorf("delete hook %s: %w", name, err)
	}
	return nil
}
