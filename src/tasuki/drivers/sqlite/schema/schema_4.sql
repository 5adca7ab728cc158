-- What version 4 adds: the oldest version whose processes can work with the file (docs/adr/0016).

CREATE TABLE layout (min_version INTEGER NOT NULL);
INSERT INTO layout VALUES (4);
