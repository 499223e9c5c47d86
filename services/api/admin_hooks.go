package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// Hooks declares hooks while everything runs, see [delivery.Declarations].
type Hooks interface {
	List(ctx context.Context) ([]delivery.Shown, error)
	Declared(ctx context.Context) ([]delivery.Shown, error)
	Show(ctx context.Context, name string) (delivery.Shown, error)
	Create(ctx context.Context, h delivery.Hook, by delivery.Author) (delivery.Shown, delivery.Credential, error)
	Rotate(ctx context.Context, name string, by delivery.Author) (delivery.Shown, delivery.Credential, error)
	Pause(ctx context.Context, name string, long time.Duration, by delivery.Author) (delivery.Shown, error)
	Resume(ctx context.Context, name string, by delivery.Author) (delivery.Shown, error)
	Remove(ctx context.Context, name string, by delivery.Author) error
}

type hookView struct {
	Name      string        `json:"name"`
	Kind      delivery.Kind `json:"kind"`
	Events    []string      `json:"events"`
	Traits    []string      `json:"traits"`
	URL       string        `json:"url,omitempty"`
	Declared  string        `json:"declared"` // "stored", "file", "fixed"
	Disabled  string        `json:"disabled,omitempty"`
	CreatedAt *stamp        `json:"created_at,omitempty"`
	Consumer  *consumerView `json:"consumer"` // null where there is none, or it is not known
	Failures  failuresView  `json:"failures"`
	// Instances are the programs that are seen on the bus; others may run.
	Instances []instanceView `json:"instances"`
}

type instanceView struct {
	ID        string `json:"id"`
	Version   string `json:"version"`
	StartedAt *stamp `json:"started_at,omitempty"`
	// Work is what it says that it has done since it started, if it does.
	Work *workView `json:"work,omitempty"`
}

// workView counts attempts at events by what became of them.
type workView struct {
	Done    int64 `json:"done"`
	Skipped int64 `json:"skipped"`
	Retry   int64 `json:"retry"`
	Dead    int64 `json:"dead"`
	Running int64 `json:"running"`
}

func viewInstance(i delivery.Instance) instanceView {
	v := instanceView{ID: i.ID, Version: i.Version, StartedAt: happened(i.Started)}
	if _, counts := i.Counts["done"]; counts {
		v.Work = &workView{i.Counts["done"], i.Counts["skipped"], i.Counts["retry"], i.Counts["dead"], i.Counts["running"]}
	}
	return v
}

type consumerView struct {
	Pending     uint64 `json:"pending"`
	AckPending  int    `json:"ack_pending"`
	Redelivered int    `json:"redelivered"`
	Waiting     int    `json:"waiting"`
	PausedUntil *stamp `json:"paused_until,omitempty"`
	DeliveredAt *stamp `json:"delivered_at,omitempty"`
}

type failuresView struct {
	Waiting   int64 `json:"waiting"`
	Dead      int64 `json:"dead"`
	Discarded int64 `json:"discarded"`
}

func viewHook(s delivery.Shown) hookView {
	v := hookView{
		Name: s.Name, Kind: s.Kind, Events: append([]string{}, s.Types...), Traits: append([]string{}, s.Traits...), URL: withoutQuery(s.URL),
		Declared: "stored", Disabled: s.Disabled, CreatedAt: happened(s.CreatedAt),
		Failures:  failuresView{s.Failures[delivery.Waiting], s.Failures[delivery.Dead], s.Failures[delivery.Discarded]},
		Instances: make([]instanceView, len(s.Instances)),
	}
	for n, i := range s.Instances {
		v.Instances[n] = viewInstance(i)
	}
	switch {
	case s.InFile:
		v.Declared = "file"
	case s.CreatedAt.IsZero():
		v.Declared = "fixed"
	}
	if c := s.Consumer; c != nil {
		v.Consumer = &consumerView{
			Pending: c.Pending, AckPending: c.AckPending, Redelivered: c.Redelivered, Waiting: c.Waiting,
			PausedUntil: happened(c.PausedUntil), DeliveredAt: happened(c.DeliveredAt),
		}
	}
	return v
}

// newHookView is a hook with its credential, which is shown once.
type newHookView struct {
	Hook       hookView `json:"hook"`
	Credential string   `json:"credential"`
	BusURL     string   `json:"nats_url"`
	BusCA      string   `json:"nats_ca,omitempty"`
}

func (s *Server) viewNewHook(shown delivery.Shown, c delivery.Credential) newHookView {
	v := newHookView{Hook: viewHook(shown), Credential: c.Reveal(), BusURL: s.BusURL}
	if s.BusCA != nil {
		v.BusCA = s.BusCA()
	}
	return v
}

// hookError makes an error one that says what an administrator can mend.
func hookError(operation string, err error) error {
	var invalid *delivery.Invalid
	if errors.As(err, &invalid) {
		return refuse("%s", invalid.Text)
	}
	if used := usedName(err); used != nil {
		return used
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// usedName is what a name that cannot be had yet is to administrators, nil for
// another error.
func usedName(err error) error {
	var used *delivery.NameUsed
	if !errors.As(err, &used) {
		return nil
	}
	return &problem{status: http.StatusConflict, reason: used.Error() + ". If none of them has leaked, reuse_name lets the new hook have it"}
}

func (s *Server) listHooks(x *exchange) error {
	look, err := x.choice("instances")
	if err != nil {
		return err
	}
	list := s.Hooks.List
	if look != nil && !*look {
		list = s.Hooks.Declared
	}
	all, err := list(x.r.Context())
	if err != nil {
		return hookError("list hooks", err)
	}
	views := make([]hookView, len(all))
	for n := range all {
		views[n] = viewHook(all[n])
	}
	return x.encode(http.StatusOK, struct {
		Hooks []hookView `json:"hooks"`
	}{views})
}

func (s *Server) createHook(x *exchange) error {
	var in struct {
		Name   string        `json:"name"`
		Kind   delivery.Kind `json:"kind"`
		Events []string      `json:"events"`
		Traits []string      `json:"traits"`
		Reuse  bool          `json:"reuse_name"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	if err := refuseUnknown("trait", in.Traits, x.traitNames()); err != nil {
		return err
	}
	shown, credential, err := s.Hooks.Create(x.r.Context(), delivery.Hook{
		Name: in.Name, Kind: in.Kind, Types: in.Events, Traits: in.Traits, ReuseName: in.Reuse,
	}, x.author())
	if err != nil {
		return hookError("create hook", err)
	}
	return x.encode(http.StatusCreated, s.viewNewHook(shown, credential))
}

func (s *Server) showHook(x *exchange) error {
	shown, err := s.Hooks.Show(x.r.Context(), x.r.PathValue("name"))
	return x.hook("show hook", shown, err)
}

func (s *Server) pauseHook(x *exchange) error {
	var in struct {
		For string `json:"for"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	var long time.Duration
	if in.For != "" {
		var err error
		if long, err = time.ParseDuration(in.For); err != nil || long <= 0 {
			return refuse("for: want a duration such as 10m or 2h, or nothing for a pause without an end")
		}
	}
	shown, err := s.Hooks.Pause(x.r.Context(), x.r.PathValue("name"), long, x.author())
	return x.hook("pause hook", shown, err)
}

func (s *Server) resumeHook(x *exchange) error {
	shown, err := s.Hooks.Resume(x.r.Context(), x.r.PathValue("name"), x.author())
	return x.hook("resume hook", shown, err)
}

func (x *exchange) hook(operation string, shown delivery.Shown, err error) error {
	if err != nil {
		return hookError(operation, err)
	}
	return x.encode(http.StatusOK, viewHook(shown))
}

func (s *Server) rotateHook(x *exchange) error {
	shown, credential, err := s.Hooks.Rotate(x.r.Context(), x.r.PathValue("name"), x.author())
	if err != nil {
		return hookError("rotate hook", err)
	}
	return x.encode(http.StatusOK, s.viewNewHook(shown, credential))
}

func (s *Server) removeHook(x *exchange) error {
	if err := s.Hooks.Remove(x.r.Context(), x.r.PathValue("name"), x.author()); err != nil {
		return hookError("remove hook", err)
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}
