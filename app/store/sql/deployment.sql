-- name: fingerprint
SELECT fingerprint FROM deployment_keys ORDER BY number DESC LIMIT 1

-- name: put_fingerprint
INSERT INTO deployment_keys (fingerprint, since_us) VALUES (:fingerprint, :since_us)

-- name: generation
SELECT generation FROM reloads ORDER BY number DESC LIMIT 1

-- name: put_generation
INSERT INTO reloads (generation, at_us) VALUES (:generation, :at_us)

-- name: put_worker
INSERT INTO workers (worker, host, generation, seen_us) VALUES (:worker, :host, :generation, :seen_us)
ON CONFLICT (worker) DO UPDATE SET generation = excluded.generation, seen_us = excluded.seen_us

-- name: behind
SELECT count(*) FROM workers WHERE generation <> :generation AND seen_us > :since_us

-- name: drop_workers
DELETE FROM workers WHERE seen_us < :before_us
