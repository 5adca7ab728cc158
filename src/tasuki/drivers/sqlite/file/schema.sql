-- A message is written once and deleted once; its life in between is a row in one of the small tables.

CREATE TABLE queues (
    queue      INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    lease      REAL NOT NULL,
    max_length INTEGER,
    by_key     INTEGER NOT NULL,
    total      INTEGER NOT NULL DEFAULT 0,   -- ready, held and delayed: counted in the transaction that moves them,
    held       INTEGER NOT NULL DEFAULT 0,   -- so that a depth costs the same at any depth
    delayed    INTEGER NOT NULL DEFAULT 0,
    dedup_window REAL,
    temporary  INTEGER NOT NULL DEFAULT 0,   -- goes with the holder that receives from it
    newest     INTEGER NOT NULL DEFAULT 0,   -- the highest number that a message of it ever had
    limited    INTEGER NOT NULL DEFAULT 0    -- it has a row in the table limits
);

CREATE TABLE messages (
    seq          INTEGER PRIMARY KEY,        -- the place in line
    queue        INTEGER NOT NULL,
    rank         INTEGER NOT NULL,           -- 9 - priority: lower is first
    key          TEXT,
    id           TEXT NOT NULL,
    body         BLOB NOT NULL,
    headers      BLOB NOT NULL,              -- MessagePack: keeps int, float, bool and text apart
    published_at REAL NOT NULL,
    lane         TEXT,                       -- NULL in a queue without lanes, here and below
    cause        TEXT                        -- why a dead letter died, if it says it (docs/adr/0042); else it is in no index
);
CREATE INDEX messages_by_id ON messages (queue, id);  -- ids of ours rise, so a publish adds at its end
CREATE INDEX messages_by_cause ON messages (queue, cause, published_at) WHERE cause IS NOT NULL;

-- Receivable now, in the order of receiving. In the tables below, key is NULL unless the queue keeps order per key.
CREATE TABLE ready (
    queue    INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,               -- deliveries that came to nothing
    key      TEXT,
    lane     TEXT,
    PRIMARY KEY (queue, rank, seq)
) WITHOUT ROWID;
CREATE INDEX ready_by_lane ON ready (queue, lane, rank, seq) WHERE lane IS NOT NULL;

-- Hidden until ready_at, which is wall-clock time: it must outlive a restart of the machine.
CREATE TABLE delayed (
    queue    INTEGER NOT NULL,
    ready_at REAL NOT NULL,
    seq      INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key      TEXT,
    PRIMARY KEY (queue, ready_at, seq)
) WITHOUT ROWID;
CREATE INDEX delayed_by_seq ON delayed (seq);  -- for those who look

-- Order per key: every message that has one, from publish to ack. waiting = 0: in front (ready, delayed or held).
CREATE TABLE lines (
    queue    INTEGER NOT NULL,
    key      TEXT NOT NULL,
    waiting  INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    ready_at REAL NOT NULL,                  -- 0, or the time at which it leaves the table delayed
    PRIMARY KEY (queue, key, waiting, seq)
) WITHOUT ROWID;

-- Handed out. The delivery number is the receipt. It is random and never used again, so an old receipt finds nothing.
CREATE TABLE held (
    delivery    INTEGER PRIMARY KEY AUTOINCREMENT,
    seq         INTEGER NOT NULL,
    queue       INTEGER NOT NULL,
    rank        INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,            -- before this delivery
    key         TEXT,
    holder      INTEGER NOT NULL,
    lease_until REAL NOT NULL,               -- CLOCK_BOOTTIME of the holder's boot
    lane        TEXT
);
CREATE INDEX held_by_lease ON held (lease_until);
CREATE INDEX held_by_lane ON held (queue, lane) WHERE lane IS NOT NULL;

-- The drivers that keep a temporary queue alive (count 1), or have ceased to (count 0).
CREATE TABLE consumers (
    queue  INTEGER NOT NULL,
    holder INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (queue, holder)
) WITHOUT ROWID;

-- The open drivers; each holds a lock on a file of this name for as long as it lives.
CREATE TABLE holders (
    holder INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL,
    boot   TEXT NOT NULL
);

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

-- Messages whose delivery ended without a settlement: almost always empty. A row is removed with its message, by an ack or by a nack.
CREATE TABLE suspects (
    seq        INTEGER PRIMARY KEY,
    queue      INTEGER NOT NULL,
    is_lost    INTEGER NOT NULL,             -- its last delivery ended without a settlement
    is_started INTEGER NOT NULL,             -- the start of the delivery that is open is recorded
    delivery   INTEGER,                      -- which lease ended: its receipt settles until the message is handed out
    is_counted INTEGER NOT NULL DEFAULT 0    -- that delivery had been started, and is among the attempts
);

-- The last error of each message that has failed, for people who look.
CREATE TABLE errors (
    seq       INTEGER PRIMARY KEY,           -- of a message; a row is removed with it
    error     TEXT NOT NULL,
    failed_at REAL NOT NULL                  -- wall-clock time
);

-- Keys of which a queue has one message at a time.
CREATE TABLE uniques (
    queue INTEGER NOT NULL,
    key   TEXT NOT NULL,
    seq   INTEGER NOT NULL,                  -- the message that was stored last for the key; it may be gone
    id    TEXT NOT NULL,                     -- its id, also when it is gone
    until REAL NOT NULL,                     -- wall-clock time at which its window ends; 0: it has none
    due   REAL NOT NULL,                     -- where it was put into the table delayed last; 0: nowhere
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;

-- Limits, and lanes that take turns (docs/adr/0028). All times here are wall-clock times.
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

-- Keys of consumers whose work was done in a transaction that also settled its message.
CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    key      TEXT NOT NULL,
    result   BLOB,                           -- NULL: none is remembered
    until    REAL NOT NULL,                  -- wall-clock time at which it is forgotten
    PRIMARY KEY (consumer, key)
) WITHOUT ROWID;
CREATE INDEX inbox_until ON inbox (until);

-- Stores (docs/adr/0025). Text is compared byte by byte, which for UTF-8 is code point order.

-- The version is the number of the row: a put replaces the row, and a number is never used again. So what changed since
-- some version is at the end of the table.
CREATE TABLE store_entries (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    store   TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    expires REAL,                            -- wall-clock time, as all times here; NULL: never
    UNIQUE (store, key)
);
CREATE INDEX store_entries_expires ON store_entries (expires) WHERE expires IS NOT NULL;

-- The keys that went within the last minute, for watches.
CREATE TABLE store_removals (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    store   TEXT NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,                -- the last one
    at      REAL NOT NULL
);

CREATE TABLE store_buckets (
    store   TEXT NOT NULL,
    key     TEXT NOT NULL,
    level   REAL NOT NULL,                   -- tokens at the time ``at``
    at      REAL NOT NULL,
    rate    REAL NOT NULL,                   -- tokens a second, and the most that it holds, since then
    burst   INTEGER NOT NULL,
    top     INTEGER NOT NULL,                -- the largest burst so far
    full_at REAL NOT NULL,                   -- when it could be full for that
    PRIMARY KEY (store, key)
) WITHOUT ROWID;
CREATE INDEX store_buckets_full ON store_buckets (full_at);

CREATE TABLE store_places (
    store  TEXT NOT NULL,
    key    TEXT NOT NULL,
    holder TEXT NOT NULL,
    until  REAL NOT NULL,
    PRIMARY KEY (store, key, holder)
) WITHOUT ROWID;
CREATE INDEX store_places_until ON store_places (until);
