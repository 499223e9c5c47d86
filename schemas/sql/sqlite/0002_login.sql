-- +goose Up

-- The verification flow that the registration has opened.
ALTER TABLE grants ADD COLUMN verification_flow_id TEXT;
CREATE INDEX grants_identity_id_idx ON grants (identity_id);
CREATE INDEX handles_identity_id_idx ON handles (identity_id);

CREATE INDEX sessions_identity_id_idx ON sessions (identity_id, issued_at);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- The newest code of each verification flow; never the code itself.
CREATE TABLE codes (
	flow_id     TEXT    NOT NULL PRIMARY KEY,
	identity_id TEXT    NOT NULL REFERENCES identities ON DELETE CASCADE,
	address_id  TEXT    NOT NULL,
	digest      BLOB    NOT NULL, -- HMAC of flow, address key, purpose and code
	used_at     INTEGER,
	created_at  INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_identity_id_idx ON codes (identity_id);
CREATE INDEX codes_expires_at_idx ON codes (expires_at);

-- Mails. Recipient and content are sealed; the content goes when the mail has gone.
CREATE TABLE messages (
	n             INTEGER PRIMARY KEY, -- by age
	id            TEXT    NOT NULL UNIQUE,
	event_id      TEXT    NOT NULL UNIQUE, -- that asked for it
	identity_id   TEXT    REFERENCES identities ON DELETE CASCADE,
	status        TEXT    NOT NULL,
	template      TEXT    NOT NULL,
	recipient     BLOB    NOT NULL,
	recipient_key BLOB    NOT NULL, -- address key
	content       BLOB,
	attempts      INTEGER NOT NULL,
	expires_at    INTEGER NOT NULL,
	created_at    INTEGER NOT NULL,
	updated_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_identity_id_idx ON messages (identity_id);
CREATE INDEX messages_recipient_key_idx ON messages (recipient_key, n);
CREATE INDEX messages_created_at_idx ON messages (created_at);
CREATE INDEX messages_status_idx ON messages (status, n) WHERE status <> 'sent';
