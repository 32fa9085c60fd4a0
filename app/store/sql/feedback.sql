-- name: known
SELECT
    f.prediction_id, f.kind, COALESCE(
        (
            SELECT c.outcome FROM corrections AS c
            WHERE c.prediction_id = f.prediction_id AND c.kind = f.kind
            ORDER BY c.seq DESC LIMIT 1
        ),
        f.outcome
    ) AS outcome
FROM feedback AS f
WHERE f.prediction_id IN (SELECT $texts(:ids))

-- name: append
INSERT INTO feedback (
    prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, answer, user_hash,
    predictions_seen
) VALUES

-- name: append_arrays
INSERT INTO feedback (
    prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, answer, user_hash,
    predictions_seen
)
SELECT
    prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, answer, user_hash,
    predictions_seen
FROM unnest(
    CAST(:prediction_id AS TEXT[]),
    CAST(:kind AS TEXT[]),
    CAST(:outcome AS TEXT[]),
    CAST(:received_at_us AS BIGINT[]),
    CAST(:version_ordinal AS BIGINT[]),
    CAST(:epoch AS BIGINT[]),
    CAST(:counts AS BOOLEAN[]),
    CAST(:randomised AS BOOLEAN[]),
    CAST(:answer AS DOUBLE PRECISION[]),
    CAST(:user_hash AS BIGINT[]),
    CAST(:predictions_seen AS BIGINT[])
) WITH ORDINALITY AS given (
    prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, answer, user_hash,
    predictions_seen, place
)
ORDER BY place

-- name: append_correction
INSERT INTO corrections (
    prediction_id, kind, replaced, outcome, corrected_at_us, actor, decision, predictions_seen, outcomes_seen,
    heartbeats_seen
) VALUES (
    :prediction_id, :kind, :replaced, :outcome, :corrected_at_us, :actor, :decision, :predictions_seen, :outcomes_seen,
    :heartbeats_seen
)

-- name: experiments
SELECT epoch, experiment_id FROM config WHERE epoch IN (SELECT $numbers(:epochs))

-- name: predictions_seen
SELECT $last_prediction

-- name: outcomes_seen
SELECT $last_outcome

-- name: heartbeats_seen
SELECT COALESCE(max(seq), 0) FROM heartbeats
