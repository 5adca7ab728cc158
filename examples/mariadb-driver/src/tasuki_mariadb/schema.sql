-- A number is never used again: a process that remembers a deleted queue finds nothing under its number.
CREATE TABLE IF NOT EXISTS {0}_queues (
    name         VARBINARY(255) PRIMARY KEY,
    number       INT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE,
    lease        DOUBLE NOT NULL,
    max_length   BIGINT,
    by_key       BOOL NOT NULL,
    dedup_window DOUBLE,
    temporary    BOOL NOT NULL
) ENGINE = InnoDB;

-- token: the last delivery's, until it is settled; it outlives the lease, and the message is then a suspect.
-- due: when it can be received: the end of its delay or of its lease, in seconds since 1970.
-- line: the digest of its key.
CREATE TABLE IF NOT EXISTS {0}_messages (
    seq          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    queue        INT UNSIGNED NOT NULL,
    id           BLOB NOT NULL,
    headers      LONGBLOB NOT NULL,
    body         LONGBLOB NOT NULL,
    size         INT UNSIGNED NOT NULL,
    place        TINYINT NOT NULL,
    line         BINARY(16),
    state        TINYINT NOT NULL,
    due          DOUBLE NOT NULL,
    published_at DOUBLE NOT NULL,
    attempts     INT UNSIGNED NOT NULL DEFAULT 0,
    token        BIGINT UNSIGNED,
    started      BOOL NOT NULL DEFAULT FALSE,
    suspect      BOOL NOT NULL DEFAULT FALSE,
    KEY receivable (queue, state, place, seq),
    KEY timed (queue, state, due, published_at),
    KEY of_key (queue, line, seq),
    KEY of_key_by_state (queue, line, state)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS {0}_ids (
    queue        INT UNSIGNED NOT NULL,
    id           BINARY(16) NOT NULL,
    published_at DOUBLE NOT NULL,
    PRIMARY KEY (queue, id),
    KEY by_time (queue, published_at)
) ENGINE = InnoDB;

-- The processes that keep a temporary queue.
CREATE TABLE IF NOT EXISTS {0}_consumers (
    queue  INT UNSIGNED NOT NULL,
    holder VARCHAR(64) CHARACTER SET ascii NOT NULL,
    count  INT UNSIGNED NOT NULL,
    PRIMARY KEY (queue, holder)
) ENGINE = InnoDB;

-- The last one: where it is, all are.
CREATE TABLE IF NOT EXISTS {0}_layout (version INT PRIMARY KEY) ENGINE = InnoDB
