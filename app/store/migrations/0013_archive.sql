-- Up to which seqs the log is in the archive at `place`; a row for each step of archiving. `outcomes_seen` is the seq of
-- the last outcome then, `newest_us` the time of the newest archived row, of serving or of arrival.
CREATE TABLE archive_marks (
    number $serial,
    at_us BIGINT NOT NULL,
    place TEXT NOT NULL,
    predictions BIGINT NOT NULL,
    outcomes BIGINT NOT NULL,
    outcomes_seen BIGINT NOT NULL,
    newest_us BIGINT NOT NULL
);
