-- What version 9 adds: keys of consumers whose work was done in a transaction that also settled its message.

CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    key      TEXT NOT NULL,
    result   BLOB,                           -- NULL: none is remembered
    until    REAL NOT NULL,                  -- wall-clock time at which it is forgotten
    PRIMARY KEY (consumer, key)
) WITHOUT ROWID;
CREATE INDEX inbox_until ON inbox (until);
