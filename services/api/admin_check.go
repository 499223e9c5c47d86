package api

import (
	"context"
	"net/http"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// Checker sees what a running worker does, see [delivery.Checks].
type Checker interface {
	Check(ctx context.Context, o delivery.CheckOptions) (delivery.Checked, error)
}

const (
	// usualCheck is how long a check waits for a worker where nobody says,
	// longestCheck how long at most.
	usualCheck   = 45 * time.Second
	longestCheck = 5 * time.Minute
	// checkSlack is how long the answer may take behind that.
	checkSlack = 15 * time.Second
)

type checkedView struct {
	Case       delivery.CheckCase `json:"case"`
	Type       string             `json:"type"`
	Verdict    delivery.Verdict   `json:"verdict"`
	TookMS     int64              `json:"took_ms"`
	Events     int                `json:"events"`
	Settled    int                `json:"settled"`
	Deliveries int                `json:"deliveries"`
	Reason     string             `json:"reason,omitempty"`
	Note       string             `json:"note,omitempty"`
}

// checkHook gives a worker the events of one case and answers what it did. A
// server that drains waits for no worker.
func (s *Server) checkHook(x *exchange) error {
	var in struct {
		Case  delivery.CheckCase `json:"case"`
		Type  string             `json:"type"`
		Count int                `json:"count"`
		For   string             `json:"for"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	long := usualCheck
	if in.For != "" {
		var err error
		if long, err = time.ParseDuration(in.For); err != nil || long <= 0 || long > longestCheck {
			return refuse("for: want a duration up to %s, such as 30s", longestCheck)
		}
	}
	x.outlast(long + checkSlack)
	ctx, cancel := context.WithTimeout(x.r.Context(), long)
	defer cancel()
	go func() {
		select {
		case <-s.Draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	c, err := s.Checker.Check(ctx, delivery.CheckOptions{
		Hook: x.r.PathValue("name"), Case: in.Case, Type: in.Type, Count: in.Count, By: x.author(),
	})
	if err != nil {
		return hookError("check hook", err)
	}
	return x.encode(http.StatusOK, checkedView{
		Case: c.Case, Type: c.Type, Verdict: c.Verdict, TookMS: c.Took.Milliseconds(), Events: c.Events,
		Settled: c.Settled, Deliveries: c.Deliveries, Reason: c.Reason, Note: c.Note,
	})
}
