package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/usher-auth/usher/services/audit"
)

type checkpointRow struct {
	Seq       int64  `db:"seq"`
	Head      []byte `db:"head"`
	At        moment `db:"at"`
	KeyID     string `db:"key_id"`
	Signature []byte `db:"signature"`
}

var checkpoints = tableOf[checkpointRow]("checkpoints")

func (r checkpointRow) checkpoint() audit.Checkpoint {
	c := audit.Checkpoint{Seq: r.Seq, At: r.At.Time, KeyID: r.KeyID, Signature: r.Signature}
	copy(c.Head[:], r.Head)
	return c
}

// SaveCheckpoint stores a checkpoint. When it returns, it and all records up to
// its seq are on the disk. [audit.ErrNoRecord] if the log does not hold the
// record that it is the head of: a power cut may have undone it since it was
// read. Where there is one of that seq already, that stays.
func (s *Store) SaveCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	row := checkpointRow{Seq: c.Seq, Head: c.Head[:], At: moment{c.At}, KeyID: c.KeyID, Signature: c.Signature}
	err := s.durable.commit(ctx, func(tx *tx) error {
		var held bool
		if err := tx.get(&held, `SELECT EXISTS (SELECT 1 FROM event_log WHERE seq = ? AND hash = ?)`, row.Seq, row.Head); err != nil {
			return err
		}
		if !held {
			return audit.ErrNoRecord
		}
		for _, st := range checkpoints.insert(row).statements() {
			if _, err := tx.exec(st.query+` ON CONFLICT (seq) DO NOTHING`, st.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save checkpoint of record %d: %w", c.Seq, err)
	}
	return nil
}

// Checkpoints gives at most limit checkpoints behind the given seq, by seq.
func (s *Store) Checkpoints(ctx context.Context, after int64, limit int) ([]audit.Checkpoint, error) {
	var rows []checkpointRow
	err := s.reads.list(ctx, &rows, `SELECT `+checkpoints.list()+` FROM checkpoints WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("checkpoints: %w", err)
	}
	return checkpointsOf(rows), nil
}

// NewestCheckpoints gives at most limit checkpoints before the given seq, the newest
// first; 0 means from the last on.
func (s *Store) NewestCheckpoints(ctx context.Context, before int64, limit int) ([]audit.Checkpoint, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	var rows []checkpointRow
	err := s.reads.list(ctx, &rows, `SELECT `+checkpoints.list()+` FROM checkpoints WHERE seq < ? ORDER BY seq DESC LIMIT ?`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("newest checkpoints: %w", err)
	}
	return checkpointsOf(rows), nil
}

func checkpointsOf(rows []checkpointRow) []audit.Checkpoint {
	all := make([]audit.Checkpoint, len(rows))
	for n, r := range rows {
		all[n] = r.checkpoint()
	}
	return all
}

// LastCheckpoint gives the one with the highest seq, zero when there is none.
func (s *Store) LastCheckpoint(ctx context.Context) (audit.Checkpoint, error) {
	var row checkpointRow
	err := s.reads.get(ctx, &row, `SELECT `+checkpoints.list()+` FROM checkpoints ORDER BY seq DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Checkpoint{}, nil
	}
	if err != nil {
		return audit.Checkpoint{}, fmt.Errorf("last checkpoint: %w", err)
	}
	return row.checkpoint(), nil
}

// CheckpointsTaken gives the seq of the last checkpoint that a sink has taken;
// false when nothing was saved of it.
func (s *Store) CheckpointsTaken(ctx context.Context, sink string) (seq int64, known bool, err error) {
	err = s.reads.get(ctx, &seq, `SELECT seq FROM checkpoint_sinks WHERE sink = ?`, sink)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("checkpoints of a sink: %w", err)
	}
	return seq, true, nil
}

// SaveCheckpointsTaken saves that a sink has taken the checkpoints up to seq. It
// does not wait for the disk: after a power cut some are sent again.
func (s *Store) SaveCheckpointsTaken(ctx context.Context, sink string, seq int64) error {
	_, err := s.relaxed.exec(ctx, `INSERT INTO checkpoint_sinks (sink, seq) VALUES (?, ?)
		ON CONFLICT (sink) DO UPDATE SET seq = excluded.seq`, sink, seq)
	if err != nil {
		return fmt.Errorf("save the checkpoints of a sink: %w", err)
	}
	return nil
}

// PruneEvents deletes the oldest records, none behind upTo, and tells how many;
// 0 when it is done. What is left begins behind a checkpoint, always, so that it
// can be verified: it deletes up to the last checkpoint within limit, or to the
// first one where that is further. Checkpoints stay.
func (s *Store) PruneEvents(ctx context.Context, upTo int64, limit int) (int, error) {
	var deleted int64
	err := s.relaxed.commit(ctx, func(tx *tx) error {
		end, err := pruneEnd(tx, upTo, limit)
		if err != nil || end == 0 {
			return err
		}
		deleted, err = tx.exec(`DELETE FROM event_log WHERE seq <= ?`, end)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune events: %w", err)
	}
	return int(deleted), nil
}

// pruneEnd gives the checkpoint to prune up to, 0 for none.
func pruneEnd(tx *tx, upTo int64, limit int) (end int64, err error) {
	var first int64
	if err := tx.get(&first, `SELECT coalesce(min(seq), 0) FROM event_log`); err != nil || first == 0 {
		return 0, err
	}
	err = tx.get(&end, `SELECT coalesce(max(seq), 0) FROM checkpoints WHERE seq >= ? AND seq <= ?`, first, min(upTo, first-1+int64(limit)))
	if err == nil && end == 0 {
		err = tx.get(&end, `SELECT coalesce(min(seq), 0) FROM checkpoints WHERE seq >= ? AND seq <= ?`, first, upTo)
	}
	return end, err
}
