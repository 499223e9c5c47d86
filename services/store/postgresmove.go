package store

import (
	"context"
	"errors"
	"sync"

	"github.com/usher-auth/usher/services/relay"
)

// logHead is where this process thinks that the event log ends.
type logHead struct {
	mu    sync.Mutex
	known bool
	logEnd
}

var errHeadUnknown = errors.New("the end of the event log is not known")

// moveDirect moves rows in one statement, which fails when the event log does
// not end where this process left it: another relay has moved rows, or a power
// cut has undone what this one moved. The end is read anew then.
func (s *Store) moveDirect(ctx context.Context, rows []relay.Published) error {
	s.logHead.mu.Lock()
	defer s.logHead.mu.Unlock()
	head := &s.logHead
	if !head.known {
		return errHeadUnknown
	}
	head.known = false
	records, end, err := s.chain(rows, head.logEnd)
	if err != nil {
		return err
	}
	parts := inserting([]insert{eventLog.insert(records...)})
	args := parts.args
	for _, r := range rows {
		args = append(args, r.ID)
	}
	_, err = s.relaxed.exec(ctx, `WITH `+parts.query+`, gone AS (DELETE FROM outbox WHERE id IN (`+marks(len(rows))+`))
		SELECT 1 / CASE WHEN (SELECT coalesce(max(seq), 0) FROM event_log) = ?::bigint THEN 1 ELSE 0 END`, append(args, head.Seq)...)
	if err != nil {
		return err
	}
	head.known, head.logEnd = true, end
	return nil
}

// remember notes where the event log ends after a move.
func (h *logHead) remember(end logEnd) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.logEnd = true, end
}
