-- What replaced an outcome, by whom, under which audit entry, and its place in the order of events. The row of `feedback`
-- stays as it was received.
CREATE TABLE corrections (
    seq $serial,
    prediction_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    replaced TEXT NOT NULL,
    outcome TEXT NOT NULL,
    corrected_at_us BIGINT NOT NULL,
    actor TEXT NOT NULL,
    decision BIGINT NOT NULL,
    predictions_seen BIGINT NOT NULL,
    outcomes_seen BIGINT NOT NULL,
    heartbeats_seen BIGINT NOT NULL
);

CREATE INDEX corrections_by_prediction ON corrections (prediction_id, seq);

ALTER TABLE monitor_state ADD COLUMN cursor_corrections BIGINT NOT NULL DEFAULT 0;
