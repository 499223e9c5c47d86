package api

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	checkTime = 2 * time.Second
	// sharedFor is how long what was found beside this process is the answer to all who
	// ask: anybody may, and each look asks the database and the bus.
	sharedFor = 500 * time.Millisecond
)

// alive says that this process answers.
func (s *Server) alive(x *exchange) error {
	return x.encode(http.StatusOK, health{Status: "ok"})
}

type health struct {
	Status   string            `json:"status,omitempty"`
	Errors   map[string]string `json:"errors,omitempty"`
	Warnings map[string]string `json:"warnings,omitempty"`
}

// looks is what is known of the checks.
type looks struct {
	turn  sync.Mutex // held by who looks beside this process
	found health     // at the last of these looks
	until time.Time  // so long it holds

	mu      sync.Mutex
	failing map[string]bool // by name of the check, as it was logged
}

// ready says whether this process can do its work.
func (s *Server) ready(x *exchange) error {
	beside := s.shared(x.r.Context())
	return x.healthy(s.check(x.r.Context(), true), beside)
}

// accepting says whether this process takes requests, whatever that all share is away:
// who takes it out of a balancer for that takes out all of them.
func (s *Server) accepting(x *exchange) error {
	return x.healthy(s.check(x.r.Context(), true))
}

// healthy answers with what was found.
func (x *exchange) healthy(found ...health) error {
	all := health{Errors: map[string]string{}, Warnings: map[string]string{}}
	for _, h := range found {
		maps.Copy(all.Errors, h.Errors)
		maps.Copy(all.Warnings, h.Warnings)
	}
	if len(all.Errors) > 0 {
		return x.encode(http.StatusServiceUnavailable, all)
	}
	all.Status = "ok"
	return x.encode(http.StatusOK, all)
}

// shared gives what fails beside this process. Those who ask while somebody looks, and
// for a short time after, get what that one finds.
func (s *Server) shared(ctx context.Context) health {
	s.looks.turn.Lock()
	defer s.looks.turn.Unlock()
	if s.Now().Before(s.looks.until) {
		return s.looks.found
	}
	s.looks.found = s.check(context.WithoutCancel(ctx), false) // not for who asked alone
	s.looks.until = s.Now().Add(sharedFor)
	return s.looks.found
}

// check gives what fails of the checks that are of this process alone, or of the others.
// Why stands in the log.
func (s *Server) check(ctx context.Context, own bool) health {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	h := health{Errors: map[string]string{}, Warnings: map[string]string{}}
	for _, check := range s.Checks {
		if check.Own != own {
			continue
		}
		err := check.Run(ctx)
		optional := check.Optional != nil && check.Optional()
		s.tellCheck(ctx, check.Name, optional, err)
		switch {
		case err == nil:
		case optional:
			h.Warnings[check.Name] = "unavailable"
		default:
			h.Errors[check.Name] = "unavailable"
		}
	}
	return h
}

// tellCheck logs when a check begins to fail, and when it no longer does.
func (s *Server) tellCheck(ctx context.Context, check string, optional bool, err error) {
	s.looks.mu.Lock()
	former := s.looks.failing[check]
	s.looks.failing[check] = err != nil
	s.looks.mu.Unlock()
	switch {
	case err != nil && !former:
		s.Log.WarnContext(ctx, "not ready", slog.String("check", check), slog.Bool("optional", optional), slog.Any("error", err))
	case err == nil && former:
		s.Log.InfoContext(ctx, "ready again", slog.String("check", check))
	}
}
