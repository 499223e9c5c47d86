-- The file of the flows. It is no migration: a file of another version is
-- thrown away and made anew, as a damaged one is.
CREATE TABLE flows (
	n                            INTEGER PRIMARY KEY, -- by age, for the cap
	id                           TEXT    NOT NULL UNIQUE,
	kind                         TEXT    NOT NULL,
	type                         TEXT    NOT NULL,
	state                        TEXT    NOT NULL,
	active                       TEXT    NOT NULL,
	schema_id                    TEXT    NOT NULL,
	request_url                  TEXT    NOT NULL,
	return_to                    TEXT    NOT NULL,
	after_verification_return_to TEXT    NOT NULL,
	csrf                         BLOB,
	form                         TEXT, -- null until something was entered
	refresh                      INTEGER NOT NULL DEFAULT 0,
	tries                        INTEGER NOT NULL DEFAULT 0, -- codes that were tried
	version                      INTEGER NOT NULL DEFAULT 0, -- how often it was saved
	issued_at                    INTEGER NOT NULL,
	expires_at                   INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 3;
