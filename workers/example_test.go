package workers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

func Example() {
	bus, stop := exampleBus("welcome", "customer", "staff")
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	w := workers.New("welcome", workers.WithConn(bus.hooks), workers.Concurrency(1))
	workers.On(w, func(_ context.Context, e workers.Event[events.IdentityCreated]) error {
		fmt.Printf("%s: %s by %s, attempt %d\n", e.Type, e.Data.SchemaID, e.Data.Method, e.Attempt)
		if e.Data.SchemaID == "staff" {
			end()
		}
		return nil
	})
	fmt.Println(w.Run(ctx))
	// Output:
	// identity.created: customer by password, attempt 1
	// identity.created: staff by password, attempt 1
	// <nil>
}

// An event whose handler fails comes again; one that failed for good does not.
func Example_retry() {
	bus, stop := exampleBus("crm", "customer", "staff")
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	w := workers.New("crm", workers.WithConn(bus.hooks), workers.Concurrency(1),
		workers.Logger(discard), workers.Observe(func(a workers.Attempt) {
			fmt.Println(a.Number, a.Outcome, a.Err)
			if a.Number == 2 {
				end()
			}
		}))
	workers.On(w, func(_ context.Context, e workers.Event[events.IdentityCreated]) error {
		switch {
		case e.Data.SchemaID == "staff":
			return workers.Permanent(errors.New("no such customer"))
		case e.Attempt == 1:
			return workers.RetryIn(200*time.Millisecond, errors.New("too many requests"))
		}
		return nil
	})
	fmt.Println(w.Run(ctx))
	// Output:
	// 1 retry too many requests
	// 1 dead no such customer
	// 2 done <nil>
	// <nil>
}

func ExampleOn() {
	w := workers.New("crm")
	workers.On(w, func(_ context.Context, e workers.Event[events.IdentityCreated]) error {
		fmt.Println(e.Type, e.Data.Method, "attempt", e.Attempt)
		return nil
	})
	workers.On(w, func(_ context.Context, e workers.Event[events.IdentityDeleted]) error {
		fmt.Println(e.Type, e.Subject == e.Data.IdentityID)
		return nil
	})
	for _, e := range []events.Event{
		workertest.Event[events.IdentityCreated](), workertest.Event[events.IdentityDeleted](), workertest.Event[events.MailSent](),
	} {
		fmt.Println(workertest.Run(context.Background(), w, e).Outcome)
	}
	// Output:
	// identity.created password attempt 1
	// done
	// identity.deleted true
	// done
	// skipped
}

// The key is the same each time this worker gets this event, and another for
// every other worker.
func ExampleIdempotencyKey() {
	e := workertest.Event[events.IdentityCreated]()
	for _, name := range []string{"crm", "mail"} {
		w := workers.New(name)
		workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityCreated]) error {
			fmt.Println(workers.IdempotencyKey(ctx), workers.EventID(ctx) == e.ID)
			return nil
		})
		workertest.Redeliver(context.Background(), w, e, 2)
	}
	// Output:
	// crm:0193600d-7d8b-7000-8000-000000000001 true
	// crm:0193600d-7d8b-7000-8000-000000000001 true
	// mail:0193600d-7d8b-7000-8000-000000000001 true
	// mail:0193600d-7d8b-7000-8000-000000000001 true
}

// An event with a smaller number than one that was seen is older.
func ExampleSequence() {
	last := uint64(0)
	w := workers.New("crm")
	workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityUpdated]) error {
		if n := workers.Sequence(ctx); n > last {
			last = n
			fmt.Println("take", e.Data.Changed)
		}
		return nil
	})
	first, second := events.IdentityUpdated{Changed: []string{"state"}}, events.IdentityUpdated{Changed: []string{"traits"}}
	story := workertest.Story(first, second)
	for _, e := range []events.Event{story[1], story[0]} { // overtaken
		workertest.Run(context.Background(), w, e)
	}
	// Output: take [traits]
}

// Events hold no personal data: the worker asks, and gets what its declaration lists.
func ExampleIdentity() {
	w := workers.New("crm")
	workers.On(w, func(ctx context.Context, _ workers.Event[events.IdentityCreated]) error {
		person, err := workers.Identity(ctx)
		if errors.Is(err, workers.ErrGone) {
			fmt.Println("deleted meanwhile")
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s %s\n", person.State, person.Traits["email"])
		return nil
	})
	e := workertest.Event[events.IdentityCreated]()
	for _, answer := range [][]workertest.Option{
		{workertest.Traits(map[string]any{"email": "ada@example.com"})}, {workertest.Gone()}, nil,
	} {
		fmt.Println(workertest.Run(context.Background(), w, e, answer...).Outcome)
	}
	// Output:
	// active "ada@example.com"
	// done
	// deleted meanwhile
	// done
	// retry
}

func ExamplePermanent() {
	err := errors.New("no such customer")
	fmt.Println(workers.Permanent(err), errors.Is(workers.Permanent(err), err), workers.Permanent(nil))
	w := workers.New("crm")
	workers.On(w, func(context.Context, workers.Event[events.IdentityCreated]) error { return workers.Permanent(err) })
	r := workertest.Run(context.Background(), w, workertest.Event[events.IdentityCreated]())
	fmt.Println(r.Outcome, "|", r.Reason)
	// Output:
	// no such customer true <nil>
	// dead | permanent: no such customer
}

func ExampleRetryIn() {
	w := workers.New("crm", workers.Logger(discard))
	workers.On(w, func(context.Context, workers.Event[events.IdentityCreated]) error {
		return workers.RetryIn(2*time.Hour, errors.New("closed for the night"))
	})
	r := workertest.Run(context.Background(), w, workertest.Event[events.IdentityCreated]())
	fmt.Println(r.Outcome, r.After, "|", r.Reason)
	fmt.Println(workers.RetryIn(time.Hour, nil))
	// Output:
	// retry 2h0m0s | error: closed for the night
	// <nil>
}

// What operators see of an error is cut, and holds no address.
func Example_reason() {
	w := workers.New("crm", workers.Logger(discard))
	workers.On(w, func(context.Context, workers.Event[events.IdentityCreated]) error {
		return errors.New("550 no mailbox ada@example.com")
	})
	fmt.Println(workertest.Run(context.Background(), w, workertest.Event[events.IdentityCreated]()).Reason)
	// Output: error: 550 no mailbox [address]
}

// The context of a handler ends with its time.
func ExampleTimeout() {
	w := workers.New("crm", workers.Timeout(time.Millisecond), workers.Logger(discard))
	workers.On(w, func(ctx context.Context, _ workers.Event[events.IdentityCreated]) error {
		<-ctx.Done()
		return ctx.Err()
	})
	r := workertest.Run(context.Background(), w, workertest.Event[events.IdentityCreated]())
	fmt.Println(r.Outcome, "|", r.Reason)
	// Output: retry | timeout: no outcome within 1ms: context deadline exceeded
}

func ExampleAnswer() {
	w := workers.Answer("domains", func(_ context.Context, q workers.Question) (workers.Reply, error) {
		if strings.Contains(string(q.Identity.Traits), "@example.org") {
			return workers.Refuse("#/traits/email", 4000042, "This domain cannot register."), nil
		}
		return workers.Reply{Identity: &events.HookChange{MetadataPublic: []byte(`{"plan":"free"}`)}}, nil
	})
	for _, email := range []string{"ada@example.org", "ada@example.com"} {
		q := workers.Question{Identity: &events.HookIdentity{Traits: []byte(`{"email":"` + email + `"}`)}}
		reply, err := workertest.Ask(context.Background(), w, q)
		text, _ := json.Marshal(reply)
		fmt.Println(string(text), err)
	}
	// Output:
	// {"messages":[{"instance_ptr":"#/traits/email","messages":[{"id":4000042,"text":"This domain cannot register.","type":"error"}]}]} <nil>
	// {"identity":{"metadata_public":{"plan":"free"}}} <nil>
}

func ExampleWorker_Run() {
	bus, stop := exampleBus("welcome")
	defer stop()

	w := workers.New("goodbye", workers.WithConn(bus.hooks), workers.Logger(discard))
	workers.On(w, func(context.Context, workers.Event[events.IdentityCreated]) error { return nil })
	fmt.Println(w.Run(context.Background()))
	// Output: worker "goodbye": stream USHER_EVENTS has no durable consumer "goodbye": it was never declared, or is removed; "usher worker list" shows which there are
}
