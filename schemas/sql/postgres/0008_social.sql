-- +goose Up

-- What a sign-in at a provider leaves in a flow. SQLite has these in flows.sql.
ALTER TABLE flows ADD COLUMN attempt_digest bytea; -- null: none is on its way
ALTER TABLE flows ADD COLUMN attempt json;
ALTER TABLE flows ADD COLUMN link json; -- what waits for a login to be linked to its account
ALTER TABLE flows ADD COLUMN exchange bytea; -- digest of the app's half of its code
ALTER TABLE flows ADD COLUMN exchange_return bytea; -- digest of the other half
ALTER TABLE flows ADD COLUMN exchanged bytea; -- what the provider has proven, sealed with that half
CREATE INDEX flows_exchange_idx ON flows (exchange) WHERE exchange IS NOT NULL;
