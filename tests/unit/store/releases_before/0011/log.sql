-- name: ends
SELECT
    COALESCE((SELECT min(seq) FROM predictions), 1) AS first,
    COALESCE((SELECT max(seq) FROM predictions), 0) AS predictions,
    COALESCE((SELECT max(seq) FROM feedback), 0) AS outcomes

-- name: counts
SELECT p.version, p.layout, p.epoch, count(*) AS number
FROM predictions AS p
LEFT JOIN config AS c ON c.epoch = p.epoch
WHERE
    p.seq > :after AND p.seq <= :until
    AND (CAST(:experiment AS TEXT) IS NULL OR c.experiment_id = :experiment)
    AND (CAST(:since_us AS BIGINT) IS NULL OR p.served_at_us >= :since_us)
    AND (CAST(:until_us AS BIGINT) IS NULL OR p.served_at_us < :until_us)
GROUP BY p.version, p.layout, p.epoch

-- name: rows
SELECT
    p.seq, p.prediction_id, p.served_at_us, p.request_id, p.epoch, c.experiment_id, p.version, p.chosen, p.assignment,
    p.propensity, p.counts, p.synthetic, p.user_hash, p.latency_us, p.own_key, a.outcome AS actual,
    a.received_at_us AS actual_at_us, r.outcome AS reward, r.received_at_us AS reward_at_us, p.features, p.answers,
    p.failed, p.lacking, p.layout
FROM predictions AS p
LEFT JOIN feedback AS a ON a.prediction_id = p.prediction_id AND a.kind = 'actual' AND a.seq <= :outcomes
LEFT JOIN feedback AS r ON r.prediction_id = p.prediction_id AND r.kind = 'reward' AND r.seq <= :outcomes
LEFT JOIN config AS c ON c.epoch = p.epoch
WHERE
    p.seq > :after AND p.seq <= :until
    AND (CAST(:experiment AS TEXT) IS NULL OR c.experiment_id = :experiment)
    AND (CAST(:since_us AS BIGINT) IS NULL OR p.served_at_us >= :since_us)
    AND (CAST(:until_us AS BIGINT) IS NULL OR p.served_at_us < :until_us)
ORDER BY p.seq

-- name: new_rows
SELECT
    p.seq, p.prediction_id, p.served_at_us, p.request_id, p.epoch, c.experiment_id, p.version, p.chosen, p.assignment,
    p.propensity, p.counts, p.synthetic, p.user_hash, p.latency_us, p.own_key, a.outcome AS actual,
    a.received_at_us AS actual_at_us, r.outcome AS reward, r.received_at_us AS reward_at_us, p.features, p.answers,
    p.failed, p.lacking, p.layout
FROM predictions AS p
LEFT JOIN feedback AS a ON a.prediction_id = p.prediction_id AND a.kind = 'actual' AND a.predictions_seen < p.seq
LEFT JOIN feedback AS r ON r.prediction_id = p.prediction_id AND r.kind = 'reward' AND r.predictions_seen < p.seq
LEFT JOIN config AS c ON c.epoch = p.epoch
WHERE p.seq > :after
ORDER BY p.seq LIMIT :limit

-- name: outcomes
SELECT
    f.seq, f.predictions_seen, f.prediction_id, f.kind, f.outcome, f.received_at_us, f.version_ordinal, f.epoch,
    c.experiment_id, f.counts, f.user_hash
FROM feedback AS f
LEFT JOIN config AS c ON c.epoch = f.epoch
WHERE f.seq > :after
ORDER BY f.seq LIMIT :limit
