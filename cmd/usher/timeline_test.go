package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/timeline"
)

func TestPrintTimeline(t *testing.T) {
	t.Parallel()
	received := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	after := func(ms int) time.Time { return received.Add(time.Duration(ms) * time.Millisecond) }
	var out bytes.Buffer
	err := printTimeline(&out, timeline.Timeline{
		ReceivedAt: received, TraceID: "t1", Lacks: []string{"bus"},
		Answer: []timeline.Span{{Name: "checks", State: timeline.Done, StartedAt: received, EndedAt: after(2)}, {Name: "session", State: timeline.Failed, EndedAt: after(502), Detail: "late"}},
		Events: []timeline.Event{{Type: "identity.created", At: after(20), Hooks: []timeline.Run{{
			Hook: "crm", State: timeline.Waiting, NextAt: after(60_000), Reason: "503",
			Attempts: []timeline.Attempt{{State: timeline.Failed, DeliveredAt: after(30), EndedAt: after(40)}},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for want, of := range map[string]timeline.Timeline{
		"at 2021-05-06 07:08:09 UTC":    {CreatedAt: time.Date(2021, 5, 6, 7, 8, 9, 0, time.UTC)},
		"the event log does not answer": {Lacks: []string{"events"}},
	} {
		var none bytes.Buffer
		if err := printTimeline(&none, of); err != nil || !strings.HasPrefix(none.String(), "There is no registration to show:") ||
			!strings.Contains(none.String(), want) || strings.Contains(none.String(), "0001") {
			t.Errorf("of somebody who was imported it prints %v\n%s\nwant %q in it", err, none.String(), want)
		}
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"trace t1", "checks +0s 2ms done", "session +502ms - failed late", "identity.created +20ms - in the outbox",
		"crm +30ms 10ms waiting, again 2026-11-2", "(503)", "could not be had just now: bus",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it prints\n%s\nwant %q in it", out.String(), want)
		}
	}
}
