-- Rows that two versions of an experiment answered differently, as the monitor finds them: for each challenger the
-- newest ones. `experiment` is the experiment's ordinal. `won` says whose answer was right, and `label` is the JSON of
-- the label; `row_hash` is the same for rows with the same features. All of it follows from the log, so that a rebuild
-- writes the same rows again.
CREATE TABLE disagreements (
    experiment BIGINT NOT NULL,
    challenger TEXT NOT NULL,
    prediction_id TEXT NOT NULL,
    won TEXT NOT NULL,
    label TEXT,
    row_hash BIGINT NOT NULL,
    PRIMARY KEY (experiment, challenger, prediction_id)
) $clustered;

CREATE INDEX disagreements_by_row ON disagreements (experiment, challenger, row_hash);
