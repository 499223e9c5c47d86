-- +goose Up

-- What operators saved: it lies over the configuration file. The newest revision counts.
CREATE TABLE settings (
	revision bigint NOT NULL CONSTRAINT settings_revision_key PRIMARY KEY,
	saved    json   NOT NULL, -- all values that lie over the file, by name of the setting
	actor    text   NOT NULL,
	saved_at bigint NOT NULL
);

-- Those who may use the console.
CREATE TABLE operators (
	name         text   NOT NULL CONSTRAINT operators_name_key PRIMARY KEY,
	role         text   NOT NULL, -- 'operator', 'owner'
	password     text   NOT NULL, -- PHC form; empty: not set up yet
	setup_digest bytea  CONSTRAINT operators_setup_digest_key UNIQUE, -- of the link that sets a password, once
	setup_until  bigint,
	created_at   bigint NOT NULL,
	updated_at   bigint NOT NULL
);

-- Where operators are signed in. These are not the sessions of the product's people.
CREATE TABLE operator_sessions (
	token_digest bytea  NOT NULL CONSTRAINT operator_sessions_token_digest_key PRIMARY KEY,
	operator     text   NOT NULL REFERENCES operators ON DELETE CASCADE,
	issued_at    bigint NOT NULL,
	expires_at   bigint NOT NULL
);
CREATE INDEX operator_sessions_operator_idx ON operator_sessions (operator);
