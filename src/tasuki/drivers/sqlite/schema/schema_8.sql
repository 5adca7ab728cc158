-- What version 8 adds: limits, and lanes that take turns (docs/adr/0028). All times here are wall-clock times.

ALTER TABLE queues ADD COLUMN limited INTEGER NOT NULL DEFAULT 0;   -- it has a row in the table limits

CREATE TABLE limits (
    queue            INTEGER PRIMARY KEY,
    rate             REAL,                   -- messages a second of the whole queue; NULL: no limit, as below
    burst            INTEGER NOT NULL,
    concurrency      INTEGER,
    lane_rate        REAL,                   -- the same for each lane
    lane_burst       INTEGER NOT NULL,
    lane_concurrency INTEGER,
    fair             INTEGER NOT NULL,       -- most messages that a lane is given in its turn; 0: no lanes
    tat              REAL NOT NULL,          -- when the whole burst will be there again
    entered          INTEGER NOT NULL        -- lanes that came into turn so far
);

-- A lane has a row while it has messages that can be received, or while its rate recovers.
CREATE TABLE lanes (
    queue    INTEGER NOT NULL,
    lane     TEXT NOT NULL,
    state    INTEGER NOT NULL,               -- 0 in turn, 1 waits for its rate, 2 waits for a place, 3 is empty
    turn     INTEGER NOT NULL,               -- grows with each message that it is given; the lowest one is served
    entered  INTEGER NOT NULL,               -- lanes of one turn are served in the order in which they came
    ready_at REAL NOT NULL,                  -- 1: when it is in turn again; 3: when its row can go
    tat      REAL NOT NULL,                  -- when its whole burst will be there again
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;
CREATE INDEX lanes_in_turn ON lanes (queue, turn, entered) WHERE state = 0;
CREATE INDEX lanes_slow ON lanes (queue, ready_at) WHERE state = 1;
CREATE INDEX lanes_empty ON lanes (queue, ready_at) WHERE state = 3;
CREATE INDEX lanes_full ON lanes (queue) WHERE state = 2;

-- NULL in a queue without lanes, and where an older version wrote the row.
ALTER TABLE messages ADD COLUMN lane TEXT;
ALTER TABLE ready ADD COLUMN lane TEXT;
ALTER TABLE held ADD COLUMN lane TEXT;
CREATE INDEX ready_by_lane ON ready (queue, lane, rank, seq) WHERE lane IS NOT NULL;
CREATE INDEX held_by_lane ON held (queue, lane) WHERE lane IS NOT NULL;
