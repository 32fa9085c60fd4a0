-- name: append
INSERT INTO predictions (
    prediction_id, served_at_us, request_id, epoch, version, chosen, assignment, propensity, counts, synthetic,
    user_hash, features, answers, latency_us, own_key, failed, layout, lacking
) VALUES

-- name: append_arrays
INSERT INTO predictions (
    prediction_id, served_at_us, request_id, epoch, version, chosen, assignment, propensity, counts, synthetic,
    user_hash, features, answers, latency_us, own_key, failed, layout, lacking
)
SELECT
    prediction_id, served_at_us, request_id, epoch, version, chosen, assignment, propensity, counts, synthetic,
    user_hash, features, answers, latency_us, own_key, failed, layout, lacking
FROM unnest(
    CAST(:prediction_id AS TEXT[]),
    CAST(:served_at_us AS BIGINT[]),
    CAST(:request_id AS TEXT[]),
    CAST(:epoch AS BIGINT[]),
    CAST(:version AS TEXT[]),
    CAST(:chosen AS TEXT[]),
    CAST(:assignment AS TEXT[]),
    CAST(:propensity AS DOUBLE PRECISION[]),
    CAST(:counts AS BOOLEAN[]),
    CAST(:synthetic AS BOOLEAN[]),
    CAST(:user_hash AS BIGINT[]),
    CAST(:features AS TEXT[]),
    CAST(:answers AS TEXT[]),
    CAST(:latency_us AS BIGINT[]),
    CAST(:own_key AS TEXT[]),
    CAST(:failed AS TEXT[]),
    CAST(:layout AS BIGINT[]),
    CAST(:lacking AS TEXT[])
) WITH ORDINALITY AS given (
    prediction_id, served_at_us, request_id, epoch, version, chosen, assignment, propensity, counts, synthetic,
    user_hash, features, answers, latency_us, own_key, failed, layout, lacking, place
)
ORDER BY place
ON CONFLICT (prediction_id) DO NOTHING

-- name: put_layout
INSERT INTO layouts (id, columns) VALUES (:id, :columns) ON CONFLICT (id) DO NOTHING

-- name: layouts
SELECT id, columns FROM layouts WHERE id IN (SELECT $numbers(:ids))

-- name: page
SELECT
    p.prediction_id, p.served_at_us, p.version, p.assignment, p.features, p.answers,
    a.outcome AS actual, r.outcome AS reward, p.own_key, p.request_id, p.epoch, p.propensity, p.chosen, p.counts,
    p.synthetic, p.user_hash, p.latency_us, a.received_at_us AS actual_at_us, r.received_at_us AS reward_at_us,
    c.experiment_id, p.failed, p.lacking, p.layout
FROM predictions AS p
LEFT JOIN feedback AS a ON a.prediction_id = p.prediction_id AND a.kind = 'actual'
LEFT JOIN feedback AS r ON r.prediction_id = p.prediction_id AND r.kind = 'reward'
LEFT JOIN config AS c ON c.epoch = p.epoch

-- name: corrections
SELECT prediction_id, kind, replaced, outcome, corrected_at_us, actor FROM corrections
WHERE prediction_id IN (SELECT $texts(:ids)) ORDER BY seq

-- name: any_correction
SELECT 1 FROM corrections LIMIT 1

-- name: bound
SELECT own_key, prediction_id FROM (
    SELECT own_key, prediction_id, row_number() OVER (PARTITION BY own_key ORDER BY counts DESC, prediction_id) AS place
    FROM predictions
    WHERE own_key IS NOT NULL AND own_key IN (SELECT $texts(:keys)) AND served_at_us >= :since_us
) AS ranked
WHERE place = 1

-- name: of_ids
WHERE p.prediction_id IN (SELECT $texts(:ids))

-- name: served_at
SELECT served_at_us FROM predictions
WHERE prediction_id >= :prediction_id AND prediction_id < :prediction_id || '~'
ORDER BY prediction_id LIMIT 1

-- name: has_version
SELECT 1 FROM predictions WHERE version = :version LIMIT 1
