-- +goose Up

-- What hooks were given, as the bus has seen it: for the timeline, and no more
-- than that. Rows may be missing; the oldest go when there are too many.
CREATE TABLE deliveries (
	n            bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- by age
	hook         text    NOT NULL,
	stream_seq   bigint  NOT NULL,
	event_id     uuid,             -- of a retry: the event log knows the others
	attempt      integer NOT NULL, -- of a retry
	published_at bigint,           -- of a retry
	deliveries   integer NOT NULL, -- 0: not acked yet
	acked_at     bigint,
	took         bigint  NOT NULL, -- microseconds from the last delivery to the ack
	CONSTRAINT deliveries_stream_seq_key UNIQUE (stream_seq, hook)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = -1);
CREATE INDEX deliveries_event_id_idx ON deliveries (event_id) WHERE event_id IS NOT NULL;
