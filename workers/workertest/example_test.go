package workertest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

// crm is a worker whose handler is handle.
func crm(handle func(context.Context, created) error) *workers.Worker {
	w := workers.New("crm", workers.Logger(slog.New(slog.DiscardHandler)))
	workers.On(w, handle)
	return w
}

func ExampleRun() {
	w := crm(func(_ context.Context, e created) error {
		if e.Data.SchemaID == "staff" {
			return workers.Permanent(errors.New("staff is no customer"))
		}
		return nil
	})
	ctx := context.Background()
	fmt.Println(workertest.Run(ctx, w, workertest.Event[events.IdentityCreated]()).Outcome)
	staff := workertest.Event(func(p *events.IdentityCreated) { p.SchemaID = "staff" })
	r := workertest.Run(ctx, w, staff)
	fmt.Println(r.Outcome, "|", r.Err, "|", r.Reason)
	// Output:
	// done
	// dead | staff is no customer | permanent: staff is no customer
}

func ExampleRunMessage() {
	w := crm(func(context.Context, created) error { return nil })
	r := workertest.RunMessage(context.Background(), w, []byte("{"))
	fmt.Println(r.Outcome, "|", r.Reason)
	// Output: dead | decode: it is no event
}

func ExampleEvent() {
	e := workertest.Event[events.IdentityDeleted]()
	fmt.Println(e.ID, e.Type, e.Subject, string(e.Data))
	// Output: 0193600d-7d8b-7000-8000-000000000001 identity.deleted 7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10 {"identity_id":"7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10"}
}

// A worker that is meant for some types skips the rest.
func ExampleEvents() {
	w := crm(func(context.Context, created) error { return nil })
	outcomes := map[workers.Outcome]int{}
	for _, e := range workertest.Events() {
		outcomes[workertest.Run(context.Background(), w, e).Outcome]++
	}
	fmt.Println(outcomes[workers.Done], outcomes[workers.Skipped] > 0)
	// Output: 1 true
}

func ExampleRedeliver() {
	customers := map[string]bool{}
	w := crm(func(_ context.Context, e created) error { customers[e.ID] = true; return nil })
	for _, r := range workertest.Redeliver(context.Background(), w, workertest.Event[events.IdentityCreated](), 2) {
		fmt.Println(r.Outcome)
	}
	fmt.Println(len(customers))
	// Output:
	// done
	// done
	// 1
}

func ExampleReorder() {
	created, deleted := events.IdentityCreated{}, events.IdentityDeleted{}
	for _, e := range workertest.Reorder(1, workertest.Story(created, deleted)) {
		fmt.Println(e.Sequence, e.Type)
	}
	// Output:
	// 2 identity.deleted
	// 1 identity.created
}

func ExampleDeadline() {
	w := crm(func(ctx context.Context, _ created) error {
		select {
		case <-time.After(time.Hour):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	r := workertest.Run(context.Background(), w, workertest.Event[events.IdentityCreated](), workertest.Deadline(time.Millisecond))
	fmt.Println(r.Outcome, "|", r.Reason)
	// Output: retry | timeout: context deadline exceeded
}

func ExampleAttempt() {
	w := crm(func(_ context.Context, e created) error {
		panic(fmt.Sprint("attempt ", e.Attempt))
	})
	r := workertest.Run(context.Background(), w, workertest.Event[events.IdentityCreated](), workertest.Attempt(3))
	fmt.Println(r.Outcome, "|", r.Reason)
	// Output: retry | panic: attempt 3
}

func ExampleDeliveries() {
	w := crm(func(context.Context, created) error { fmt.Println("runs"); return nil })
	e := workertest.Event[events.IdentityCreated]()
	for _, n := range []int{5, 6} {
		fmt.Println(workertest.Run(context.Background(), w, e, workertest.Deliveries(n)).Outcome)
	}
	// Output:
	// runs
	// done
	// dead
}
