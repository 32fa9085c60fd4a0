-- Names that begin with a dollar sign differ by database: see app/store/statements.py.

CREATE TABLE predictions (
    seq $serial,
    prediction_id TEXT NOT NULL UNIQUE,
    served_at_us BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    version TEXT NOT NULL,
    chosen TEXT NOT NULL,
    assignment TEXT NOT NULL,
    propensity DOUBLE PRECISION,
    counts BOOLEAN NOT NULL,
    synthetic BOOLEAN NOT NULL,
    user_hash BIGINT NOT NULL,
    features TEXT NOT NULL,
    answers TEXT NOT NULL,
    latency_us BIGINT NOT NULL
);

-- History reads this one backwards, or that of the ids, which sort by time. Not (version, prediction_id): twice the
-- cost of writing a row.
CREATE INDEX predictions_by_version ON predictions (version, served_at_us);

CREATE TABLE feedback (
    seq $serial,
    prediction_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('actual', 'reward')),
    outcome TEXT NOT NULL,
    received_at_us BIGINT NOT NULL,
    version_ordinal BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    counts BOOLEAN NOT NULL,
    randomised BOOLEAN NOT NULL,
    answer DOUBLE PRECISION NOT NULL,
    user_hash BIGINT NOT NULL,
    UNIQUE (prediction_id, kind)
);

CREATE TABLE config (
    epoch $serial,
    created_at_us BIGINT NOT NULL,
    experiment_id TEXT NOT NULL,
    source TEXT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE experiments (
    id TEXT PRIMARY KEY,
    ordinal BIGINT NOT NULL UNIQUE,
    started_at_us BIGINT NOT NULL,
    ended_at_us BIGINT,
    ended_by TEXT,
    body TEXT NOT NULL
);

CREATE TABLE decisions (
    seq $serial,
    at_us BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    version TEXT,
    note TEXT,
    experiment_id TEXT,
    evidence TEXT
);

CREATE TABLE monitor_state (
    name TEXT PRIMARY KEY,
    cursor_predictions BIGINT NOT NULL,
    cursor_feedback BIGINT NOT NULL,
    body TEXT NOT NULL,
    updated_at_us BIGINT NOT NULL
);

CREATE TABLE timeline (
    experiment_id TEXT NOT NULL,
    challenger TEXT NOT NULL,
    n BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (experiment_id, challenger, n)
);
