-- +goose Up

-- What hooks were given, as the bus has seen it: for the timeline, and no more
-- than that. Rows may be missing; the oldest go when there are too many.
CREATE TABLE deliveries (
	n            INTEGER PRIMARY KEY, -- by age
	hook         TEXT    NOT NULL,
	stream_seq   INTEGER NOT NULL,
	event_id     TEXT,             -- of a retry: the event log knows the others
	attempt      INTEGER NOT NULL, -- of a retry
	published_at INTEGER,          -- of a retry
	deliveries   INTEGER NOT NULL, -- 0: not acked yet
	acked_at     INTEGER,
	took         INTEGER NOT NULL, -- microseconds from the last delivery to the ack
	UNIQUE (stream_seq, hook)
) STRICT;
CREATE INDEX deliveries_event_id_idx ON deliveries (event_id) WHERE event_id IS NOT NULL;
