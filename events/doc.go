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
//	api ─ Ask ─▶ usher.svc.v1.hook.answer.<name> ─▶ an answering worker
//
// Workers ask too, each under its own name. They have an account of their own,
// too, which imports what they may ask: what the bus answers them can get neither
// into the stream nor to the API of JetStream, wherever they have it sent.
//
//	WORKERS                                   EVENTS
//	worker ─▶ its own durable consumer      ─▶ USHER_EVENTS
//	worker ─▶ usher.svc.v1.hook.failed.<name>, identity.get.<name> ─▶ Serve
//	worker ◀─ $SRV ◀──────────────────────────  discovery
//
// Keys make the accounts, the configuration of a server and the credentials of
// Usher's parts; a Minter, which can make nothing else, makes those of workers.
// The table in rights.go says what each of them may do. Connect uses such a
// credential, whether the bus is in this process or elsewhere.
package events
