package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

const checkTime = 2 * time.Second

// alive says that this process answers.
func (s *Server) alive(x *exchange) error {
	return x.encode(http.StatusOK, health{Status: "ok"})
}

type health struct {
	Status   string            `json:"status,omitempty"`
	Errors   map[string]string `json:"errors,omitempty"`
	Warnings map[string]string `json:"warnings,omitempty"`
}

// ready says whether this process can do its work.
func (s *Server) ready(x *exchange) error { return s.check(x, s.Checks) }

// accepting says whether this process takes requests, whatever that all share is away:
// who takes it out of a balancer for that takes out all of them.
func (s *Server) accepting(x *exchange) error {
	return s.check(x, slices.DeleteFunc(slices.Clone(s.Checks), func(c Check) bool { return !c.Own }))
}

// check says what of checks fails. Why stands in the log.
func (s *Server) check(x *exchange, checks []Check) error {
	ctx, cancel := context.WithTimeout(x.r.Context(), checkTime)
	defer cancel()
	failed, warnings := map[string]string{}, map[string]string{}
	for _, check := range checks {
		err := check.Run(ctx)
		if err == nil {
			continue
		}
		optional := check.Optional != nil && check.Optional()
		s.Log.WarnContext(ctx, "not ready", slog.String("check", check.Name), slog.Bool("optional", optional), slog.Any("error", err))
		if optional {
			warnings[check.Name] = "unavailable"
		} else {
			failed[check.Name] = "unavailable"
		}
	}
	if len(failed) > 0 {
		return x.encode(http.StatusServiceUnavailable, health{Errors: failed, Warnings: warnings})
	}
	return x.encode(http.StatusOK, health{Status: "ok", Warnings: warnings})
}
