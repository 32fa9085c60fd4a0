-- name: newest_prediction
SELECT served_at_us FROM predictions ORDER BY seq DESC LIMIT 1

-- name: heartbeat
SELECT updated_at_us FROM monitor_state WHERE name = :name
