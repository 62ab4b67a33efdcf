-- Groups are decided one after the other, by whoever holds this row. It is locked and never changed, so that it leaves no dead
-- versions behind.
CREATE TABLE wk_turn (turn boolean PRIMARY KEY);
INSERT INTO wk_turn (turn) VALUES (true);

-- The newest groups: what was the last one, who wrote it, and what others are told of it, packed (nothing: they forget what they
-- remember).
CREATE TABLE wk_group (
    sequence bigint PRIMARY KEY,
    id uuid NOT NULL,
    replica bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    told bytea
);

-- What the program keeps: values are JSON in UTF-8; what the keys are, only the program knows.
CREATE TABLE wk_work (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE wk_state (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE wk_event (key bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE wk_history (key bytea PRIMARY KEY, value bytea NOT NULL);
