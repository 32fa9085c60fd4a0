-- name: state
SELECT body FROM monitor_state WHERE name = :name

-- name: acknowledgements
SELECT seq, version, predictions_seen, outcomes_seen, at_us FROM drift_acknowledgements
WHERE version = :version AND seq > :after ORDER BY seq

-- name: acknowledge
INSERT INTO drift_acknowledgements (seq, version, predictions_seen, outcomes_seen, at_us)
VALUES (
    :seq,
    :version,
    (SELECT COALESCE(max(seq), 0) FROM predictions),
    (SELECT COALESCE(max(seq), 0) FROM feedback),
    :at_us
)
