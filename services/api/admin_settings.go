package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/override"
)

// Overrides are the settings that operators save, see [override.Service].
type Overrides interface {
	Current(ctx context.Context) (override.Snapshot, error)
	Preview(ctx context.Context, c override.Change) (override.Preview, error)
	Save(ctx context.Context, seen int64, c override.Change, by audit.Author) (override.Snapshot, error)
	Revert(ctx context.Context, seen, to int64, by audit.Author) (override.Snapshot, error)
	History(ctx context.Context, before int64, limit int) ([]override.Revision, error)
}

// addOverrides adds what administrators do with saved settings.
func (s *Server) addOverrides(rt *router) {
	rt.add(routeOverrides, methods{http.MethodGet: s.showOverrides, http.MethodPatch: s.saveOverrides}, guarded)
	rt.add(routeOverrides+"/preview", methods{http.MethodPost: s.previewOverrides}, guarded)
	rt.add(routeOverrides+"/history", get(s.overrideHistory), guarded)
	rt.add(routeOverrides+"/revert", methods{http.MethodPost: s.revertOverrides}, guarded)
}

// showOverrides gives all settings, and what they do.
func (s *Server) showOverrides(x *exchange) error {
	now, err := s.Overrides.Current(x.r.Context())
	if err != nil {
		return overrideError("show settings", err)
	}
	return x.encode(http.StatusOK, now)
}

// previewOverrides shows what a change would do. A change that cannot hold is an
// answer too: why.
func (s *Server) previewOverrides(x *exchange) error {
	var in override.Change
	if err := x.decode(&in); err != nil {
		return err
	}
	p, err := s.Overrides.Preview(x.r.Context(), in)
	if err != nil {
		return overrideError("preview settings", err)
	}
	return x.encode(http.StatusOK, p)
}

// saveOverrides saves a change of the revision that was seen.
func (s *Server) saveOverrides(x *exchange) error {
	var in struct {
		Revision *int64 `json:"revision"`
		override.Change
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	if in.Revision == nil {
		return refuse("revision is missing: which one was seen? 0 where nothing is saved")
	}
	now, err := s.Overrides.Save(x.r.Context(), *in.Revision, in.Change, x.author())
	if err != nil {
		return overrideError("save settings", err)
	}
	return x.encode(http.StatusOK, now)
}

// revertOverrides makes a new revision with the values of an earlier one.
func (s *Server) revertOverrides(x *exchange) error {
	var in struct {
		Revision *int64 `json:"revision"`
		To       *int64 `json:"to"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	if in.Revision == nil || in.To == nil {
		return refuse("revision, which was seen, and to, whose values are wanted, must both be given")
	}
	now, err := s.Overrides.Revert(x.r.Context(), *in.Revision, *in.To, x.author())
	if err != nil {
		return overrideError("revert settings", err)
	}
	return x.encode(http.StatusOK, now)
}

const (
	usualRevisions = 25
	maxRevisions   = 100
)

// overrideHistory gives revisions, the newest first.
func (s *Server) overrideHistory(x *exchange) error {
	size, err := x.limit("page_size", usualRevisions, maxRevisions)
	if err != nil {
		return err
	}
	var before int64
	if text := x.query("before"); text != "" {
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 1 {
			return refuse("before must be the number of a revision")
		}
	}
	found, err := s.Overrides.History(x.r.Context(), before, size+1) // one more tells whether there is a next page
	if err != nil {
		return overrideError("history of settings", err)
	}
	if len(found) > size {
		found = found[:size]
		next := url.Values{"before": {strconv.FormatInt(found[size-1].Number, 10)}, "page_size": {strconv.Itoa(size)}}
		x.w.Header()["Link"] = []string{"<" + routeOverrides + "/history?" + next.Encode() + `>; rel="next"`}
	}
	return x.encode(http.StatusOK, found)
}

// overrideError says what an operator can do about it.
func overrideError(doing string, err error) error {
	var stale *override.Stale
	var refused *override.Refused
	switch {
	case errors.As(err, &stale) && stale.Newest.Number == 0:
		return &problem{status: http.StatusConflict, reason: "Nothing is saved: the revision that was seen is not there.", details: map[string]any{"newest": stale.Newest}}
	case errors.As(err, &stale):
		return &problem{
			status: http.StatusConflict, details: map[string]any{"newest": stale.Newest},
			reason: fmt.Sprintf("%s has saved revision %d since. Look at it, then save again: nothing was changed.", stale.Newest.Actor, stale.Newest.Number),
		}
	case errors.As(err, &refused):
		return &problem{
			status: http.StatusBadRequest, details: map[string]any{"refused": refused.Reasons},
			reason: "This cannot hold, and nothing was changed: " + strings.Join(refused.Reasons, "; "),
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
