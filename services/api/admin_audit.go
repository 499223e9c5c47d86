package api

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
)

// AuditCheck verifies the event log in the background, see [audit.Check].
type AuditCheck interface {
	// Begin gives [audit.ErrChecking] while the log is being verified.
	Begin(last int64) error
	Progress() audit.Progress
}

// recordView is a record of the event log with the hashes that bind it.
type recordView struct {
	Seq      int64           `json:"seq"`
	Former   string          `json:"former"` // hexadecimal
	Hash     string          `json:"hash"`
	LoggedAt stamp           `json:"logged_at"`
	Event    json.RawMessage `json:"event"`
}

// showEvent gives one event with its place in the log.
func (s *Server) showEvent(x *exchange) error {
	id, err := x.pathID(delivery.ErrNoEvent)
	if err != nil {
		return err
	}
	r, err := s.Audit.EventRecord(x.r.Context(), id)
	if err != nil {
		return fmt.Errorf("show event: %w", err)
	}
	return x.encode(http.StatusOK, recordView{
		Seq: r.Seq, Former: hex.EncodeToString(r.Former[:]), Hash: hex.EncodeToString(r.Hash[:]), LoggedAt: stamp(r.LoggedAt), Event: r.Payload,
	})
}

type checkpointView struct {
	Seq       int64  `json:"seq"`
	Head      string `json:"head"` // hexadecimal
	At        stamp  `json:"at"`
	KeyID     string `json:"key_id"`
	Signature string `json:"signature"` // base64
}

// listCheckpoints gives a page of checkpoints, the newest first.
func (s *Server) listCheckpoints(x *exchange) error {
	limit, err := x.limit("limit", 100, maxEvents)
	if err != nil {
		return err
	}
	var before int64
	if cursor := x.query("after"); cursor != "" {
		if before, err = parseCursor(cursor); err == nil && before == 0 {
			err = refuse("the cursor is none of this server")
		}
		if err != nil {
			return err
		}
	}
	found, err := s.Audit.NewestCheckpoints(x.r.Context(), before, limit)
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	next, views := "", make([]checkpointView, len(found))
	for n, c := range found {
		views[n] = checkpointView{
			Seq: c.Seq, Head: hex.EncodeToString(c.Head[:]), At: stamp(c.At), KeyID: c.KeyID, Signature: base64.StdEncoding.EncodeToString(c.Signature),
		}
		if n == limit-1 {
			next = formatCursor(c.Seq)
		}
	}
	return x.encode(http.StatusOK, struct {
		Checkpoints []checkpointView `json:"checkpoints"`
		Next        string           `json:"next"`
	}{views, next})
}

// auditCheckView is how far this process has verified the log.
type auditCheckView struct {
	State     audit.CheckState `json:"state"`
	StartedAt *stamp           `json:"started_at,omitempty"`
	EndedAt   *stamp           `json:"ended_at,omitempty"`
	Done      int64            `json:"done"`
	All       int64            `json:"all"`
	PerSecond int64            `json:"per_second"`
	Report    *audit.Report    `json:"report,omitempty"`
	Broken    *audit.Broken    `json:"broken,omitempty"`
}

func (s *Server) viewAuditCheck() auditCheckView {
	p := s.AuditCheck.Progress()
	v := auditCheckView{
		State: p.State, StartedAt: happened(p.StartedAt), EndedAt: happened(p.EndedAt), Done: p.Done, All: p.All, PerSecond: p.Rate(s.Now()), Broken: p.Broken,
	}
	if p.State == audit.CheckIntact {
		v.Report = &p.Report
	}
	return v
}

// showAuditCheck tells what came of verifying, or how far it is.
func (s *Server) showAuditCheck(x *exchange) error {
	return x.encode(http.StatusOK, s.viewAuditCheck())
}

// verifyAudit begins to verify the log, in this process.
func (s *Server) verifyAudit(x *exchange) error {
	var in struct {
		Last int64 `json:"last"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	if in.Last < 0 {
		return refuse("last must be a number of records, or 0 for all")
	}
	if err := s.AuditCheck.Begin(in.Last); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return x.encode(http.StatusAccepted, s.viewAuditCheck())
}
