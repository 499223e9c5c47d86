-- +goose Up

-- Times are microseconds since 1970 UTC. JSON is json, never jsonb: what was
-- sent is kept byte for byte. A unique constraint is named <table>_<column>_key;
-- the store reads the column from that name.

CREATE TABLE identities (
	id               uuid   PRIMARY KEY,
	schema_id        text   NOT NULL,
	state            text   NOT NULL,
	state_changed_at bigint NOT NULL,
	traits           json   NOT NULL,
	metadata_public  json,
	metadata_admin   json,
	epoch            bigint NOT NULL, -- sessions of another epoch are dead
	sequence         bigint NOT NULL, -- how many events were made about the identity
	created_at       bigint NOT NULL,
	updated_at       bigint NOT NULL
) WITH (fillfactor = 85); -- room for the next sequence on the same page

CREATE TABLE credentials (
	identity_id uuid   NOT NULL REFERENCES identities ON DELETE CASCADE,
	type        text   NOT NULL,
	identifiers json   NOT NULL,
	config      json   NOT NULL,
	created_at  bigint NOT NULL,
	updated_at  bigint NOT NULL,
	PRIMARY KEY (identity_id, type)
);

CREATE TABLE addresses (
	id          uuid     PRIMARY KEY,
	identity_id uuid     NOT NULL REFERENCES identities ON DELETE CASCADE,
	position    smallint NOT NULL, -- in the identity
	via         text     NOT NULL,
	value       text     NOT NULL,
	address_key bytea    NOT NULL, -- HMAC of via and value
	state       text     NOT NULL, -- 'owned'
	verifiable  boolean  NOT NULL,
	recovery    boolean  NOT NULL,
	identifier  boolean  NOT NULL,
	verified    boolean  NOT NULL,
	verified_at bigint,
	status      text     NOT NULL,
	created_at  bigint   NOT NULL,
	updated_at  bigint   NOT NULL
);
CREATE UNIQUE INDEX addresses_address_key_key ON addresses (address_key) WHERE state = 'owned';
CREATE INDEX addresses_identity_id_idx ON addresses (identity_id);

CREATE TABLE handles (
	value       text   NOT NULL CONSTRAINT handles_value_key PRIMARY KEY,
	identity_id uuid   NOT NULL REFERENCES identities ON DELETE CASCADE,
	created_at  bigint NOT NULL
);

CREATE TABLE grants (
	id           uuid    PRIMARY KEY,
	flow_id      uuid    NOT NULL CONSTRAINT grants_flow_id_key UNIQUE,
	identity_id  uuid    NOT NULL REFERENCES identities ON DELETE CASCADE,
	event_id     uuid    NOT NULL,
	flow_type    text    NOT NULL,
	return_to    text    NOT NULL,
	method       text    NOT NULL,
	provider     text    NOT NULL,
	bypass       boolean NOT NULL,
	steps        json    NOT NULL,
	session_id   uuid, -- the session that used the grant, and the request that asked for it
	request_id   text,
	digest       bytea,
	requested_at bigint,
	issued_at    bigint,
	created_at   bigint  NOT NULL
) WITH (fillfactor = 75); -- each row is updated once

CREATE TABLE sessions (
	id               uuid    PRIMARY KEY,
	identity_id      uuid    NOT NULL REFERENCES identities ON DELETE CASCADE,
	token_digest     bytea   NOT NULL CONSTRAINT sessions_token_digest_key UNIQUE,
	aal              text    NOT NULL,
	methods          json    NOT NULL,
	devices          json    NOT NULL,
	epoch            bigint  NOT NULL,
	revoked          boolean NOT NULL,
	authenticated_at bigint  NOT NULL,
	issued_at        bigint  NOT NULL,
	expires_at       bigint  NOT NULL
);

CREATE TABLE flows (
	n                            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- by age, for the cap
	id                           uuid   NOT NULL CONSTRAINT flows_id_key UNIQUE,
	kind                         text   NOT NULL,
	type                         text   NOT NULL,
	state                        text   NOT NULL,
	active                       text   NOT NULL,
	schema_id                    text   NOT NULL,
	request_url                  text   NOT NULL,
	return_to                    text   NOT NULL,
	after_verification_return_to text   NOT NULL,
	csrf                         bytea,
	form                         json, -- null until something was entered
	issued_at                    bigint NOT NULL,
	expires_at                   bigint NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE hook_inputs (
	event_id   uuid   NOT NULL,
	endpoint   text   NOT NULL,
	sealed     bytea  NOT NULL,
	created_at bigint NOT NULL,
	PRIMARY KEY (event_id, endpoint)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE keys (
	id         uuid    PRIMARY KEY,
	purpose    text    NOT NULL,
	sealed     bytea   NOT NULL,
	current    boolean NOT NULL,
	created_at bigint  NOT NULL
);
CREATE UNIQUE INDEX keys_purpose_key ON keys (purpose) WHERE current;

CREATE TABLE errors (
	id         uuid   PRIMARY KEY,
	body       json   NOT NULL,
	created_at bigint NOT NULL
);
CREATE INDEX errors_created_at_idx ON errors (created_at);

-- Every row lives for milliseconds: vacuum by number, soon and without a pause,
-- or the relay reads through what it has deleted.
CREATE TABLE outbox (
	id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	event_id    uuid   NOT NULL CONSTRAINT outbox_event_id_key UNIQUE,
	type        text   NOT NULL,
	identity_id uuid,
	payload     bytea  NOT NULL,
	created_at  bigint NOT NULL
) WITH (
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0,
	autovacuum_vacuum_insert_threshold = -1
);

CREATE TABLE event_log (
	seq        bigint NOT NULL CONSTRAINT event_log_seq_key PRIMARY KEY,
	event_id   uuid   NOT NULL CONSTRAINT event_log_event_id_key UNIQUE,
	stream_seq bigint NOT NULL,
	type       text   NOT NULL,
	subject    text   NOT NULL,
	payload    bytea  NOT NULL,
	former     bytea  NOT NULL,
	hash       bytea  NOT NULL, -- SHA-256(former || payload)
	logged_at  bigint NOT NULL
);
CREATE INDEX event_log_subject_idx ON event_log (subject, seq);

CREATE TABLE admin_tokens (
	name       text   NOT NULL CONSTRAINT admin_tokens_name_key PRIMARY KEY,
	scope      text   NOT NULL,
	digest     bytea  NOT NULL CONSTRAINT admin_tokens_digest_key UNIQUE,
	created_at bigint NOT NULL
);
