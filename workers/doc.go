// Package workers is for everybody who writes a worker: a program, or a part
// of one, that does something for each event of the types that it handles.
//
//	func main() {
//		w := workers.New("welcome")
//		workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityCreated]) error {
//			return greet(ctx, e.Data.IdentityID, workers.IdempotencyKey(ctx))
//		})
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//		defer stop()
//		if err := w.Run(ctx); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// A worker reads from the durable consumer that has its name. It can only bind
// to one: whoever provisions the stream makes it, see [events.Provision].
//
//	durable ─ pull: as many as there are free slots ─▶ handler ─▶ ack │ nak │ term
//
// Each event comes at least once, and may come again after it was done: a
// handler is idempotent by [EventID], or passes [IdempotencyKey] on. What the
// handler returns decides:
//
//	nil                 done, the event does not come again
//	an error, a panic   again later: after a second, then longer, at most a minute
//	RetryIn(d, err)     again in d
//	Permanent(err)      never again, as with an event that cannot be decoded
//
// Events of one identity may overtake each other when one is retried; their
// Sequence tells. An event of a type without a handler is acknowledged and
// skipped: deploy a new handler first, then let its consumer have the type.
package workers
