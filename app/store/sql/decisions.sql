-- name: append
INSERT INTO decisions (at_us, actor, action, version, note, experiment_id, epoch, changes, evidence)
VALUES (:at_us, :actor, :action, :version, :note, :experiment_id, :epoch, :changes, :evidence)
RETURNING seq

-- name: page
SELECT seq, at_us, actor, action, version, note, experiment_id, epoch, changes, evidence, checked
FROM decisions WHERE seq < :before ORDER BY seq DESC LIMIT :limit

-- name: page_of_experiment
SELECT seq, at_us, actor, action, version, note, experiment_id, epoch, changes, evidence, checked
FROM decisions WHERE experiment_id = :experiment_id AND seq < :before ORDER BY seq DESC LIMIT :limit

-- name: of_experiment
SELECT seq, at_us, actor, action, version, note, experiment_id, epoch, changes, NULL AS evidence, checked
FROM decisions WHERE experiment_id = :experiment_id ORDER BY seq DESC

-- name: newest_of_ramp
SELECT changes FROM decisions
WHERE experiment_id = :experiment_id AND epoch = :epoch AND action = 'ramp' ORDER BY seq DESC LIMIT 1

-- name: add_check
UPDATE decisions SET checked = :checked WHERE seq = :seq

-- name: retirements
SELECT version, action, at_us, actor, note FROM decisions
WHERE seq IN (SELECT max(seq) FROM decisions WHERE action IN ('retire', 'restore') GROUP BY version)
