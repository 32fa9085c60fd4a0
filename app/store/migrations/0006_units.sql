-- The caller's own key of a row, and the versions that were asked and failed to answer it (a JSON array).
ALTER TABLE predictions ADD COLUMN own_key TEXT;
ALTER TABLE predictions ADD COLUMN failed TEXT;

-- Rows without a key cost it nothing.
CREATE INDEX predictions_by_own_key ON predictions (own_key, seq) WHERE own_key IS NOT NULL;

-- Moments at which the monitor noted that time has passed, each with its place in the order of events.
CREATE TABLE heartbeats (
    seq $serial,
    at_us BIGINT NOT NULL,
    predictions_seen BIGINT NOT NULL,
    outcomes_seen BIGINT NOT NULL
);

ALTER TABLE monitor_state ADD COLUMN cursor_heartbeats BIGINT NOT NULL DEFAULT 0;

-- What the monitor knows of each unit of an experiment, and its answers whose reward windows are open. `experiment` is
-- the experiment's ordinal, negative on one of two sides: a rebuild writes on the other side than that in force.
CREATE TABLE monitor_units (
    experiment BIGINT NOT NULL,
    unit BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (experiment, unit)
) $clustered;

CREATE TABLE monitor_windows (
    experiment BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    closes_at_us BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (experiment, seq)
) $clustered;

CREATE INDEX monitor_windows_by_end ON monitor_windows (experiment, closes_at_us);
