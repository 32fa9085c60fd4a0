-- What a name begins with is compared as it stands: LIKE takes `_` for any letter, and SQLite's knows no case. The plus
-- before a column keeps SQLite from walking through all rows by it.

-- name: outcomes
SELECT
    seq, prediction_id, kind, outcome, received_at_us, version_ordinal, epoch, counts, randomised, answer, user_hash,
    predictions_seen
FROM feedback

-- name: after
WHERE seq > :after AND seq <= :until ORDER BY seq LIMIT :limit

-- name: of_ids
WHERE prediction_id IN (SELECT $texts(:ids)) AND +seq <= :until ORDER BY seq

-- name: between_ids
WHERE prediction_id BETWEEN :first AND :last AND +seq <= :until
LIMIT :limit

-- name: heartbeats
SELECT seq, at_us, predictions_seen, outcomes_seen FROM heartbeats
WHERE
    seq > :after AND seq <= :until AND predictions_seen <= :predictions AND outcomes_seen <= :outcomes
ORDER BY seq LIMIT :limit

-- name: corrections
SELECT
    seq, prediction_id, kind, replaced, outcome, corrected_at_us, predictions_seen, outcomes_seen, heartbeats_seen
FROM corrections

-- name: corrections_after
WHERE
    seq > :after AND seq <= :until AND predictions_seen <= :predictions AND outcomes_seen <= :outcomes
ORDER BY seq LIMIT :limit

-- name: newest_correction
SELECT COALESCE(max(seq), 0) FROM corrections

-- name: append_heartbeat
INSERT INTO heartbeats (at_us, predictions_seen, outcomes_seen)
VALUES (:at_us, $last_prediction, $last_outcome)

-- name: furthest_behind
SELECT
    count(*) AS projections, min(cursor_predictions) AS predictions, min(cursor_feedback) AS outcomes
FROM monitor_state
WHERE name IN (SELECT $texts(:names))

-- name: last_rows
SELECT $last_prediction AS predictions, $last_outcome AS outcomes

-- name: oldest_waiting
SELECT
    (SELECT served_at_us FROM predictions WHERE seq > :predictions ORDER BY seq LIMIT 1) AS served_at_us,
    (SELECT id FROM log WHERE seq > :predictions ORDER BY seq LIMIT 1) AS key,
    (SELECT received_at_us FROM feedback WHERE seq > :outcomes ORDER BY seq LIMIT 1) AS received_at_us

-- name: newest_event
SELECT COALESCE(max(at_us), 0) FROM (
    SELECT received_at_us AS at_us FROM feedback WHERE seq = (SELECT max(seq) FROM feedback)
    UNION ALL
    SELECT at_us FROM heartbeats WHERE seq = (SELECT max(seq) FROM heartbeats)
) AS newest

-- name: newest_epoch
SELECT COALESCE(max(epoch), 0) FROM config

-- name: configurations
SELECT epoch, body FROM config WHERE epoch IN (SELECT $numbers(:epochs))

-- name: first_configuration
SELECT epoch, body FROM config WHERE experiment_id = :experiment_id ORDER BY epoch LIMIT 1

-- name: last_configuration
SELECT epoch, body FROM config WHERE experiment_id = :experiment_id ORDER BY epoch DESC LIMIT 1

-- name: experiments
SELECT id, ordinal, started_at_us, ended_at_us, ended_by FROM experiments ORDER BY ordinal DESC

-- name: cursor
SELECT cursor_predictions, cursor_feedback, cursor_heartbeats, cursor_corrections FROM monitor_state WHERE name = :name

-- name: states
SELECT name, body FROM monitor_state WHERE name IN (SELECT $texts(:names))

-- name: states_of
SELECT name, body FROM monitor_state
WHERE name = :name OR substr(name, 1, length(:name) + 1) = :name || '/'
ORDER BY name

-- name: stale_reports
SELECT
    substr(s.name, length(:states) + 1) AS id, s.cursor_predictions, s.cursor_feedback, s.cursor_heartbeats,
    s.cursor_corrections
FROM monitor_state AS s
LEFT JOIN monitor_state AS r ON r.name = :reports || substr(s.name, length(:states) + 1)
WHERE substr(s.name, 1, length(:states)) = :states
    AND (
        r.name IS NULL OR r.cursor_predictions <> s.cursor_predictions OR r.cursor_feedback <> s.cursor_feedback
        OR r.cursor_heartbeats <> s.cursor_heartbeats OR r.cursor_corrections <> s.cursor_corrections
    )

-- name: put_state
INSERT INTO monitor_state (
    name, cursor_predictions, cursor_feedback, cursor_heartbeats, cursor_corrections, body, updated_at_us
) VALUES (:name, :predictions, :outcomes, :heartbeats, :corrections, :body, :at_us)
ON CONFLICT (name) DO UPDATE SET
    cursor_predictions = excluded.cursor_predictions,
    cursor_feedback = excluded.cursor_feedback,
    cursor_heartbeats = excluded.cursor_heartbeats,
    cursor_corrections = excluded.cursor_corrections,
    body = excluded.body,
    updated_at_us = excluded.updated_at_us

-- name: put_point
INSERT INTO timeline (experiment_id, challenger, n, at_us, body)
VALUES (:experiment_id, :challenger, :n, :at_us, :body)
ON CONFLICT (experiment_id, challenger, n) DO UPDATE SET at_us = excluded.at_us, body = excluded.body

-- name: users
SELECT user_hash, epoch, version, exposed, moved, labelled, rewarded FROM monitor_users
WHERE experiment_id = :experiment_id AND user_hash IN (SELECT $numbers(:hashes))

-- name: put_user
INSERT INTO monitor_users (experiment_id, user_hash, epoch, version, exposed, moved, labelled, rewarded)
VALUES (:experiment_id, :user_hash, :epoch, :version, :exposed, :moved, :labelled, :rewarded)
ON CONFLICT (experiment_id, user_hash) DO UPDATE SET
    exposed = excluded.exposed, moved = excluded.moved, labelled = excluded.labelled, rewarded = excluded.rewarded

-- name: ordinals
SELECT e.id, e.ordinal, s.body AS side
FROM experiments AS e
LEFT JOIN monitor_state AS s ON s.name = :side
WHERE e.id IN (SELECT $texts(:ids))

-- name: units
SELECT unit, body FROM monitor_units WHERE experiment = :experiment AND unit IN (SELECT $numbers(:units))

-- name: put_unit
INSERT INTO monitor_units (experiment, unit, body) VALUES (:experiment, :unit, :body)
ON CONFLICT (experiment, unit) DO UPDATE SET body = excluded.body

-- name: put_unit_arrays
INSERT INTO monitor_units (experiment, unit, body)
SELECT experiment, unit, body
FROM unnest(
    CAST(:experiment AS BIGINT[]),
    CAST(:unit AS BIGINT[]),
    CAST(:body AS TEXT[])
) AS given (experiment, unit, body)
ON CONFLICT (experiment, unit) DO UPDATE SET body = excluded.body

-- name: windows
SELECT seq, closes_at_us, body FROM monitor_windows
WHERE experiment = :experiment AND seq IN (SELECT $numbers(:seqs))
UNION ALL
SELECT seq, closes_at_us, body FROM monitor_windows WHERE experiment = :experiment AND closes_at_us < :before_us

-- name: put_window
INSERT INTO monitor_windows (experiment, seq, closes_at_us, body) VALUES (:experiment, :seq, :closes_at_us, :body)
ON CONFLICT (experiment, seq) DO UPDATE SET closes_at_us = excluded.closes_at_us, body = excluded.body

-- name: close_windows
DELETE FROM monitor_windows WHERE experiment = :experiment AND seq IN (SELECT $numbers(:seqs))

-- name: any_window
SELECT 1 FROM monitor_windows WHERE experiment BETWEEN :low AND :high LIMIT 1

-- name: drop_some_units
DELETE FROM monitor_units WHERE (experiment, unit) IN (
    SELECT experiment, unit FROM monitor_units WHERE experiment BETWEEN :low AND :high LIMIT :limit
)

-- name: drop_some_windows
DELETE FROM monitor_windows WHERE (experiment, seq) IN (
    SELECT experiment, seq FROM monitor_windows WHERE experiment BETWEEN :low AND :high LIMIT :limit
)

-- name: drop_state
DELETE FROM monitor_state WHERE name = :name OR substr(name, 1, length(:name) + 1) = :name || '/'

-- name: drop_points
DELETE FROM timeline WHERE (substr(experiment_id, 1, length(:space)) = :space) = :inside

-- name: drop_users
DELETE FROM monitor_users WHERE (substr(experiment_id, 1, length(:space)) = :space) = :inside

-- name: adopt_state
UPDATE monitor_state SET name = substr(name, length(:space) + 1)
WHERE name = :space || :name OR substr(name, 1, length(:space || :name) + 1) = :space || :name || '/'

-- name: adopt_points
UPDATE timeline SET experiment_id = substr(experiment_id, length(:space) + 1)
WHERE substr(experiment_id, 1, length(:space)) = :space

-- name: adopt_users
UPDATE monitor_users SET experiment_id = substr(experiment_id, length(:space) + 1)
WHERE substr(experiment_id, 1, length(:space)) = :space

-- name: row
SELECT body, updated_at_us FROM monitor_state WHERE name = :name

-- name: points
SELECT challenger, n, at_us, body FROM timeline WHERE experiment_id = :experiment_id ORDER BY challenger, n
