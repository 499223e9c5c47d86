// Package workertest runs one event against one worker without a bus:
//
//	event ─▶ Run ─▶ handler ─▶ Result: done, retry, dead
//
// [Event] and [Events] give the golden events of every type: the same bytes in
// each run, and of each version of Usher. What goes wrong between the bus and a
// worker is brought about on purpose:
//
//	redelivery    [Redeliver]: the bus delivers again what was done
//	reordering    [Story] and [Reorder]: a retried event was overtaken
//	slow          [Deadline]: the time for the handler is short, or over
//	panic         a handler that panics is a Result, and the test goes on
//	crash         [Deliveries] of more than five: what kills the program
//	no answer     nobody answers [workers.Identity], unless [Traits] or [Gone] do
package workertest
