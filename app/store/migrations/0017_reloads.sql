-- Reloads of the model registry, which the workers of all hosts follow, and which of them each worker has carried out.
-- A worker that ended leaves its row: `seen_us` tells it from those that live.
CREATE TABLE IF NOT EXISTS reloads (
    number $serial,
    generation TEXT NOT NULL,
    at_us BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS workers (
    worker TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    generation TEXT NOT NULL,
    seen_us BIGINT NOT NULL
);
