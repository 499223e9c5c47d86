-- +goose Up

-- What another system calls the identity, empty for nothing. That no two have the same
-- one is kept by handles, as for all that identities are found by: an index on this
-- table would have to be made while others write it.
ALTER TABLE identities ADD COLUMN external_id TEXT NOT NULL DEFAULT '';
