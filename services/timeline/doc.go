// Package timeline puts together what became of one registration, from what its
// parts have left behind: the times of its steps in the grant, its events in the
// log, what hooks were given and what they have failed at.
//
//	grant → answer (checks, hash, commit, session) ┐
//	event log → events of the same request or flow ├→ Timeline
//	deliveries, failures, declared hooks → runs    ┘
//
// It reads a bounded number of rows of one person, and writes none.
package timeline
