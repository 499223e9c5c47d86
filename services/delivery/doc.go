// Package delivery keeps what hooks are declared and what they have failed at,
// so that no event is lost to one and every failure can be seen and mended.
//
//	worker ─ hook.failed ─▶ Report ─▶ hook_failures ─ waiting ─▶ Run: published to the hook's .retry
//	                                               └─ dead ─▶ dlq list │ redeliver │ discard
//
// Which hooks there are says one [Catalogue], to all who ask: what is built in and
// in the configuration file, then the table, which [Declarations] and [Webhooks] change.
//
// A hook that fails gets the event again by its ladder, with jitter; behind the
// last step the event is a dead letter. One that fails all the time is paused on
// its consumer, so that its backlog waits in the stream.
package delivery
