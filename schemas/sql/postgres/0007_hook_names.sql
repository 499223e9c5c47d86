-- +goose Up

-- Names that workers' credentials were minted for. Those are good beyond the hook:
-- a new hook of the name would take over whoever has one.
CREATE TABLE hook_names (
	name       text   NOT NULL CONSTRAINT hook_names_name_key PRIMARY KEY,
	good_until bigint NOT NULL, -- the last of its credentials
	removed_at bigint           -- of the hook; null: it was not removed
);
INSERT INTO hook_names (name, good_until)
	SELECT name, updated_at + 7776000000000 FROM hooks WHERE kind IN ('worker', 'answer'); -- 90 days
