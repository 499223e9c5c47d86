-- +goose Up

ALTER TABLE flows ADD COLUMN identity_id uuid; -- whose settings these are; SQLite has it in flows.sql
