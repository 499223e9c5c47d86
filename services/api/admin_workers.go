package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// SessionWorkers sees which session workers run, as they answer now. Its error
// says that they cannot be seen.
type SessionWorkers interface {
	SessionWorkers(ctx context.Context) ([]delivery.Instance, error)
}

type sessionWorkerView struct {
	ID          string  `json:"id"`
	Version     string  `json:"version"`
	StartedAt   *stamp  `json:"started_at,omitempty"`
	RoundTripMS float64 `json:"round_trip_ms"`
	// What it has done since it started: Answered gave a session, Refused said why
	// not, Late came behind their deadline, Failed are its own errors.
	Answered int64 `json:"answered"`
	Refused  int64 `json:"refused"`
	Late     int64 `json:"late"`
	Failed   int64 `json:"failed"`
	Running  int64 `json:"running"`
	// AverageMS is how long it took for one of them, 0 where there is none.
	AverageMS float64 `json:"average_ms"`
}

var errNoSessionWorkers = &problem{status: http.StatusServiceUnavailable, retry: soon, reason: "The bus does not answer, so which session workers run cannot be seen. That says nothing about them."}

// listSessionWorkers gives the session workers that answer on the bus now.
func (s *Server) listSessionWorkers(x *exchange) error {
	found, err := s.SessionWorkers.SessionWorkers(x.r.Context())
	if err != nil {
		s.Log.WarnContext(x.r.Context(), "which session workers run is not known", "error", err)
		return errNoSessionWorkers
	}
	slices.SortFunc(found, func(a, b delivery.Instance) int { return strings.Compare(a.ID, b.ID) })
	views := make([]sessionWorkerView, len(found))
	for n, i := range found {
		views[n] = viewSessionWorker(i)
	}
	return x.encode(http.StatusOK, struct {
		Workers []sessionWorkerView `json:"session_workers"`
	}{views})
}

func viewSessionWorker(i delivery.Instance) sessionWorkerView {
	c := i.Counts
	v := sessionWorkerView{
		ID: i.ID, Version: i.Version, StartedAt: happened(i.Started), RoundTripMS: milliseconds(i.RoundTrip),
		Answered: c["answered"], Refused: c["refused"], Late: c["late"], Failed: c["failed"], Running: c["running"],
	}
	if all := v.Answered + v.Refused + v.Late + v.Failed; all > 0 {
		v.AverageMS = milliseconds(time.Duration(c["nanoseconds"] / all))
	}
	return v
}

// milliseconds are those of a duration, with its microseconds.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
