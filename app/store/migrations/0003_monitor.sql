-- What the monitor stores about each user if users are the units: one row per user and experiment.
CREATE TABLE monitor_users (
    experiment_id TEXT NOT NULL,
    user_hash BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    version TEXT NOT NULL,
    exposed BOOLEAN NOT NULL,
    moved BOOLEAN NOT NULL,
    labelled BOOLEAN NOT NULL,
    rewarded BOOLEAN NOT NULL,
    PRIMARY KEY (experiment_id, user_hash)
);
