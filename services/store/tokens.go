package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/operator"
)

// AdminToken is a token of the admin listener. The token itself is not stored.
type AdminToken = operator.Token

type tokenRow struct {
	Name      string `db:"name"`
	Scope     string `db:"scope"`
	Digest    []byte `db:"digest"`
	CreatedAt moment `db:"created_at"`
}

var tokens = tableOf[tokenRow]("admin_tokens")

// AddAdminToken stores a token by its digest together with events that tell of
// it. It gives [operator.ErrTokenExists] or [operator.ErrExists] when another token, or
// an operator, has the name.
func (s *Store) AddAdminToken(ctx context.Context, name, scope string, digest [32]byte, told ...events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		row := tokenRow{Name: name, Scope: scope, Digest: digest[:], CreatedAt: moment{s.now()}}
		if err := tx.insert(actorNames.insert(actorName{name}), tokens.insert(row)); err != nil {
			return err
		}
		return appendAll(tx, told)
	})
	return s.named(ctx, "add admin token", name, err)
}

// ReplaceAdminToken gives the token of a name another digest and scope, together with
// events that tell of it: one of both is good at any moment. It tells whether there was
// such a token.
func (s *Store) ReplaceAdminToken(ctx context.Context, name, scope string, digest [32]byte, told ...events.Event) (replaced bool, err error) {
	err = s.durable.commit(ctx, func(tx *tx) error {
		n, err := tx.exec(`UPDATE admin_tokens SET scope = ?, digest = ?, created_at = ? WHERE name = ?`, scope, digest[:], moment{s.now()}, name)
		if replaced = n > 0; err != nil || !replaced {
			return err
		}
		return appendAll(tx, told)
	})
	if err != nil {
		return false, fmt.Errorf("replace admin token %s: %w", name, err)
	}
	return replaced, nil
}

// AdminToken gives the name and scope of the token with a digest; false when
// there is none.
func (s *Store) AdminToken(ctx context.Context, digest [32]byte) (name, scope string, ok bool, err error) {
	var row tokenRow
	err = s.reads.get(ctx, &row, `SELECT `+tokens.list()+` FROM admin_tokens WHERE digest = ?`, digest[:])
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, fmt.Errorf("admin token: %w", err)
	}
	return row.Name, row.Scope, true, nil
}

// AdminTokens gives all tokens by name.
func (s *Store) AdminTokens(ctx context.Context) ([]AdminToken, error) {
	var rows []tokenRow
	if err := s.reads.list(ctx, &rows, `SELECT `+tokens.list()+` FROM admin_tokens ORDER BY name`); err != nil {
		return nil, fmt.Errorf("admin tokens: %w", err)
	}
	all := make([]AdminToken, len(rows))
	for n, r := range rows {
		all[n] = AdminToken{Name: r.Name, Scope: r.Scope, CreatedAt: r.CreatedAt.Time}
	}
	return all, nil
}

// RemoveAdminToken tells whether there was such a token. Events that tell of it
// are stored with that, if there was.
func (s *Store) RemoveAdminToken(ctx context.Context, name string, told ...events.Event) (bool, error) {
	var removed int64
	err := s.durable.commit(ctx, func(tx *tx) (err error) {
		if removed, err = tx.exec(`DELETE FROM admin_tokens WHERE name = ?`, name); err != nil || removed == 0 {
			return err
		}
		if err := freeName(tx, name); err != nil {
			return err
		}
		return appendAll(tx, told)
	})
	if err != nil {
		return false, fmt.Errorf("remove admin token %s: %w", name, err)
	}
	return removed > 0, nil
}
