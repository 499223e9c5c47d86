package main

import (
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

func TestAge(t *testing.T) {
	for traits, refused := range map[string]bool{`{"age":15}`: true, `{"age":16}`: false} {
		got, err := workertest.Ask(t.Context(), worker(), workers.Question{Identity: &events.HookIdentity{Traits: []byte(traits)}})
		if err != nil || len(got.Messages) > 0 != refused {
			t.Errorf("answer to %s = %+v, %v, want it refused: %t", traits, got, err, refused)
		}
	}
	if got, err := workertest.Ask(t.Context(), worker(), workers.Question{}); err == nil {
		t.Errorf("answer to a question without an identity = %+v, want an error", got)
	}
}
