package main

import (
	"bytes"
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

func TestGreet(t *testing.T) {
	e := workertest.Event[events.IdentityCreated]()
	for name, tc := range map[string]struct {
		person []workertest.Option
		want   workers.Outcome
		mail   string
	}{
		"writes":     {[]workertest.Option{workertest.Traits(map[string]any{"email": "ada@example.com", "name": "Ada"})}, workers.Done, "To: ada@example.com\nHello Ada!\n"},
		"no address": {[]workertest.Option{workertest.Traits(nil)}, workers.Dead, ""},
		"gone":       {[]workertest.Option{workertest.Gone()}, workers.Done, ""},
		"no answer":  {nil, workers.Retry, ""},
	} {
		var mail bytes.Buffer
		r := workertest.Run(t.Context(), worker(&mail), e, tc.person...)
		if r.Outcome != tc.want || mail.String() != tc.mail {
			t.Errorf("%s: %+v and mail %q, want %s and %q", name, r, mail.String(), tc.want, tc.mail)
		}
	}
}
