-- +goose Up

ALTER TABLE flows ADD COLUMN version integer NOT NULL DEFAULT 0; -- how often it was saved

-- For the sweep: what waits for an endpoint that is away may be very many.
CREATE INDEX hook_inputs_created_at_idx ON hook_inputs (created_at);

-- For who asks the log for events that are few.
CREATE INDEX event_log_type_idx ON event_log (type, seq);
