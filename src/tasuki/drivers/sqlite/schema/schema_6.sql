-- What version 6 adds: stores (docs/adr/0025). Text is compared byte by byte, which for UTF-8 is code point order.

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
