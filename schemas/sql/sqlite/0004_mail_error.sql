-- +goose Up

-- Why a mail has not gone yet, or never will: for operators.
ALTER TABLE messages ADD COLUMN last_error TEXT NOT NULL DEFAULT '';
