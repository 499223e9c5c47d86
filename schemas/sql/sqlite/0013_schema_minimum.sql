-- +goose Up

-- What a program must know of at least, to use this database: the number of a
-- migration. One that takes something away puts its own here, or that of the
-- migration since which nobody uses it.
CREATE TABLE schema_minimum (
	version INTEGER NOT NULL PRIMARY KEY
) STRICT;
