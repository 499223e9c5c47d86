-- +goose Up

-- What a program must know of at least, to use this database: the number of a
-- migration. One that takes something away puts its own here, or that of the
-- migration since which nobody uses it.
CREATE TABLE schema_minimum (
	version bigint NOT NULL CONSTRAINT schema_minimum_version_key PRIMARY KEY
);
