package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/operator"
)

// operatorRow is an operator without the digest of the link, which is never read.
type operatorRow struct {
	Name       string `db:"name"`
	Role       string `db:"role"`
	Password   string `db:"password"`
	SetUpUntil moment `db:"setup_until"`
	CreatedAt  moment `db:"created_at"`
}

var operators = tableOf[operatorRow]("operators")

func (r operatorRow) operator() operator.Operator {
	return operator.Operator{
		Name: r.Name, Role: operator.Role(r.Role), SetUp: r.Password != "",
		SetUpUntil: r.SetUpUntil.Time, CreatedAt: r.CreatedAt.Time,
	}
}

const insertOperator = `INSERT INTO operators (name, role, password, setup_digest, setup_until, created_at, updated_at) VALUES (?, ?, '', ?, ?, ?, ?)`

// Operators is [operator.Store.Operators].
func (s *Store) Operators(ctx context.Context) ([]operator.Operator, error) {
	var rows []operatorRow
	if err := s.reads.list(ctx, &rows, `SELECT `+operators.list()+` FROM operators ORDER BY name`); err != nil {
		return nil, fmt.Errorf("operators: %w", err)
	}
	all := make([]operator.Operator, len(rows))
	for n, r := range rows {
		all[n] = r.operator()
	}
	return all, nil
}

// Operator is [operator.Store.Operator].
func (s *Store) Operator(ctx context.Context, name string) (operator.Operator, string, error) {
	var row operatorRow
	err := s.reads.get(ctx, &row, `SELECT `+operators.list()+` FROM operators WHERE name = ?`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return operator.Operator{}, "", operator.ErrNotFound
	}
	if err != nil {
		return operator.Operator{}, "", fmt.Errorf("operator: %w", err)
	}
	return row.operator(), row.Password, nil
}

// AddOperator is [operator.Store.AddOperator].
func (s *Store) AddOperator(ctx context.Context, o operator.Operator, link operator.Digest, told events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		if err := lockOperators(tx); err != nil { // before the name: so do all who want both
			return err
		}
		if err := addOperator(tx, o, link); err != nil {
			return err
		}
		return appendEvent(tx, told)
	})
	return s.named(ctx, "add operator", o.Name, err)
}

func addOperator(tx *tx, o operator.Operator, link operator.Digest) error {
	if err := tx.insert(actorNames.insert(actorName{o.Name})); err != nil {
		return err
	}
	at := moment{o.CreatedAt}
	_, err := tx.exec(insertOperator, o.Name, string(o.Role), link[:], moment{o.SetUpUntil}, at, at)
	return err
}

// FirstOperator is [operator.Store.FirstOperator].
func (s *Store) FirstOperator(ctx context.Context, o operator.Operator, link operator.Digest, after time.Time, told events.Event) (made bool, err error) {
	err = s.durable.commit(ctx, func(tx *tx) error {
		if err := lockOperators(tx); err != nil {
			return err
		}
		var others []operatorRow
		if err := tx.list(&others, `SELECT `+operators.list()+` FROM operators WHERE role = ? OR name = ? LIMIT 2`, operator.RoleOwner, o.Name); err != nil {
			return err
		}
		switch {
		case len(others) == 0:
			err = addOperator(tx, o, link)
		case len(others) == 1 && others[0].Name == o.Name && others[0].Password == "":
			var changed int64
			changed, err = tx.exec(`UPDATE operators SET setup_digest = ?, setup_until = ?, updated_at = ? WHERE name = ? AND updated_at < ?`,
				link[:], moment{o.SetUpUntil}, moment{o.CreatedAt}, o.Name, moment{after})
			if err == nil && changed == 0 {
				return errUnchanged
			}
		default:
			return errUnchanged
		}
		if err != nil {
			return err
		}
		return appendEvent(tx, told)
	})
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	if err = s.named(ctx, "first operator", o.Name, err); err != nil {
		return false, err
	}
	return true, nil
}

// lockOperators lets one transaction at a time decide by who else is there. On
// SQLite there is only one.
func lockOperators(tx *tx) error {
	if tx.pool.backend.embedded() {
		return nil
	}
	_, err := tx.exec(`LOCK TABLE operators IN SHARE ROW EXCLUSIVE MODE`)
	return err
}

// RemoveOperator is [operator.Store.RemoveOperator].
func (s *Store) RemoveOperator(ctx context.Context, name string, told events.Event) error {
	return s.changeOperator(ctx, "remove", name, told, func(tx *tx, was operatorRow) error {
		if err := ownerStays(tx, was); err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM operators WHERE name = ?`, name); err != nil { // the sessions go with it
			return err
		}
		return freeName(tx, name)
	})
}

// ChangeRole is [operator.Store.ChangeRole].
func (s *Store) ChangeRole(ctx context.Context, name string, r operator.Role, told events.Event) error {
	return s.changeOperator(ctx, "change role of", name, told, func(tx *tx, was operatorRow) error {
		if r != operator.RoleOwner {
			if err := ownerStays(tx, was); err != nil {
				return err
			}
		}
		_, err := tx.exec(`UPDATE operators SET role = ?, updated_at = ? WHERE name = ?`, string(r), moment{s.now()}, name)
		return err
	})
}

// ResetOperator is [operator.Store.ResetOperator].
func (s *Store) ResetOperator(ctx context.Context, name string, link operator.Digest, until time.Time, told events.Event) error {
	return s.changeOperator(ctx, "reset", name, told, func(tx *tx, _ operatorRow) error {
		_, err := tx.exec(`UPDATE operators SET password = '', setup_digest = ?, setup_until = ?, updated_at = ? WHERE name = ?`,
			link[:], moment{until}, moment{s.now()}, name)
		return err
	})
}

// ChangePassword is [operator.Store.ChangePassword].
func (s *Store) ChangePassword(ctx context.Context, name, former, hash string, told events.Event) error {
	err := s.changeOperator(ctx, "change password of", name, told, func(tx *tx, was operatorRow) error {
		if was.Password != former {
			return operator.ErrWrong
		}
		_, err := tx.exec(`UPDATE operators SET password = ?, updated_at = ? WHERE name = ?`, hash, moment{s.now()}, name)
		return err
	})
	if errors.Is(err, operator.ErrNotFound) {
		return operator.ErrWrong
	}
	return err
}

// changeOperator does what changes who an operator is, and ends their sessions.
func (s *Store) changeOperator(ctx context.Context, what, name string, told events.Event, do func(*tx, operatorRow) error) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		if err := lockOperators(tx); err != nil {
			return err
		}
		var row operatorRow
		err := tx.get(&row, `SELECT `+operators.list()+` FROM operators WHERE name = ?`, name)
		if errors.Is(err, sql.ErrNoRows) {
			return operator.ErrNotFound
		}
		if err != nil {
			return err
		}
		if err := do(tx, row); err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM operator_sessions WHERE operator = ?`, name); err != nil {
			return err
		}
		return appendEvent(tx, told)
	})
	for _, known := range []error{operator.ErrNotFound, operator.ErrLastOwner, operator.ErrWrong} {
		if errors.Is(err, known) {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("%s operator %s: %w", what, name, err)
	}
	return nil
}

// ownerStays refuses to lose the last owner who can sign in, or the last who can be
// set up if there is no other.
func ownerStays(tx *tx, lost operatorRow) error {
	if lost.Role != string(operator.RoleOwner) {
		return nil
	}
	var left []string
	err := tx.list(&left, `SELECT name FROM operators WHERE role = ? AND name <> ? AND (password <> '' OR ?) LIMIT 1`,
		string(operator.RoleOwner), lost.Name, lost.Password == "")
	if err == nil && len(left) == 0 {
		return operator.ErrLastOwner
	}
	return err
}

// LinkedOperator is [operator.Store.LinkedOperator].
func (s *Store) LinkedOperator(ctx context.Context, link operator.Digest) (operator.Operator, error) {
	var row operatorRow
	err := s.reads.get(ctx, &row, `SELECT `+operators.list()+` FROM operators WHERE setup_digest = ? AND setup_until > ?`, link[:], moment{s.now()})
	if errors.Is(err, sql.ErrNoRows) {
		return operator.Operator{}, operator.ErrLink
	}
	if err != nil {
		return operator.Operator{}, fmt.Errorf("operator of a link: %w", err)
	}
	return row.operator(), nil
}

// SetUpOperator is [operator.Store.SetUpOperator].
func (s *Store) SetUpOperator(ctx context.Context, link operator.Digest, hash string, told events.Event) error {
	now := moment{s.now()}
	err := s.durable.commit(ctx, func(tx *tx) error {
		changed, err := tx.exec(`UPDATE operators SET password = ?, setup_digest = NULL, setup_until = NULL, updated_at = ? WHERE setup_digest = ? AND setup_until > ?`,
			hash, now, link[:], now)
		if err == nil && changed == 0 {
			err = operator.ErrLink
		}
		if err != nil {
			return err
		}
		return appendEvent(tx, told)
	})
	if err != nil && !errors.Is(err, operator.ErrLink) {
		return fmt.Errorf("set up operator: %w", err)
	}
	return err
}

type operatorSessionRow struct {
	Name      string `db:"operator"`
	Role      string `db:"role"`
	IssuedAt  moment `db:"issued_at"`
	ExpiresAt moment `db:"expires_at"`
}

// AddOperatorSession is [operator.Store.AddOperatorSession].
func (s *Store) AddOperatorSession(ctx context.Context, token operator.Digest, o operator.Session, hash string, told events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		// The row is locked: a reset comes before, and is seen, or after, and ends this.
		same, err := tx.exec(`UPDATE operators SET updated_at = updated_at WHERE name = ? AND password = ?`, o.Name, hash)
		if err == nil && same == 0 {
			err = operator.ErrWrong
		}
		if err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO operator_sessions (token_digest, operator, issued_at, expires_at) VALUES (?, ?, ?, ?)`,
			token[:], o.Name, moment{o.IssuedAt}, moment{o.ExpiresAt}); err != nil {
			return err
		}
		return appendEvent(tx, told)
	})
	if err != nil && !errors.Is(err, operator.ErrWrong) {
		return fmt.Errorf("add session of operator %s: %w", o.Name, err)
	}
	return err
}

// OperatorSession is [operator.Store.OperatorSession].
func (s *Store) OperatorSession(ctx context.Context, token operator.Digest) (operator.Session, error) {
	var row operatorSessionRow
	err := s.reads.get(ctx, &row, `SELECT s.operator, o.role, s.issued_at, s.expires_at FROM operator_sessions s
		JOIN operators o ON o.name = s.operator WHERE s.token_digest = ? AND s.expires_at > ?`, token[:], moment{s.now()})
	if errors.Is(err, sql.ErrNoRows) {
		return operator.Session{}, operator.ErrSignedOut
	}
	if err != nil {
		return operator.Session{}, fmt.Errorf("session of an operator: %w", err)
	}
	return operator.Session{
		Name: row.Name, Role: operator.Role(row.Role), IssuedAt: row.IssuedAt.Time, ExpiresAt: row.ExpiresAt.Time,
	}, nil
}

// RemoveOperatorSession is [operator.Store.RemoveOperatorSession].
func (s *Store) RemoveOperatorSession(ctx context.Context, token operator.Digest, told events.Event) error {
	err := s.durable.commit(ctx, func(tx *tx) error {
		removed, err := tx.exec(`DELETE FROM operator_sessions WHERE token_digest = ?`, token[:])
		if err != nil || removed == 0 {
			return err
		}
		return appendEvent(tx, told)
	})
	if err != nil {
		return fmt.Errorf("remove session of an operator: %w", err)
	}
	return nil
}

// DeleteOperatorSessions deletes at most limit sessions of operators that were over
// before the given time, and tells how many.
func (s *Store) DeleteOperatorSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	deleted, err := s.relaxed.exec(ctx, `DELETE FROM operator_sessions WHERE token_digest IN
		(SELECT token_digest FROM operator_sessions WHERE expires_at < ? LIMIT ?)`, moment{before}, limit)
	if err != nil {
		return 0, fmt.Errorf("delete sessions of operators: %w", err)
	}
	return int(deleted), nil
}
