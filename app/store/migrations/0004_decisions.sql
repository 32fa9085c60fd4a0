-- What a decision changed, the resulting config revision, and whether a restored version answered a health probe.
ALTER TABLE decisions ADD COLUMN epoch BIGINT;
ALTER TABLE decisions ADD COLUMN changes TEXT;
ALTER TABLE decisions ADD COLUMN checked TEXT;

CREATE INDEX decisions_by_experiment ON decisions (experiment_id, seq);
