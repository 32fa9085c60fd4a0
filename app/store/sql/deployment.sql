-- name: fingerprint
SELECT fingerprint FROM deployment_keys ORDER BY number DESC LIMIT 1

-- name: put_fingerprint
INSERT INTO deployment_keys (fingerprint, since_us) VALUES (:fingerprint, :since_us)

-- name: generation
SELECT generation FROM reloads ORDER BY number DESC LIMIT 1

-- name: put_generation
INSERT INTO reloads (generation, at_us) VALUES (:generation, $now_us)

-- name: put_worker
INSERT INTO workers (worker, host, generation, seen_us) VALUES (:worker, :host, :generation, $now_us)
ON CONFLICT (worker) DO UPDATE SET generation = excluded.generation, seen_us = excluded.seen_us

-- name: behind
SELECT count(*) FROM workers WHERE generation <> :generation AND seen_us > $now_us - 15000000

-- name: live_hosts
SELECT DISTINCT host FROM workers WHERE seen_us > $now_us - 15000000 ORDER BY host

-- name: drop_worker
DELETE FROM workers WHERE worker = :worker

-- name: drop_workers
DELETE FROM workers WHERE seen_us < $now_us - 86400000000

-- name: put_worker_versions
INSERT INTO worker_versions (worker, versions) VALUES (:worker, :versions)
ON CONFLICT (worker) DO UPDATE SET versions = excluded.versions

-- name: drop_worker_versions
DELETE FROM worker_versions WHERE worker NOT IN (SELECT worker FROM workers)

-- name: loaded
SELECT host, generation, versions FROM workers JOIN worker_versions USING (worker)
WHERE seen_us > $now_us - 15000000

-- name: versions
SELECT version, ordinal, manifest, created_at, host, actor FROM versions ORDER BY number

-- name: published
SELECT version, manifest, max(recorded_us) AS newest_us FROM versions WHERE actor <> '' GROUP BY version, manifest

-- name: put_version
INSERT INTO versions (version, ordinal, manifest, created_at, host, actor, recorded_us)
VALUES (:version, :ordinal, :manifest, :created_at, :host, :actor, :recorded_us)
