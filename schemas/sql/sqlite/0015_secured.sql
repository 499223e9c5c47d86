-- +goose Up

-- When the person recovered the account or got another password last, null for never:
-- no code or link is made that was asked for before.
ALTER TABLE identities ADD COLUMN secured_at INTEGER;
