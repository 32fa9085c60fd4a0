-- The last prediction that was in the log when an outcome was written: places each outcome in one order with them.
ALTER TABLE feedback ADD COLUMN predictions_seen BIGINT NOT NULL DEFAULT 0;
