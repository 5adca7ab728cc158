-- What version 2 adds: duplicates by id, and queues that can be deleted.

ALTER TABLE queues ADD COLUMN dedup_window REAL;
ALTER TABLE queues ADD COLUMN temporary INTEGER NOT NULL DEFAULT 0;   -- goes with the holder that receives from it

-- Ids of queues with a dedup_window; wall-clock time, for it must outlive a restart of the machine.
CREATE TABLE known (
    queue        INTEGER NOT NULL,
    id           TEXT NOT NULL,
    published_at REAL NOT NULL,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE INDEX known_by_time ON known (queue, published_at);

-- Always empty: its counter gives the numbers of queues. A number that was deleted is never used again, so what another
-- process remembers of it finds nothing.
CREATE TABLE numbers (queue INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO numbers SELECT queue FROM queues ORDER BY queue DESC LIMIT 1;
DELETE FROM numbers;
