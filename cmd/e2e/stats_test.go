package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// counted is what a test looks at of the last hour.
type counted struct {
	Complete  bool
	Instances []struct{ Parts []string }
	Total     struct {
		Counts map[string]int64
		Times  map[string]struct{ Count int64 }
	}
	Now *struct {
		OutboxDepth int64 `json:"outbox_depth"`
	}
}

// counted asks one of the api processes.
func (s *system) counted(api int) (c counted) {
	s.t.Helper()
	newApp(s.t, s.admins[api]).must("GET", "/admin/stats", nil, nil).json(s.t, &c)
	return c
}

// TestTheLastHourIsThatOfAllProcesses, whichever of them is asked; and what a process
// counted last is told when it ends.
func TestTheLastHourIsThatOfAllProcesses(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	for n := range 8 {
		newApp(t, s.apis[n%2]).register(newAddress())
	}
	for api := range s.admins {
		eventually(t, 40*time.Second, func() error {
			c := s.counted(api)
			parts := []string{}
			for _, i := range c.Instances {
				parts = append(parts, strings.Join(i.Parts, "+"))
			}
			slices.Sort(parts)
			switch {
			case !slices.Equal(parts, []string{"api", "api", "hooks", "hooks", "session", "session"}):
				return fmt.Errorf("%s has heard %q", s.admins[api], parts)
			case c.Total.Counts["registrations.ok"] != 8 || c.Total.Times["hop"].Count != 8 || c.Total.Counts["published"] < 8:
				return fmt.Errorf("%s has counted %+v, want 8 registrations", s.admins[api], c.Total)
			case !c.Complete || c.Now == nil:
				return fmt.Errorf("%s does not know what waits: %+v", s.admins[api], c)
			}
			return nil
		})
	}
	newApp(t, s.apis[1]).register(newAddress())
	s.processes["api-2"].stop(t)
	eventually(t, 40*time.Second, func() error {
		if n := s.counted(0).Total.Counts["registrations.ok"]; n != 9 {
			return fmt.Errorf("%d registrations, want 9: the last was told by the process that has ended", n)
		}
		return nil
	})
}
