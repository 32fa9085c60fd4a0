-- The columns of logged rows in their order: a JSON array of `LoggedColumn`. `id` follows from them.
CREATE TABLE layouts (
    id BIGINT PRIMARY KEY,
    columns TEXT NOT NULL
);

-- The row of `layouts` that `features` follow, NULL for the contract of `version`; and the versions that took no part
-- in the request, because it lacks a column that they read (a JSON array).
ALTER TABLE predictions ADD COLUMN layout BIGINT;
ALTER TABLE predictions ADD COLUMN lacking TEXT;
