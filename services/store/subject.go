package store

import (
	"github.com/google/uuid"
)

// subject is an identity that a transaction makes events about. Its row is
// locked until the commit, so that these events have an order without a gap.
type subject struct {
	subjectRow
	tx     *tx
	id     uuid.UUID
	places int64 // for events, taken when it was locked
	used   int64
}

type subjectRow struct {
	State    string `db:"state"`
	Epoch    int64  `db:"epoch"`
	Sequence int64  `db:"sequence"`
}

// lock locks an identity and takes places for so many events, or gives
// [sql.ErrNoRows]. It comes first in its transaction: who locks an identity
// behind rows of its own may wait in a circle.
func lock(tx *tx, id uuid.UUID, places int64) (*subject, error) {
	s := &subject{tx: tx, id: id, places: places}
	err := tx.get(&s.subjectRow, `UPDATE identities SET sequence = sequence + ? WHERE id = ? RETURNING state, epoch, sequence`, places, id)
	return s, err
}

// next gives the sequence of the next event.
func (s *subject) next() int64 {
	s.used++
	return s.Sequence - s.places + s.used
}

// settle gives back the places that were not used, or takes those that were
// used beyond.
func (s *subject) settle() error {
	if s.used == s.places {
		return nil
	}
	_, err := s.tx.exec(`UPDATE identities SET sequence = sequence + ? WHERE id = ?`, s.used-s.places, s.id)
	return err
}
