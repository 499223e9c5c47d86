package audit

import "context"

// Source is an event log with its checkpoints.
type Source interface {
	// EventSpan gives the first and the last seq that the log holds, zero for none.
	EventSpan(ctx context.Context) (first, last int64, err error)
	// Events gives the records that q selects, by seq.
	Events(ctx context.Context, q Query) ([]Record, error)
	// Checkpoints gives at most limit checkpoints behind the given seq, by seq.
	Checkpoints(ctx context.Context, after int64, limit int) ([]Checkpoint, error)
	// LastCheckpoint gives the one with the highest seq, zero when there is none.
	LastCheckpoint(ctx context.Context) (Checkpoint, error)
}

// walkPage is how many records are read at once.
const walkPage = 1000

// Walk gives the records that q selects of a log as it is now to h, in the order
// of an export: the checkpoint that they begin behind, where the log was pruned
// or q says so, each record, each checkpoint directly behind its record, and at
// last those of records that are not there. The limit of q is of no effect. A
// handler without Checkpoint is given none.
//
// It reads page by page, in no transaction. Page, if given, is called behind each
// of them with how many records were come by, of how many. It gives the seq of
// the last record of the log, zero if there is none.
func Walk(ctx context.Context, s Source, q Query, h Handler, page func(done, all int64) error) (last int64, err error) {
	// Before the end of the log: what is signed later is none of this walk's.
	top, err := s.LastCheckpoint(ctx)
	if err != nil {
		return 0, err
	}
	first, last, err := s.EventSpan(ctx)
	if err != nil {
		return 0, err
	}
	first = max(first, q.After+1)
	w := checkpointWalk{source: s, after: max(first-2, 0), top: top.Seq, give: h.Checkpoint}
	q.After, q.Limit = first-1, walkPage
	for q.After < last {
		records, err := s.Events(ctx, q)
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			if r.Seq > last {
				records = nil // was logged meanwhile
				break
			}
			if err := w.upTo(ctx, r.Seq-1); err != nil {
				return 0, err
			}
			if err := h.Record(r); err != nil {
				return 0, err
			}
			q.After = r.Seq
		}
		if len(records) < walkPage {
			q.After = last
		}
		if page != nil {
			if err := page(q.After-first+1, last-first+1); err != nil {
				return 0, err
			}
		}
	}
	return last, w.upTo(ctx, top.Seq)
}

// checkpointWalk gives checkpoints in their order, beside the records.
type checkpointWalk struct {
	source  Source
	after   int64        // seq of the last one that was read
	top     int64        // seq of the last one that is given
	waiting []Checkpoint // that were read
	give    func(Checkpoint) error
}

// upTo gives those that were not given yet, up to a seq.
func (w *checkpointWalk) upTo(ctx context.Context, seq int64) error {
	for w.give != nil {
		if len(w.waiting) == 0 && w.after < w.top {
			page, err := w.source.Checkpoints(ctx, w.after, walkPage)
			if err != nil {
				return err
			}
			w.waiting, w.after = page, w.top
			if len(page) == walkPage {
				w.after = page[walkPage-1].Seq
			}
		}
		if len(w.waiting) == 0 || w.waiting[0].Seq > min(seq, w.top) {
			return nil
		}
		c := w.waiting[0]
		w.waiting = w.waiting[1:]
		if err := w.give(c); err != nil {
			return err
		}
	}
	return nil
}
