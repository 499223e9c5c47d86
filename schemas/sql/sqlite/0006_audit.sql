-- +goose Up

-- How far each URL has got the checkpoints; a file tells by itself.
CREATE TABLE checkpoint_sinks (
	sink TEXT    NOT NULL PRIMARY KEY, -- digest of the URL
	seq  INTEGER NOT NULL  -- of the last checkpoint that it has taken
) STRICT;
