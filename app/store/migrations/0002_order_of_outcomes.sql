-- The last prediction in the log when the outcome was written: it gives predictions and outcomes one total order.
ALTER TABLE feedback ADD COLUMN predictions_seen BIGINT NOT NULL DEFAULT 0;
