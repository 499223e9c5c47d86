// Package workers is for everybody who writes a worker: a program, or a part
// of one, that does something for each event of the types that it handles.
//
//	func main() {
//		w := workers.New("welcome")
//		workers.On(w, func(ctx context.Context, e workers.Event[events.IdentityCreated]) error {
//			return greet(ctx, e.Data.IdentityID, workers.IdempotencyKey(ctx))
//		})
//		workers.Main(w)
//	}
//
// A worker reads from the durable consumer that has its name. It can only bind
// to one: "usher worker new" declares the worker, makes the consumer and the
// credential. [Main] says what the environment has to hold.
//
//	durable ─ pull: as many as there are free places ─▶ handler ─▶ done ────────────▶ ack
//	                                                            └▶ failed ─▶ report ─▶ ack
//
// Each event comes at least once, and may come again after it was done: a
// handler is idempotent by [EventID], or passes [IdempotencyKey] on. What the
// handler returns decides:
//
//	nil                 done, the event does not come again
//	an error, a panic   again later, by the ladder of the worker; behind its last
//	                    step the event is a dead letter
//	RetryIn(d, err)     again in d
//	Permanent(err)      a dead letter at once, as is an event that cannot be decoded
//
// Usher's hooks service takes the report of a failure, keeps it and publishes the
// event again when it is due, to this worker alone; operators see it. The text
// of an error is part of the report, cut at 200 characters: it holds nothing
// about a person. While nobody takes reports, the bus delivers the event again
// every half minute. One that was delivered more than five times and never had
// an outcome, because the program died of it, is reported as a dead letter
// without another try.
//
// Events hold no personal data: [Identity] asks for the person. Events of one
// identity may overtake each other when one is retried; [Sequence] tells. An
// event of a type without a handler is acknowledged and skipped: deploy a new
// handler first, then let its consumer have the type.
//
// [Answer] makes the other kind of worker, which is asked before a commit.
// Package workertest tests both without a bus.
package workers
