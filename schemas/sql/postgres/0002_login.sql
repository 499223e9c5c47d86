-- +goose Up

-- The verification flow that the registration has opened.
ALTER TABLE grants ADD COLUMN verification_flow_id uuid;
CREATE INDEX grants_identity_id_idx ON grants (identity_id);
CREATE INDEX handles_identity_id_idx ON handles (identity_id);

CREATE INDEX sessions_identity_id_idx ON sessions (identity_id, issued_at);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

ALTER TABLE flows ADD COLUMN refresh boolean NOT NULL DEFAULT false;
ALTER TABLE flows ADD COLUMN tries integer NOT NULL DEFAULT 0; -- codes that were tried

-- The newest code of each verification flow; never the code itself.
CREATE TABLE codes (
	flow_id     uuid   PRIMARY KEY,
	identity_id uuid   NOT NULL REFERENCES identities ON DELETE CASCADE,
	address_id  uuid   NOT NULL,
	digest      bytea  NOT NULL, -- HMAC of flow, address key, purpose and code
	used_at     bigint,
	created_at  bigint NOT NULL,
	expires_at  bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX codes_identity_id_idx ON codes (identity_id);
CREATE INDEX codes_expires_at_idx ON codes (expires_at);

-- Mails. Recipient and content are sealed; the content goes when the mail has gone.
CREATE TABLE messages (
	n             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- by age
	id            uuid    NOT NULL CONSTRAINT messages_id_key UNIQUE,
	event_id      uuid    NOT NULL CONSTRAINT messages_event_id_key UNIQUE, -- that asked for it
	identity_id   uuid    REFERENCES identities ON DELETE CASCADE,
	status        text    NOT NULL,
	template      text    NOT NULL,
	recipient     bytea   NOT NULL,
	recipient_key bytea   NOT NULL, -- address key
	content       bytea,
	attempts      integer NOT NULL,
	expires_at    bigint  NOT NULL,
	created_at    bigint  NOT NULL,
	updated_at    bigint  NOT NULL
);
CREATE INDEX messages_identity_id_idx ON messages (identity_id);
CREATE INDEX messages_recipient_key_idx ON messages (recipient_key, n);
CREATE INDEX messages_created_at_idx ON messages (created_at);
CREATE INDEX messages_status_idx ON messages (status, n) WHERE status <> 'sent';
