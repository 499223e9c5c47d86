-- +goose Up

-- Names of operators and of tokens for the admin listener: both act as "admin:<name>",
-- so that each is given once. Those that had one name before keep it.
CREATE TABLE actor_names (
	name TEXT NOT NULL PRIMARY KEY
) STRICT;
INSERT INTO actor_names (name) SELECT name FROM operators UNION SELECT name FROM admin_tokens;
