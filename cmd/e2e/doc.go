// Package e2e holds the tests and benchmarks that run the real program: the
// same scripts against one process on SQLite, one process on PostgreSQL, and
// many processes with a nats-server and PostgreSQL of their own.
package e2e
