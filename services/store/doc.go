// Package store holds all SQL, for SQLite and PostgreSQL. What use cases ask of
// a store they say in interfaces of their own; [Store] fills them.
//
//	registration ─▶ Register      identity, credential, address, grant, hook inputs,
//	                              outbox row: ONE durable commit
//	session      ─▶ IssueSession  session, grant used, events: one durable commit
//	login        ─▶ IdentityByIdentifier, then IssueSession: session, events
//	verification ─▶ Verify        code used, address verified, hook inputs, events: one durable commit
//	courier      ─▶ Queue, Settle message, code, address: one durable commit each
//	delivery     ─▶ SaveFailure   failure, if it is still what it was, and events: one durable commit
//	                DueFailures   leased, so that no two processes publish the same
//	relay        ─▶ Pending, Move outbox ─▶ event log, each record bound to the former by its hash
//	audit        ─▶ SaveCheckpoint, PruneEvents, which leaves a log that begins behind a checkpoint
//	api          ─▶ flows, errors commits that do not wait for the disk
//
// Statements are written once, in what both databases know, with ? for a
// parameter. How they are opened, locked and read for errors differs behind one
// interface, backend: postgres.go, sqlite.go. The three hot commits are one
// statement on PostgreSQL, where each statement is a round trip:
//
//	Register      collector ─▶ registerTogether ─▶ pool.insert: one statement, or a transaction
//	IssueSession  collector ─▶ issueTogether ─▶ issueDirect (postgresissue.go), or a transaction
//	Move          moveDirect (postgresmove.go), or a transaction
//
// A collector lets those that wait at the same time share a commit; one that
// fails is done again with each alone, so that a refusal is its own job's.
//
// Connections go to the host that takes writes, see servers: what one connection
// finds out about a host, that it is gone, silent or read-only, counts for all.
//
// An error that says that the database cannot be used now (down, frozen, disk
// full, no connection free) has the method Unavailable, which gives true:
//
//	var u interface{ Unavailable() bool }
//	errors.As(err, &u) && u.Unavailable() // answer 503
//
// A request's context ends the wait for a connection. What has begun is finished:
// the database and the connection limit how long it may take.
package store
