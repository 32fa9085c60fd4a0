-- name: append
INSERT INTO predictions (
    prediction_id, served_at_us, request_id, epoch, version, chosen, assignment, propensity, counts, synthetic,
    user_hash, features, answers, latency_us
) VALUES

-- name: page
SELECT
    p.prediction_id, p.served_at_us, p.version, p.assignment, p.features, p.answers,
    a.outcome AS actual, r.outcome AS reward
FROM predictions AS p
LEFT JOIN feedback AS a ON a.prediction_id = p.prediction_id AND a.kind = 'actual'
LEFT JOIN feedback AS r ON r.prediction_id = p.prediction_id AND r.kind = 'reward'

-- name: served_at
SELECT served_at_us FROM predictions WHERE prediction_id = :prediction_id

-- name: has_version
SELECT 1 FROM predictions WHERE version = :version LIMIT 1
