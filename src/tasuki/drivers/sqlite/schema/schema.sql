-- A message is written once and deleted once; its life in between is a row in one of the small tables.

CREATE TABLE queues (
    queue      INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    lease      REAL NOT NULL,
    max_length INTEGER,
    by_key     INTEGER NOT NULL,
    total      INTEGER NOT NULL DEFAULT 0,   -- ready, held and delayed: counted in the transaction that moves them,
    held       INTEGER NOT NULL DEFAULT 0,   -- so that a depth costs the same at any depth
    delayed    INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE messages (
    seq          INTEGER PRIMARY KEY,        -- the place in line
    queue        INTEGER NOT NULL,
    rank         INTEGER NOT NULL,           -- 9 - priority: lower is first
    key          TEXT,
    id           TEXT NOT NULL,
    body         BLOB NOT NULL,
    headers      BLOB NOT NULL,              -- MessagePack: keeps int, float, bool and text apart
    published_at REAL NOT NULL
);

-- Receivable now, in the order of receiving. In the tables below, key is NULL unless the queue keeps order per key.
CREATE TABLE ready (
    queue    INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,               -- deliveries that came to nothing
    key      TEXT,
    PRIMARY KEY (queue, rank, seq)
) WITHOUT ROWID;

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
    lease_until REAL NOT NULL                -- CLOCK_BOOTTIME of the holder's boot
);
CREATE INDEX held_by_lease ON held (lease_until);

-- The drivers that keep a temporary queue alive (count 1). Older versions count their consumers of
-- all queues here, so the table keeps its name (docs/adr/0016).
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
