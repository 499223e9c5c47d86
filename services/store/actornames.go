package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/services/operator"
)

// actorName is a name that an operator or a token has: both are "admin:<name>" in
// the audit trail, so that no two may have one.
type actorName struct {
	Name string `db:"name"`
}

var actorNames = tableOf[actorName]("actor_names")

// freeName lets a name be given again when nobody has it any more.
func freeName(tx *tx, name string) error {
	_, err := tx.exec(`DELETE FROM actor_names WHERE name = ?
		AND NOT EXISTS (SELECT 1 FROM operators WHERE name = ?) AND NOT EXISTS (SELECT 1 FROM admin_tokens WHERE name = ?)`, name, name, name)
	return err
}

// named explains why a name could not be given: by who has it, if somebody does.
func (s *Store) named(ctx context.Context, what, name string, err error) error {
	if err == nil {
		return nil
	}
	if takenColumn(err) == "actor_names.name" {
		switch _, _, err = s.Operator(ctx, name); {
		case err == nil:
			return operator.ErrExists
		case errors.Is(err, operator.ErrNotFound):
			return operator.ErrTokenExists
		}
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}
