-- What a decision changed, the configuration that it brought, and whether a restored version was found to answer.
ALTER TABLE decisions ADD COLUMN epoch BIGINT;
ALTER TABLE decisions ADD COLUMN changes TEXT;
ALTER TABLE decisions ADD COLUMN checked TEXT;

CREATE INDEX decisions_by_experiment ON decisions (experiment_id, seq);
