package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/audit"
)

// readJSON asks for a path and decodes the answer.
func (c *client) readJSON(path string, status int, into any) {
	c.t.Helper()
	g := c.get(path)
	if g.status != status {
		c.t.Fatalf("%s = %d %s, want %d", path, g.status, g.body, status)
	}
	if err := json.Unmarshal([]byte(g.body), into); err != nil {
		c.t.Fatalf("%s = %s: %v", path, g.body, err)
	}
}

func TestAnEventWithItsHash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withLog)
	c := w.admin()
	var r struct {
		Seq          int64
		Former, Hash string
		LoggedAt     time.Time `json:"logged_at"`
		Event        json.RawMessage
	}
	second := w.memory.records[1]
	c.readJSON("/admin/events/"+second.EventID, http.StatusOK, &r)
	if r.Seq != 2 || r.Former != fmt.Sprintf("%x", second.Former) || r.Hash != fmt.Sprintf("%x", second.Hash) ||
		string(r.Event) != string(second.Payload) || !r.LoggedAt.Equal(noon) {
		t.Errorf("record = %+v, want the second", r)
	}
	for _, id := range []string{ann, "x", strings.ToUpper(second.EventID) + "0"} {
		if g := c.get("/admin/events/" + id); g.status != http.StatusNotFound {
			t.Errorf("event %s = %d, want 404", id, g.status)
		}
	}
}

func TestCheckpointsNewestFirst(t *testing.T) {
	t.Parallel()
	c := newWorld(t, withLog).admin()
	var p struct {
		Checkpoints []struct {
			Seq       int64
			Head      string
			KeyID     string `json:"key_id"`
			Signature []byte
		}
		Next string
	}
	c.readJSON("/admin/audit/checkpoints?limit=1", http.StatusOK, &p)
	if len(p.Checkpoints) != 1 || p.Checkpoints[0].Seq != 3 || p.Checkpoints[0].KeyID != auditKey().Public().ID() || len(p.Checkpoints[0].Signature) != 64 || p.Next != api.FormatCursor(3) {
		t.Errorf("checkpoints = %+v, want that of record 3", p)
	}
	c.readJSON("/admin/audit/checkpoints?after="+p.Next, http.StatusOK, &p)
	if len(p.Checkpoints) != 0 || p.Next != "" {
		t.Errorf("behind the last one = %+v", p)
	}
	for _, query := range []string{"after=x", "limit=0", "after=" + api.FormatCursor(0)} {
		if g := c.get("/admin/audit/checkpoints?" + query); g.status != http.StatusBadRequest {
			t.Errorf("checkpoints?%s = %d, want 400", query, g.status)
		}
	}
}

func TestVerifyInTheBackground(t *testing.T) {
	t.Parallel()
	var check *audit.Check
	w := newWorld(t, withLog, func(w *world) {
		check = audit.NewCheck(auditMemory{w}, time.Now)
		w.options.AuditCheck = check
	})
	c := w.admin()
	var p struct {
		State     string
		Done, All int64
		Report    *audit.Report
		Broken    *audit.Broken
	}
	order := func(body string) int {
		t.Helper()
		return c.do("POST", "/admin/audit/verify", body, "Content-Type", "application/json").status
	}
	c.readJSON("/admin/audit/verify", http.StatusOK, &p)
	if p.State != "none" {
		t.Errorf("before the first one = %+v", p)
	}
	for _, body := range []string{`{"last":-1}`, `{"first":1}`, `{"last":"x"}`} {
		if got := order(body); got != http.StatusBadRequest {
			t.Errorf("verify %s = %d, want 400", body, got)
		}
	}
	if got := order(`{"last":0}`); got != http.StatusAccepted {
		t.Fatalf("verify = %d, want 202", got)
	}
	if got := order(""); got != http.StatusConflict {
		t.Errorf("verify while it runs = %d, want 409", got)
	}
	ended := func() {
		t.Helper()
		go func() { _ = check.Run(t.Context()) }() // gives nil
		for p.State = "running"; p.State == "running"; {
			c.readJSON("/admin/audit/verify", http.StatusOK, &p)
		}
	}
	if ended(); p.State != "intact" || p.Report == nil || p.Report.Records != 6 || p.Report.Signed != 3 || p.Done != 6 || p.All != 6 {
		t.Errorf("it ended %+v, %+v", p, p.Report)
	}
	w.memory.records[3].Payload = []byte(`{}`)
	order("")
	if ended(); p.State != "broken" || p.Broken == nil || p.Broken.Seq != 4 {
		t.Errorf("an altered log ended %+v, %+v", p, p.Broken)
	}
}
