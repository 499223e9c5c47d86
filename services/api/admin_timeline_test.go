package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/timeline"
)

// timelines give everybody the same, but for one flow that is nobody's.
type timelines struct{}

var strangeFlow = uuid.MustParse("00000000-0000-4000-8000-0000000000ff")

func (timelines) Of(_ context.Context, id, flow uuid.UUID) (*timeline.Timeline, error) {
	if flow == strangeFlow {
		return nil, timeline.ErrNoFlow
	}
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	return &timeline.Timeline{
		IdentityID: id, FlowID: ann, FlowType: "api", Method: "password", SessionID: bob, RequestID: "r", TraceID: "t", ReceivedAt: noon,
		Answer: []timeline.Span{
			{Name: timeline.StepCommit, State: timeline.Done, StartedAt: noon},
			{Name: timeline.StepSession, State: timeline.Failed, EndedAt: noon, Detail: "late"},
		},
		Events: []timeline.Event{{ID: cleo, Type: "identity.created", At: noon, LoggedAt: noon, StreamSeq: 7, Hooks: []timeline.Run{{
			Hook: "crm", Kind: "worker", State: timeline.Waiting, NextAt: noon.Add(time.Hour), Reason: "503",
			Attempts: []timeline.Attempt{{State: timeline.Failed, DeliveredAt: noon, EndedAt: noon, Deliveries: 1}},
		}}}},
		Open: true, NextAt: noon.Add(time.Hour), Flows: []string{ann}, Lacks: []string{"bus"},
	}, nil
}

// TestTimelineIsToldOnce: it is asked for every two seconds while somebody looks
// at it, and each administrator who does is told of.
func TestTimelineIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w *world) { w.options.Guarded = true })
	c := w.admin()
	token := []string{"Authorization", "Bearer usher_at_root", "Content-Type", "application/json"}
	g := c.do("POST", "/admin/identities", `{"traits":{"email":"anna@example.org"}}`, token...)
	id := strings.Split(g.body, `"`)[3]
	before := len(w.journal.acts())
	for range 3 {
		g := c.get("/admin/identities/"+id+"/timeline?flow="+ann, token[:2]...)
		if g.status != 200 || !strings.Contains(g.body, `"received_at":"2026-11-26T12:00:00Z"`) || !strings.Contains(g.body, `"next_at":"2026-11-26T13:00:00Z"`) || !strings.Contains(g.body, `"created_at":"20`) {
			t.Fatalf("timeline = %d %s", g.status, g.body)
		}
	}
	if acts := w.journal.acts()[before:]; len(acts) != 1 || !strings.Contains(acts[0], `"timeline.read","target":"`+id+`"`) {
		t.Errorf("three looks told %q, want one", acts)
	}
	for query, status := range map[string]int{"?flow=x": 400, "?flow=" + strangeFlow.String(): 400} {
		if g := c.get("/admin/identities/"+id+"/timeline"+query, token[:2]...); g.status != status {
			t.Errorf("timeline%s = %d %s, want %d", query, g.status, g.body, status)
		}
	}
}
