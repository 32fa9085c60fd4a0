-- name: newest_epoch
SELECT max(epoch) FROM config

-- name: latest
SELECT epoch, body FROM config ORDER BY epoch DESC LIMIT 1

-- name: first
SELECT body FROM config WHERE experiment_id = :experiment_id ORDER BY epoch LIMIT 1

-- name: of_experiment
SELECT epoch, created_at_us, source, body FROM config WHERE experiment_id = :experiment_id ORDER BY epoch

-- name: append
INSERT INTO config (created_at_us, experiment_id, source, body)
VALUES (:created_at_us, :experiment_id, :source, :body)
RETURNING epoch

-- name: end_experiments
UPDATE experiments SET ended_at_us = :at_us, ended_by = :ended_by WHERE ended_at_us IS NULL

-- name: begin_experiment
INSERT INTO experiments (id, ordinal, started_at_us, body)
SELECT :id, COALESCE(max(ordinal), 0) + 1, :at_us, :body FROM experiments
