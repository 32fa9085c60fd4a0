-- name: fingerprint
SELECT fingerprint FROM deployment_keys ORDER BY number DESC LIMIT 1

-- name: put_fingerprint
INSERT INTO deployment_keys (fingerprint, since_us) VALUES (:fingerprint, :since_us)
