-- Predictions with their values packed (app/store/packing.py). `id` is the beginning of the prediction's id: all ids sort
-- by it. `version` is the number of the form with which the version was first seen. `request` is a hash of the request's
-- id, NULL where the time in that id is enough to find it. Numbers (`seq`) go on from those of `predictions`, whose rows
-- are read together with these.
CREATE TABLE log (
    seq $numbered,
    id $bytes NOT NULL UNIQUE $full,
    version INTEGER NOT NULL,
    form INTEGER NOT NULL,
    request INTEGER,
    own_key TEXT,
    body $bytes NOT NULL
) $by_week;

$index_of_log;

CREATE INDEX log_by_version ON log (version, id) $full;

CREATE INDEX log_by_request ON log (request) WHERE request IS NOT NULL;

CREATE INDEX log_by_own_key ON log (own_key, seq) WHERE own_key IS NOT NULL;

-- What rows of `log` share: `body` is the JSON of a `Form`.
CREATE TABLE forms (
    id INTEGER PRIMARY KEY,
    version TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    layout BIGINT,
    body TEXT NOT NULL UNIQUE
);

CREATE INDEX forms_by_version ON forms (version);

-- Marks of the log. `packed`: new rows go to `log`. A store that was in use before waits for `finish-migration`, so that
-- the release before can still read what is written.
CREATE TABLE log_marks (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO log_marks (name, value) SELECT 'packed', 1 WHERE NOT EXISTS (SELECT 1 FROM config);
