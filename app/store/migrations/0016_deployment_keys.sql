-- The fingerprint of the deployment's key. Written once; a further row means that a person has accepted another key, and
-- the newest row counts.
CREATE TABLE deployment_keys (
    number $serial,
    fingerprint TEXT NOT NULL,
    since_us BIGINT NOT NULL
);
