package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/audit"
)

// Audit is the event log with what proves it.
type Audit interface {
	// AuditKeys gives the keys that checkpoints are verified with.
	audit.Provable
	// EventRecord gives the record of an event, or [delivery.ErrNoEvent].
	EventRecord(ctx context.Context, id uuid.UUID) (audit.Record, error)
	// NewestCheckpoints gives at most limit before the given seq, the newest first; 0
	// means from the last on.
	NewestCheckpoints(ctx context.Context, before int64, limit int) ([]audit.Checkpoint, error)
}

var errDraining = errors.New("this process ends")

// exportAudit gives the event log as it is now, with its checkpoints and keys,
// see [audit.Read]. Records that a query selects come without them.
func (s *Server) exportAudit(x *exchange) error {
	q, err := s.eventQuery(x, "")
	if err != nil {
		return err
	}
	keys, err := s.Audit.AuditKeys(x.r.Context())
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	x.w.Header()["Content-Type"] = []string{audit.ExportType}
	x.outlast(partTime)
	x.status = http.StatusOK
	x.w.WriteHeader(x.status)
	var filters []string
	for _, t := range q.Types {
		filters = append(filters, "type="+t)
	}
	if q.Subject != "" {
		filters = append(filters, "subject="+q.Subject)
	}
	if len(filters) > 0 {
		keys = nil
	}
	w := audit.NewWriter(x.w, keys)
	h := audit.Handler{
		Record:     func(r audit.Record) error { w.Record(r); return nil },
		Checkpoint: func(c audit.Checkpoint) error { w.Checkpoint(c); return nil },
	}
	if len(filters) > 0 {
		w.Filter(strings.Join(filters, " "))
		h.Checkpoint = nil
	}
	last, err := audit.Walk(x.r.Context(), s.Audit, q, h, func(int64, int64) error {
		x.outlast(partTime)
		if s.drained() {
			return errDraining // the export has no end, which says that it is cut
		}
		return w.Flush()
	})
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	_ = w.End(last, formatCursor(max(last, q.After))) // else the reader is gone
	return nil
}
