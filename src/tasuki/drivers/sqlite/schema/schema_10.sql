-- What version 10 adds: why a dead letter died, for those that know it (docs/adr/0042). A message without it is in no index.

ALTER TABLE messages ADD COLUMN cause TEXT;  -- NULL too where an older version wrote the row
CREATE INDEX messages_by_cause ON messages (queue, cause, published_at) WHERE cause IS NOT NULL;
