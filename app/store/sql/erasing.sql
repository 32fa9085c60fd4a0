-- name: any_erased
SELECT EXISTS (SELECT 1 FROM erased)

-- name: tombstones
SELECT hash, until_us FROM erased WHERE hash IN (SELECT $numbers(:hashes))

-- name: put_tombstone
INSERT INTO erased (hash, until_us) VALUES (:hash, :until_us)
ON CONFLICT (hash) DO UPDATE SET until_us = excluded.until_us

-- name: open_erasure
SELECT number, began_us, ended_us, counts, experiments FROM erasures WHERE subject = :subject AND ended_us IS NULL
ORDER BY number LIMIT 1

-- name: begin_erasure
INSERT INTO erasures (subject, began_us, counts, experiments) VALUES (:subject, :began_us, '{}', '[{},{}]') RETURNING number

-- name: first_open
SELECT min(began_us) FROM erasures WHERE ended_us IS NULL

-- name: put_erasure
UPDATE erasures SET ended_us = :ended_us, counts = :counts, experiments = :experiments WHERE number = :number

-- name: erasures_since
SELECT number, began_us, ended_us, counts, experiments FROM erasures WHERE number > :number ORDER BY number

-- name: any_of_user
SELECT
    EXISTS (SELECT 1 FROM predictions WHERE seq > :after AND seq <= :until AND user_hash = :user_hash)
    OR EXISTS (SELECT 1 FROM log WHERE seq > :after AND seq <= :until AND $holds_user)

-- name: last_outcome
SELECT COALESCE(max(seq), 0) FROM feedback

-- name: outcomes_of_users
SELECT prediction_id, epoch FROM feedback
WHERE seq > :after AND seq <= :until AND user_hash IN (SELECT $numbers(:users))

-- name: outcomes_of_ids
SELECT prediction_id, epoch FROM feedback WHERE prediction_id IN (SELECT $texts(:ids))

-- name: decisions_of_corrections
SELECT seq, note, changes FROM decisions
WHERE seq IN (SELECT decision FROM corrections WHERE prediction_id IN (SELECT $texts(:ids)))

-- name: put_changes
UPDATE decisions SET note = :note, changes = :changes WHERE seq = :seq

-- name: remove_predictions
DELETE FROM predictions WHERE prediction_id IN (SELECT $texts(:ids))

-- name: remove_packed
DELETE FROM log WHERE id $among_keys

-- name: remove_outcomes
DELETE FROM feedback WHERE prediction_id IN (SELECT $texts(:ids))

-- name: remove_corrections
DELETE FROM corrections WHERE prediction_id IN (SELECT $texts(:ids))

-- name: remove_disagreements
DELETE FROM disagreements WHERE prediction_id IN (SELECT $texts(:ids))

-- name: remove_users
DELETE FROM monitor_users WHERE user_hash IN (SELECT $numbers(:users))

-- name: next_of_units
SELECT min(experiment) FROM monitor_units WHERE experiment > :after

-- name: remove_units
DELETE FROM monitor_units WHERE experiment = :experiment AND unit IN (SELECT $numbers(:units))

-- name: next_of_windows
SELECT min(experiment) FROM monitor_windows WHERE experiment > :after

-- name: windows
SELECT seq, closes_at_us, body FROM monitor_windows
WHERE experiment = :experiment AND seq IN (SELECT $numbers(:seqs))

-- name: state_names
SELECT name FROM monitor_state ORDER BY name

-- name: state
SELECT body FROM monitor_state WHERE name = :name

-- name: replace_state
UPDATE monitor_state SET body = :body WHERE name = :name
