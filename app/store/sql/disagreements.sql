-- name: put
INSERT INTO disagreements (experiment, challenger, prediction_id, won, label, row_hash)
VALUES (:experiment, :challenger, :prediction_id, :won, :label, :row_hash)
ON CONFLICT (experiment, challenger, prediction_id) DO UPDATE SET won = excluded.won, label = excluded.label
WHERE excluded.label IS NOT NULL

-- name: put_arrays
INSERT INTO disagreements (experiment, challenger, prediction_id, won, label, row_hash)
SELECT experiment, challenger, prediction_id, won, label, row_hash
FROM unnest(
    CAST(:experiment AS BIGINT[]),
    CAST(:challenger AS TEXT[]),
    CAST(:prediction_id AS TEXT[]),
    CAST(:won AS TEXT[]),
    CAST(:label AS TEXT[]),
    CAST(:row_hash AS BIGINT[])
) AS given (experiment, challenger, prediction_id, won, label, row_hash)
ON CONFLICT (experiment, challenger, prediction_id) DO UPDATE SET won = excluded.won, label = excluded.label
WHERE excluded.label IS NOT NULL

-- name: label
UPDATE disagreements SET won = :won, label = :label
WHERE experiment = :experiment AND challenger = :challenger AND prediction_id = :prediction_id

-- name: label_arrays
UPDATE disagreements AS d SET won = given.won, label = given.label
FROM unnest(
    CAST(:experiment AS BIGINT[]),
    CAST(:challenger AS TEXT[]),
    CAST(:prediction_id AS TEXT[]),
    CAST(:won AS TEXT[]),
    CAST(:label AS TEXT[])
) AS given (experiment, challenger, prediction_id, won, label)
WHERE d.experiment = given.experiment AND d.challenger = given.challenger AND d.prediction_id = given.prediction_id

-- name: trim
DELETE FROM disagreements
WHERE experiment = :experiment AND challenger = :challenger AND prediction_id <= (
    SELECT prediction_id FROM disagreements
    WHERE experiment = :experiment AND challenger = :challenger
    ORDER BY prediction_id DESC LIMIT 1 OFFSET :kept
)

-- name: ordinals
SELECT id, ordinal FROM experiments WHERE id IN (SELECT $texts(:ids))

-- name: page
SELECT d.prediction_id, d.won, (
    SELECT count(*) FROM (
        SELECT 1 FROM disagreements AS s
        WHERE s.experiment = d.experiment AND s.challenger = d.challenger AND s.row_hash = d.row_hash
        LIMIT :most_counted
    ) AS same
) AS came
FROM disagreements AS d
WHERE d.experiment = :experiment AND d.challenger = :challenger

-- name: state
SELECT body FROM monitor_state WHERE name = :name
