// Package events is the contract on the bus: the events and their payloads,
// subjects, the stream and its durable consumers, request-reply, and who may
// use what.
//
// Publishing is the relay's, from the outbox; nothing else publishes an event:
//
//	outbox ─ relay ─ Publisher ─▶ USHER_EVENTS ─▶ one durable consumer per hook (Provision)
//
// Asking goes through an account of its own, where no worker of others has a
// credential:
//
//	api ─ Ask ─▶ usher.svc.v1.session.issue ─▶ Serve ─▶ session, or Refused
//
// Keys make the accounts, the configuration of a server and the credentials of
// its users; the table in rights.go says what each of them may do. Connect uses
// such a credential, whether the bus is in this process or elsewhere.
package events
