-- Erasures of persons. `subject` is a keyed hash of whose rows they were; `counts` are JSON: rows erased by place, and
-- predictions and outcomes by experiment. `ended_us` is NULL while one has not ended.
CREATE TABLE erasures (
    number $serial,
    subject TEXT NOT NULL,
    began_us BIGINT NOT NULL,
    ended_us BIGINT,
    counts TEXT NOT NULL,
    experiments TEXT NOT NULL
);

-- Keyed hashes of erased users and of single erased predictions. No outcome is accepted of what was served up to then.
CREATE TABLE erased (
    hash BIGINT PRIMARY KEY,
    until_us BIGINT NOT NULL
) $clustered;
