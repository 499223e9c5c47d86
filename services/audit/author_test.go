package audit_test

import (
	"testing"
	"time"

	"github.com/usher-auth/usher/services/audit"
)

// Whatever part tells of an action, its event has the same source.
func TestActed(t *testing.T) {
	by := audit.Author{Actor: "admin:ann", RequestID: "request-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := by.Acted("hook.pause", "crm", now)
	if e.Source != "/usher/admin" || e.Actor != by.Actor || e.RequestID != by.RequestID || e.TraceParent != by.TraceParent || !e.Time.Equal(now) {
		t.Errorf("event = %+v, want it from /usher/admin, by %+v", e, by)
	}
	if got, want := e.Type+" "+string(e.Data), `admin.acted {"action":"hook.pause","target":"crm"}`; got != want {
		t.Errorf("event = %s, want %s", got, want)
	}
}
