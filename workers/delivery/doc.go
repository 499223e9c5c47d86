// Package delivery puts the delivery service on the bus: it answers the reports
// of hooks, tells the service of their acks and lets it publish.
//
//	hook.failed.<hook> ─▶ Report ─▶ waiting, dead, discarded ─▶ the hook acks
//	ack samples ─▶ Acked
//	what is due ─▶ Bus ─▶ usher.hook.v1.<hook>.retry
package delivery
