-- Which content the versions of the deployment have: a row when a version was published, or first found by a process.
-- The newest row of a name, and of an ordinal, says which of several is meant. `manifest` is its SHA-256, `created_at`
-- is as the manifest has it, and `actor` is empty where nobody said who published it.
CREATE TABLE IF NOT EXISTS versions (
    number $serial,
    version TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    manifest TEXT NOT NULL,
    created_at TEXT NOT NULL,
    host TEXT NOT NULL,
    actor TEXT NOT NULL,
    recorded_us BIGINT NOT NULL
);

-- The versions that each worker has loaded, as a JSON array of names. Of its own, because scripts are applied again to
-- tables that an earlier release has left at a restore, and a column cannot be added twice.
CREATE TABLE IF NOT EXISTS worker_versions (
    worker TEXT PRIMARY KEY,
    versions TEXT NOT NULL
);
