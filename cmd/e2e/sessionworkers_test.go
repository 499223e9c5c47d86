package e2e_test

import (
	"net/http"
	"testing"
)

// TestSessionWorkersAreSeen: those that run, where they are and how quickly they
// answer, also from another process.
func TestSessionWorkersAreSeen(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, shape, hooks(sessionHook))
			var list struct {
				Workers []struct {
					ID        string
					Version   string
					RoundTrip float64 `json:"round_trip_ms"`
				} `json:"session_workers"`
			}
			newApp(t, s.admins[0]).must(http.MethodGet, "/admin/session-workers", nil, nil).json(t, &list)
			if len(list.Workers) == 0 || list.Workers[0].ID == "" || list.Workers[0].RoundTrip <= 0 {
				t.Errorf("session workers = %+v, want one that has answered", list)
			}
		})
	}
}
