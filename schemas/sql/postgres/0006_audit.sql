-- +goose Up

-- How far each URL has got the checkpoints; a file tells by itself.
CREATE TABLE checkpoint_sinks (
	sink text   NOT NULL CONSTRAINT checkpoint_sinks_sink_key PRIMARY KEY, -- digest of the URL
	seq  bigint NOT NULL  -- of the last checkpoint that it has taken
);
