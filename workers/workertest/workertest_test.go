package workertest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

type created = workers.Event[events.IdentityCreated]

// Golden events are those that package events keeps for ever.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for _, pattern := range []string{"*.1.json", "golden/*.1.json"} {
		found, err := filepath.Glob(filepath.Join("../../events/testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			files[filepath.Base(f)] = f
		}
	}
	for _, e := range workertest.Events() {
		got, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		file, ok := files[e.Type+".1.json"]
		if !ok {
			continue // its file is not there yet
		}
		delete(files, e.Type+".1.json")
		eventstest.Validate(t, got)
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) && string(got) != string(want) {
			t.Errorf("%s is\n%s, want\n%s", e.Type, got, want)
		}
	}
	for left := range files {
		t.Errorf("there is no golden event for %s", left)
	}
}

func TestEventIsOfItsPayload(t *testing.T) {
	t.Parallel()
	e := workertest.Event(func(p *events.IdentityCreated) { p.SchemaID = "staff" })
	other := workertest.Event[events.LoginFailed]()
	if e.Type != "identity.created" || other.Type != "login.failed" || e.Subject != workertest.IdentityID {
		t.Errorf("events = %+v, %+v", e, other)
	}
	again, _ := workertest.Event[events.LoginFailed]().Encode()
	if data, _ := other.Encode(); string(data) != string(again) {
		t.Errorf("the event differs from one call to the next:\n%s\n%s", data, again)
	}
	var schema string
	w := workers.New("w")
	workers.On(w, func(_ context.Context, e created) error { schema = e.Data.SchemaID; return nil })
	if r := workertest.Run(t.Context(), w, e); r.Outcome != workers.Done || schema != "staff" {
		t.Errorf("Run = %+v with schema %q, want it done with staff", r, schema)
	}
	if r := workertest.Run(t.Context(), w, other); r.Outcome != workers.Skipped {
		t.Errorf("Run of a type without a handler = %+v, want it skipped", r)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	w := workers.New("w")
	workers.On(w, func(ctx context.Context, e created) error {
		if e.Attempt == 2 {
			panic("at the disco")
		}
		_, err := workers.Identity(ctx)
		return errors.Join(err, ctx.Err())
	})
	e := workertest.Event[events.IdentityCreated]()
	ada := workertest.Traits(map[string]any{"email": "ada@example.com"})
	for name, tc := range map[string]struct {
		options []workertest.Option
		outcome workers.Outcome
		err     error
		reason  string
	}{
		"fine":      {[]workertest.Option{ada}, workers.Done, nil, ""},
		"late":      {[]workertest.Option{ada, workertest.Deadline(0)}, workers.Retry, context.DeadlineExceeded, "timeout: context deadline exceeded"},
		"panic":     {[]workertest.Option{ada, workertest.Attempt(2)}, workers.Retry, nil, "panic: at the disco"},
		"crash":     {[]workertest.Option{ada, workertest.Deliveries(6)}, workers.Dead, nil, "crash: delivered 6 times without an outcome"},
		"not crash": {[]workertest.Option{ada, workertest.Deliveries(5)}, workers.Done, nil, ""},
		"gone":      {[]workertest.Option{workertest.Gone()}, workers.Retry, workers.ErrGone, "error: the person has been deleted"},
		"no answer": {nil, workers.Retry, workers.ErrUnavailable, "error: the identity is not to be had now no worker"},
	} {
		r := workertest.Run(t.Context(), w, e, tc.options...)
		if r.Outcome != tc.outcome || tc.err != nil && !errors.Is(r.Err, tc.err) || r.Reason != tc.reason {
			t.Errorf("%s: Run = %+v, want %s, %v, %q", name, r, tc.outcome, tc.err, tc.reason)
		}
	}
	if r := workertest.RunMessage(t.Context(), w, []byte("nonsense")); r.Outcome != workers.Dead || r.Reason != "decode: it is no event" {
		t.Errorf("RunMessage of nonsense = %+v, want a dead letter", r)
	}
}

func TestStoryAndReorder(t *testing.T) {
	t.Parallel()
	story := workertest.Story(events.IdentityCreated{IdentityID: workertest.IdentityID}, events.IdentityUpdated{}, events.IdentityDeleted{})
	sequences := func(all []events.Event) (s []string) {
		for _, e := range all {
			s = append(s, e.Sequence)
		}
		return s
	}
	if got := sequences(story); !slices.Equal(got, []string{"1", "2", "3"}) || story[0].ID == story[1].ID {
		t.Errorf("story = %+v", story)
	}
	orders := map[string]bool{}
	for seed := range uint64(50) {
		one, two := sequences(workertest.Reorder(seed, story)), sequences(workertest.Reorder(seed, story))
		if !slices.Equal(one, two) {
			t.Errorf("seed %d gives %v and %v", seed, one, two)
		}
		orders[one[0]+one[1]+one[2]] = true
	}
	if len(orders) != 6 {
		t.Errorf("50 seeds gave the orders %v, want all 6", orders)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	a := workers.Answer("age", func(_ context.Context, q workers.Question) (workers.Reply, error) {
		if q.Identity == nil {
			return workers.Reply{}, broken
		}
		return workers.Refuse("#/traits/age", 4000001, "too young"), nil
	})
	got, err := workertest.Ask(t.Context(), a, workers.Question{Identity: &events.HookIdentity{ID: workertest.IdentityID}, Flow: events.HookFlow{IssuedAt: time.Now()}})
	if err != nil || len(got.Messages) != 1 || got.Messages[0].Messages[0].Text != "too young" {
		t.Errorf("Ask = %+v, %v, want the refusal", got, err)
	}
	if _, err := workertest.Ask(t.Context(), a, workers.Question{}); !errors.Is(err, broken) {
		t.Errorf("Ask = %v, want %v", err, broken)
	}
}
