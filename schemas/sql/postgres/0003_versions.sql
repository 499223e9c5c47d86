-- +goose Up

ALTER TABLE flows ADD COLUMN version integer NOT NULL DEFAULT 0; -- how often it was saved
