-- What version 5 adds: the last error of each message that has failed, for people who look.

CREATE TABLE errors (
    seq       INTEGER PRIMARY KEY,           -- of a message; a row is removed with it
    error     TEXT NOT NULL,
    failed_at REAL NOT NULL                  -- wall-clock time
);
