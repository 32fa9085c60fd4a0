-- name: old
SELECT
    seq, prediction_id, served_at_us, epoch, version, chosen, assignment, propensity, counts, synthetic, user_hash,
    features, answers, latency_us, own_key, failed, layout, lacking, request_id
FROM predictions

-- name: packed
SELECT seq, id AS key, form, own_key, body FROM log

-- name: after
WHERE seq > :after AND seq <= :until ORDER BY seq LIMIT :limit

-- name: count_old
SELECT version, layout, epoch, count(*) AS number FROM predictions

-- name: grouped_old
GROUP BY version, layout, epoch

-- name: count_packed
-- By form first: there are a few, and a form is a number.
SELECT forms.version, forms.layout, forms.epoch, CAST(sum(of_form.number) AS BIGINT) AS number
FROM (SELECT form, count(*) AS number FROM log

-- name: grouped_packed
GROUP BY form) AS of_form
INNER JOIN forms ON forms.id = of_form.form
GROUP BY forms.version, forms.layout, forms.epoch

-- name: any_old
SELECT 1 FROM predictions LIMIT 1

-- name: old_of_ids
WHERE prediction_id IN (SELECT $texts(:ids))

-- name: packed_of_ids
WHERE id $among_keys

-- name: number_of_version
SELECT min(id) FROM forms WHERE version = :version

-- name: ends
SELECT
    (SELECT value FROM log_marks WHERE name = 'packed') AS packed, $last_prediction AS last,
    EXISTS (SELECT 1 FROM predictions) AS old

-- name: newest
SELECT
    (SELECT served_at_us FROM predictions ORDER BY seq DESC LIMIT 1) AS old,
    (SELECT id FROM log ORDER BY seq DESC LIMIT 1) AS key

-- name: span
SELECT
    (SELECT min(seq) FROM predictions) AS first_old, (SELECT min(seq) FROM log) AS first_packed,
    (SELECT max(seq) FROM predictions) AS last_old, (SELECT max(seq) FROM log) AS last_packed

-- name: of_own_keys
WHERE own_key IS NOT NULL AND own_key IN (SELECT $texts(:own_keys))

-- name: number_of_old
SELECT count(*) FROM predictions

-- name: known_old
SELECT prediction_id FROM predictions WHERE prediction_id IN (SELECT $texts(:ids))

-- name: last
SELECT $last_prediction

-- name: forms
SELECT id, body FROM forms WHERE id IN (SELECT $numbers(:ids))

-- name: form
SELECT id, (SELECT min(id) FROM forms WHERE version = :version) AS number FROM forms WHERE body = :body

-- name: put_form
INSERT INTO forms (id, version, epoch, layout, body)
VALUES ((SELECT COALESCE(max(id), 0) + 1 FROM forms), :version, :epoch, :layout, :body)

-- name: mark
SELECT value FROM log_marks WHERE name = :name

-- name: set_mark
INSERT INTO log_marks (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: append_packed
INSERT INTO log (seq, id, version, form, request, own_key, body) VALUES

-- name: append_block
-- `rows` has for each the version, the form and the length of its body, as one number, or as an array with both keys.
INSERT INTO log (seq, id, version, form, request, own_key, body)
SELECT
    :first + key,
    substr(:keys, key * 14 + 1, 14),
    CASE type WHEN 'integer' THEN value >> 42 ELSE json_extract(value, '$$[0]') END,
    CASE type WHEN 'integer' THEN (value >> 21) & 2097151 ELSE json_extract(value, '$$[1]') END,
    CASE type WHEN 'array' THEN json_extract(value, '$$[3]') END,
    CASE type WHEN 'array' THEN json_extract(value, '$$[4]') END,
    substr(
        :bodies,
        key * :width + 1,
        CASE type WHEN 'integer' THEN value & 2097151 ELSE json_extract(value, '$$[2]') END
    )
FROM json_each(:rows)
WHERE true
ON CONFLICT (id) DO NOTHING

-- name: append_packed_arrays
INSERT INTO log (seq, id, version, form, request, own_key, body)
SELECT seq, id, version, form, request, own_key, body
FROM unnest(
    CAST(:seq AS BIGINT[]),
    CAST(:id AS BYTEA[]),
    CAST(:version AS INTEGER[]),
    CAST(:form AS INTEGER[]),
    CAST(:request AS INTEGER[]),
    CAST(:own_key AS TEXT[]),
    CAST(:body AS BYTEA[])
) AS given (seq, id, version, form, request, own_key, body)
ON CONFLICT (id) DO NOTHING

-- name: append_old
INSERT INTO predictions (
    seq, prediction_id, served_at_us, epoch, version, chosen, assignment, propensity, counts, synthetic, user_hash,
    features, answers, latency_us, own_key, failed, layout, lacking, request_id
) VALUES (
    :seq, :prediction_id, :served_at_us, :epoch, :version, :chosen, :assignment, :propensity, :counts, :synthetic,
    :user_hash, :features, :answers, :latency_us, :own_key, :failed, :layout, :lacking, :request_id
) ON CONFLICT (prediction_id) DO NOTHING

-- name: reserve
SELECT setval('predictions_seq_seq', :last)

-- name: remove_old
DELETE FROM predictions WHERE seq IN (SELECT $numbers(:seqs))
