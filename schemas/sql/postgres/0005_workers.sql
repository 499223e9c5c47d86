-- +goose Up

-- Hooks that are declared besides the file.
CREATE TABLE hooks (
	name       text   NOT NULL CONSTRAINT hooks_name_key PRIMARY KEY, -- of the durable consumer too
	kind       text   NOT NULL, -- 'worker', 'webhook', 'answer'
	types      json   NOT NULL, -- event types
	traits     json   NOT NULL, -- that a worker may ask for
	url        text   NOT NULL, -- of a webhook
	secrets    bytea,           -- sealed: signing secrets of a webhook, the newest first
	disabled   text   NOT NULL, -- why, empty: it is not
	created_at bigint NOT NULL,
	updated_at bigint NOT NULL
);

-- What a hook could not do, one row for each event.
CREATE TABLE hook_failures (
	n          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- by age
	hook       text    NOT NULL,
	event_id   uuid    NOT NULL,
	state      text    NOT NULL, -- 'waiting', 'dead', 'discarded', 'done'
	attempts   integer NOT NULL, -- of this round
	round      integer NOT NULL, -- redeliveries of a dead letter begin a new one
	reason     text    NOT NULL,
	stream_seq bigint  NOT NULL, -- of the message that failed, or of its retry
	first_at   bigint  NOT NULL,
	last_at    bigint  NOT NULL,
	next_at    bigint,           -- when it is published; null: it is, or it ended
	CONSTRAINT hook_failures_event_id_key UNIQUE (event_id, hook)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX hook_failures_next_at_idx ON hook_failures (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX hook_failures_hook_idx ON hook_failures (hook, state, n);
CREATE INDEX hook_failures_state_idx ON hook_failures (state, n);
CREATE INDEX hook_failures_stream_seq_idx ON hook_failures (hook, stream_seq);
CREATE INDEX hook_failures_published_idx ON hook_failures (hook, stream_seq) WHERE state = 'waiting' AND next_at IS NULL;
CREATE INDEX hook_failures_last_at_idx ON hook_failures (last_at) WHERE state IN ('done', 'discarded');

-- Signed heads of the event log.
CREATE TABLE checkpoints (
	seq       bigint NOT NULL CONSTRAINT checkpoints_seq_key PRIMARY KEY,
	head      bytea  NOT NULL, -- hash of the record with this seq
	at        bigint NOT NULL,
	key_id    text   NOT NULL,
	signature bytea  NOT NULL
);
