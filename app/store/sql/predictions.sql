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

-- name: outcomes
SELECT prediction_id, kind, outcome, received_at_us FROM feedback WHERE prediction_id IN (SELECT $texts(:ids))

-- name: experiments
SELECT epoch, experiment_id FROM config WHERE epoch IN (SELECT $numbers(:epochs))

-- name: corrections
SELECT prediction_id, kind, replaced, outcome, corrected_at_us, actor FROM corrections
WHERE prediction_id IN (SELECT $texts(:ids)) ORDER BY seq

-- name: any_correction
SELECT 1 FROM corrections LIMIT 1
