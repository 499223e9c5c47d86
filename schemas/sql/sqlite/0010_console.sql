-- +goose Up

-- What operators saved: it lies over the configuration file. The newest revision counts.
CREATE TABLE settings (
	revision INTEGER NOT NULL PRIMARY KEY,
	saved    TEXT    NOT NULL, -- all values that lie over the file, by name of the setting
	actor    TEXT    NOT NULL,
	saved_at INTEGER NOT NULL
) STRICT;

-- Those who may use the console.
CREATE TABLE operators (
	name         TEXT    NOT NULL PRIMARY KEY,
	role         TEXT    NOT NULL, -- 'operator', 'owner'
	password     TEXT    NOT NULL, -- PHC form; empty: not set up yet
	setup_digest BLOB    UNIQUE,   -- of the link that sets a password, once
	setup_until  INTEGER,
	created_at   INTEGER NOT NULL,
	updated_at   INTEGER NOT NULL
) STRICT;

-- Where operators are signed in. These are not the sessions of the product's people.
CREATE TABLE operator_sessions (
	token_digest BLOB    NOT NULL PRIMARY KEY,
	operator     TEXT    NOT NULL REFERENCES operators ON DELETE CASCADE,
	issued_at    INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX operator_sessions_operator_idx ON operator_sessions (operator);
