-- name: ends
SELECT
    COALESCE((SELECT max(seq) FROM feedback), 0) AS outcomes,
    COALESCE((SELECT max(seq) FROM corrections), 0) AS corrections

-- name: of_ids
SELECT seq, prediction_id, kind, outcome, received_at_us, predictions_seen FROM feedback
WHERE prediction_id IN (SELECT $texts(:ids))

-- name: between_ids
SELECT seq, prediction_id, kind, outcome, received_at_us, predictions_seen FROM feedback
WHERE prediction_id >= :first AND prediction_id <= :last
LIMIT :limit

-- name: any_correction
SELECT 1 FROM corrections LIMIT 1

-- name: corrections_of_ids
SELECT seq, prediction_id, kind, outcome, corrected_at_us, predictions_seen FROM corrections
WHERE prediction_id IN (SELECT $texts(:ids)) ORDER BY seq

-- name: outcomes
SELECT
    f.seq, f.predictions_seen, f.prediction_id, f.kind, f.outcome, f.received_at_us, f.version_ordinal, f.epoch,
    c.experiment_id, f.counts, f.user_hash
FROM feedback AS f
LEFT JOIN config AS c ON c.epoch = f.epoch
WHERE f.seq > :after
ORDER BY f.seq LIMIT :limit

-- name: corrections
SELECT
    c.seq, c.predictions_seen, c.prediction_id, c.kind, c.outcome, f.received_at_us, f.version_ordinal, f.epoch,
    g.experiment_id, f.counts, f.user_hash, c.outcomes_seen, c.corrected_at_us
FROM corrections AS c
INNER JOIN feedback AS f ON f.prediction_id = c.prediction_id AND f.kind = c.kind
LEFT JOIN config AS g ON g.epoch = f.epoch
WHERE c.seq > :after
ORDER BY c.seq LIMIT :limit
