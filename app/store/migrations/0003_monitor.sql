-- What the monitor must know of single users, where users are the units: one row a user and experiment.
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
