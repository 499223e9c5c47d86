package workers_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
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

// The key is the same each time this worker gets this event, and another for
// every other worker.
func ExampleIdempotencyKey() {
	bus, stop := exampleBus("crm", "customer")
	defer stop()

	ctx, end := context.WithCancel(context.Background())
	w := workers.New("crm", workers.WithConn(bus.hooks), workers.Logger(discard))
	keys := map[string]bool{}
	workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityCreated]) error {
		keys[workers.IdempotencyKey(ctx)] = true
		if e.Attempt == 1 {
			panic("the answer of the customer system is lost")
		}
		fmt.Println(len(keys), keys["crm:"+e.ID])
		end()
		return nil
	})
	fmt.Println(w.Run(ctx))
	// Output:
	// 1 true
	// <nil>
}

func ExamplePermanent() {
	err := errors.New("no such customer")
	fmt.Println(workers.Permanent(err), errors.Is(workers.Permanent(err), err), workers.Permanent(nil))
	// Output: no such customer true <nil>
}

func ExampleWorker_Run() {
	bus, stop := exampleBus("welcome")
	defer stop()

	w := workers.New("goodbye", workers.WithConn(bus.hooks), workers.Logger(discard))
	workers.On(w, func(context.Context, workers.Event[events.IdentityCreated]) error { return nil })
	fmt.Println(w.Run(context.Background()))
	// Output: worker "goodbye": stream USHER_EVENTS has no durable consumer "goodbye": it was never declared, or is removed; "usher worker list" shows which there are
}
