-- The fingerprint of the deployment's key. Written once; a further row means that a person has accepted another key, and
-- the newest row counts. A release before this one that restores a backup leaves the table where it is.
CREATE TABLE IF NOT EXISTS deployment_keys (
    number $serial,
    fingerprint TEXT NOT NULL,
    since_us BIGINT NOT NULL
);
