-- What version 3 adds: message numbers that a queue never uses again, and messages whose delivery ended without a
-- settlement.

ALTER TABLE queues ADD COLUMN newest INTEGER NOT NULL DEFAULT 0;   -- the highest number that a message of it ever had
UPDATE queues SET newest = (SELECT coalesce(max(seq), 0) FROM messages);

-- Almost always empty. A row is removed with its message, by an ack or by a nack.
CREATE TABLE suspects (
    seq        INTEGER PRIMARY KEY,
    queue      INTEGER NOT NULL,
    is_lost    INTEGER NOT NULL,             -- its last delivery ended without a settlement
    is_started INTEGER NOT NULL,             -- the start of the delivery that is open is recorded
    delivery   INTEGER,                      -- which lease ended: its receipt settles until the message is handed out
    is_counted INTEGER NOT NULL DEFAULT 0    -- that delivery had been started, and is among the attempts
);
