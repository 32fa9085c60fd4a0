-- name: known
SELECT prediction_id, kind, outcome FROM feedback WHERE prediction_id IN (SELECT $texts(:ids))

-- name: append
INSERT INTO feedback (
    prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, answer, user_hash,
    predictions_seen
) VALUES (
    :prediction_id, :kind, :outcome, :received_at_us, :version_ordinal, :epoch, :counts, :randomised, :answer,
    :user_hash, :predictions_seen
)

-- name: predictions_seen
SELECT COALESCE(max(seq), 0) FROM predictions
