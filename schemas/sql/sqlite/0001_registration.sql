-- +goose Up

-- Times are microseconds since 1970 UTC, ids are text, JSON is text as it was sent.

CREATE TABLE identities (
	id               TEXT    NOT NULL PRIMARY KEY,
	schema_id        TEXT    NOT NULL,
	state            TEXT    NOT NULL,
	state_changed_at INTEGER NOT NULL,
	traits           TEXT    NOT NULL,
	metadata_public  TEXT,
	metadata_admin   TEXT,
	epoch            INTEGER NOT NULL, -- sessions of another epoch are dead
	sequence         INTEGER NOT NULL, -- how many events were made about the identity
	created_at       INTEGER NOT NULL,
	updated_at       INTEGER NOT NULL
) STRICT;

CREATE TABLE credentials (
	identity_id TEXT    NOT NULL REFERENCES identities ON DELETE CASCADE,
	type        TEXT    NOT NULL,
	identifiers TEXT    NOT NULL,
	config      TEXT    NOT NULL,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	PRIMARY KEY (identity_id, type)
) STRICT, WITHOUT ROWID;

CREATE TABLE addresses (
	id          TEXT    NOT NULL PRIMARY KEY,
	identity_id TEXT    NOT NULL REFERENCES identities ON DELETE CASCADE,
	position    INTEGER NOT NULL, -- in the identity
	via         TEXT    NOT NULL,
	value       TEXT    NOT NULL,
	address_key BLOB    NOT NULL, -- HMAC of via and value
	state       TEXT    NOT NULL, -- 'owned'
	verifiable  INTEGER NOT NULL,
	recovery    INTEGER NOT NULL,
	identifier  INTEGER NOT NULL,
	verified    INTEGER NOT NULL,
	verified_at INTEGER,
	status      TEXT    NOT NULL,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX addresses_address_key_key ON addresses (address_key) WHERE state = 'owned';
CREATE INDEX addresses_identity_id_idx ON addresses (identity_id);

CREATE TABLE handles (
	value       TEXT    NOT NULL PRIMARY KEY,
	identity_id TEXT    NOT NULL REFERENCES identities ON DELETE CASCADE,
	created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
	id           TEXT    NOT NULL PRIMARY KEY,
	flow_id      TEXT    NOT NULL UNIQUE,
	identity_id  TEXT    NOT NULL REFERENCES identities ON DELETE CASCADE,
	event_id     TEXT    NOT NULL,
	flow_type    TEXT    NOT NULL,
	return_to    TEXT    NOT NULL,
	method       TEXT    NOT NULL,
	provider     TEXT    NOT NULL,
	bypass       INTEGER NOT NULL,
	steps        TEXT    NOT NULL,
	session_id   TEXT, -- the session that used the grant, and the request that asked for it
	request_id   TEXT,
	digest       BLOB,
	requested_at INTEGER,
	issued_at    INTEGER,
	created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
	id               TEXT    NOT NULL PRIMARY KEY,
	identity_id      TEXT    NOT NULL REFERENCES identities ON DELETE CASCADE,
	token_digest     BLOB    NOT NULL UNIQUE,
	aal              TEXT    NOT NULL,
	methods          TEXT    NOT NULL,
	devices          TEXT    NOT NULL,
	epoch            INTEGER NOT NULL,
	revoked          INTEGER NOT NULL,
	authenticated_at INTEGER NOT NULL,
	issued_at        INTEGER NOT NULL,
	expires_at       INTEGER NOT NULL
) STRICT;

CREATE TABLE hook_inputs (
	event_id   TEXT    NOT NULL,
	endpoint   TEXT    NOT NULL,
	sealed     BLOB    NOT NULL,
	created_at INTEGER NOT NULL,
	PRIMARY KEY (event_id, endpoint)
) STRICT;

CREATE TABLE keys (
	id         TEXT    NOT NULL PRIMARY KEY,
	purpose    TEXT    NOT NULL,
	sealed     BLOB    NOT NULL,
	current    INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_purpose_key ON keys (purpose) WHERE current;

CREATE TABLE errors (
	id         TEXT    NOT NULL PRIMARY KEY,
	body       TEXT    NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX errors_created_at_idx ON errors (created_at);

CREATE TABLE outbox (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	event_id    TEXT    NOT NULL UNIQUE,
	type        TEXT    NOT NULL,
	identity_id TEXT,
	payload     BLOB    NOT NULL,
	created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE event_log (
	seq        INTEGER PRIMARY KEY,
	event_id   TEXT    NOT NULL UNIQUE,
	stream_seq INTEGER NOT NULL,
	type       TEXT    NOT NULL,
	subject    TEXT    NOT NULL,
	payload    BLOB    NOT NULL,
	former     BLOB    NOT NULL,
	hash       BLOB    NOT NULL, -- SHA-256(former || payload)
	logged_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX event_log_subject_idx ON event_log (subject, seq);

CREATE TABLE admin_tokens (
	name       TEXT    NOT NULL PRIMARY KEY,
	scope      TEXT    NOT NULL,
	digest     BLOB    NOT NULL UNIQUE,
	created_at INTEGER NOT NULL
) STRICT;
