-- name: experiments
SELECT e.id, e.ordinal, e.started_at_us, e.ended_at_us, e.ended_by, e.body, r.body AS report
FROM experiments AS e
LEFT JOIN monitor_state AS r ON r.name = :reports || e.id

-- name: newest
ORDER BY e.ordinal DESC LIMIT :limit

-- name: of_id
WHERE e.id = :id
