-- Acknowledgements of drift alarms, by the number of their audit entry, each with its position in the log.
CREATE TABLE drift_acknowledgements (
    seq BIGINT PRIMARY KEY,
    version TEXT NOT NULL,
    predictions_seen BIGINT NOT NULL,
    outcomes_seen BIGINT NOT NULL,
    at_us BIGINT NOT NULL
);
