-- name: create
CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied_at_us BIGINT NOT NULL)

-- name: applied
SELECT version FROM schema_version

-- name: record
INSERT INTO schema_version (version, applied_at_us) VALUES (:version, :applied_at_us)

-- name: touch
UPDATE schema_version SET applied_at_us = applied_at_us WHERE version = 1
