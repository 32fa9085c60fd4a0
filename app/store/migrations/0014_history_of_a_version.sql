-- The history of one version is found by a short moment of serving: rows of one moment share an entry on PostgreSQL, and
-- entries are small on SQLite. The whole id in the index took a fifth of a row there.
CREATE INDEX log_by_moment ON log (version, ($moment)) $full;

DROP INDEX log_by_version;
