-- What version 7 adds: keys of which a queue has one message at a time.

CREATE TABLE uniques (
    queue INTEGER NOT NULL,
    key   TEXT NOT NULL,
    seq   INTEGER NOT NULL,                  -- the message that was stored last for the key; it may be gone
    id    TEXT NOT NULL,                     -- its id, also when it is gone
    until REAL NOT NULL,                     -- wall-clock time at which its window ends; 0: it has none
    due   REAL NOT NULL,                     -- where it was put into the table delayed last; 0: nowhere
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
