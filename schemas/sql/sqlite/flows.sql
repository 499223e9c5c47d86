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
	attempt_digest               BLOB, -- of a sign-in at a provider; null: none is on its way
	attempt                      TEXT,
	link                         TEXT, -- what waits for a login to be linked to its account
	exchange                     BLOB, -- digest of the app's half of its code
	exchange_return              BLOB, -- digest of the other half
	exchanged                    BLOB, -- what the provider has proven, sealed with that half
	identity_id                  TEXT, -- whose settings these are
	issued_at                    INTEGER NOT NULL,
	expires_at                   INTEGER NOT NULL
) STRICT;
CREATE INDEX flows_exchange_idx ON flows (exchange) WHERE exchange IS NOT NULL;
PRAGMA user_version = 5;
