-- name: last_outcome
SELECT seq FROM feedback WHERE epoch >= :first AND epoch <= :last AND kind = :kind ORDER BY seq DESC LIMIT 1
