-- +goose Up

-- Hooks that are declared besides the file.
CREATE TABLE hooks (
	name       TEXT    NOT NULL PRIMARY KEY, -- of the durable consumer too
	kind       TEXT    NOT NULL, -- 'worker', 'webhook', 'answer'
	types      TEXT    NOT NULL, -- event types
	traits     TEXT    NOT NULL, -- that a worker may ask for
	url        TEXT    NOT NULL, -- of a webhook
	secrets    BLOB,             -- sealed: signing secrets of a webhook, the newest first
	disabled   TEXT    NOT NULL, -- why, empty: it is not
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT;

-- What a hook could not do, one row for each event.
CREATE TABLE hook_failures (
	n          INTEGER PRIMARY KEY, -- by age
	hook       TEXT    NOT NULL,
	event_id   TEXT    NOT NULL,
	state      TEXT    NOT NULL, -- 'waiting', 'dead', 'discarded', 'done'
	attempts   INTEGER NOT NULL, -- of this round
	round      INTEGER NOT NULL, -- redeliveries of a dead letter begin a new one
	reason     TEXT    NOT NULL,
	stream_seq INTEGER NOT NULL, -- of the message that failed, or of its retry
	first_at   INTEGER NOT NULL,
	last_at    INTEGER NOT NULL,
	next_at    INTEGER,          -- when it is published; null: it is, or it ended
	UNIQUE (event_id, hook)
) STRICT;
CREATE INDEX hook_failures_next_at_idx ON hook_failures (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX hook_failures_hook_idx ON hook_failures (hook, state, n);
CREATE INDEX hook_failures_state_idx ON hook_failures (state, n);
CREATE INDEX hook_failures_stream_seq_idx ON hook_failures (hook, stream_seq);
CREATE INDEX hook_failures_published_idx ON hook_failures (hook, stream_seq) WHERE state = 'waiting' AND next_at IS NULL;
CREATE INDEX hook_failures_last_at_idx ON hook_failures (last_at) WHERE state IN ('done', 'discarded');

-- Signed heads of the event log.
CREATE TABLE checkpoints (
	seq       INTEGER NOT NULL PRIMARY KEY,
	head      BLOB    NOT NULL, -- hash of the record with this seq
	at        INTEGER NOT NULL,
	key_id    TEXT    NOT NULL,
	signature BLOB    NOT NULL
) STRICT;
