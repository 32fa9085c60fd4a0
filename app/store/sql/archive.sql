-- name: last_mark
SELECT
    number, at_us, place, predictions, outcomes, outcomes_seen, newest_us,
    (SELECT value FROM log_marks WHERE name = 'log') AS log
FROM archive_marks
ORDER BY number DESC LIMIT 1

-- name: marks
SELECT number, at_us, place, predictions, outcomes, outcomes_seen, newest_us FROM archive_marks ORDER BY number

-- name: put_mark
INSERT INTO archive_marks (at_us, place, predictions, outcomes, outcomes_seen, newest_us)
VALUES (:at_us, :place, :predictions, :outcomes, :outcomes_seen, :newest_us)

-- name: ends
SELECT
    COALESCE((SELECT min(seq) FROM feedback), 0) AS first_outcome,
    COALESCE((SELECT max(seq) FROM feedback), 0) AS last_outcome

-- name: first_served_since
SELECT min(seq) FROM (
    SELECT seq FROM predictions WHERE seq > :after AND seq <= :until AND served_at_us >= :since_us
    UNION ALL
    SELECT seq FROM log WHERE seq > :after AND seq <= :until AND id >= :since_key
) AS found

-- name: first_received_since
SELECT min(seq) FROM feedback WHERE seq > :after AND seq <= :until AND received_at_us >= :since_us

-- name: outcomes_of_span
-- Not by the index of the ids, which has those of the whole log.
SELECT seq, prediction_id FROM feedback
WHERE seq > :after AND seq <= :until AND prediction_id || '' >= :least
ORDER BY seq

-- name: first_behind
SELECT
    EXISTS (SELECT 1 FROM predictions WHERE seq > :predictions) AS old,
    -- The plus keeps the database from any other index than that of the ids, of which the first ones are looked at.
    (SELECT id FROM log WHERE +seq > :predictions ORDER BY id LIMIT 1) AS key

-- name: ahead
SELECT prediction_id FROM predictions WHERE seq > :predictions AND prediction_id IN (SELECT $texts(:ids))

-- name: ahead_packed
SELECT id FROM log WHERE seq > :predictions AND id $among_keys

-- name: first_window
SELECT min(seq) FROM monitor_windows
WHERE
    experiment >= :metrics
    OR (CASE WHEN experiment > 0 THEN 1 ELSE -1 END = CAST(
        COALESCE((SELECT body FROM monitor_state WHERE name = :side), '1') AS BIGINT
    ))

-- name: last_corrections
SELECT prediction_id, kind, outcome FROM corrections WHERE prediction_id IN (SELECT $texts(:ids)) ORDER BY seq

-- name: remove_predictions
DELETE FROM predictions WHERE seq >= :first AND seq <= :until

-- name: remove_packed
DELETE FROM log WHERE seq >= :first AND seq <= :until

-- name: remove_outcomes
DELETE FROM feedback WHERE seq >= :first AND seq <= :until
