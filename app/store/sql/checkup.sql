-- name: heartbeat
SELECT updated_at_us FROM monitor_state WHERE name = :name
