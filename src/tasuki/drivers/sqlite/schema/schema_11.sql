-- What version 11 adds: the time of a delayed message by its number, for those who look.

CREATE INDEX delayed_by_seq ON delayed (seq);
