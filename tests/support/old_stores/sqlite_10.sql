PRAGMA auto_vacuum=0;
BEGIN TRANSACTION;
CREATE TABLE consumers (
    queue  INTEGER NOT NULL,
    holder INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (queue, holder)
) WITHOUT ROWID;
CREATE TABLE delayed (
    queue    INTEGER NOT NULL,
    ready_at REAL NOT NULL,
    seq      INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key      TEXT,
    PRIMARY KEY (queue, ready_at, seq)
) WITHOUT ROWID;
INSERT INTO "delayed" VALUES(1,1.79613117653156828e+09,7,9,0,NULL);
CREATE TABLE errors (
    seq       INTEGER PRIMARY KEY,           -- of a message; a row is removed with it
    error     TEXT NOT NULL,
    failed_at REAL NOT NULL                  -- wall-clock time
);
CREATE TABLE held (
    delivery    INTEGER PRIMARY KEY AUTOINCREMENT,
    seq         INTEGER NOT NULL,
    queue       INTEGER NOT NULL,
    rank        INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,            -- before this delivery
    key         TEXT,
    holder      INTEGER NOT NULL,
    lease_until REAL NOT NULL                -- CLOCK_BOOTTIME of the holder's boot
, lane TEXT);
CREATE TABLE holders (
    holder INTEGER PRIMARY KEY AUTOINCREMENT,
    name   TEXT NOT NULL,
    boot   TEXT NOT NULL
);
CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    key      TEXT NOT NULL,
    result   BLOB,                           -- NULL: none is remembered
    until    REAL NOT NULL,                  -- wall-clock time at which it is forgotten
    PRIMARY KEY (consumer, key)
) WITHOUT ROWID;
CREATE TABLE known (
    queue        INTEGER NOT NULL,
    id           TEXT NOT NULL,
    published_at REAL NOT NULL,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID;
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
CREATE TABLE layout (min_version INTEGER NOT NULL);
INSERT INTO "layout" VALUES(4);
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
INSERT INTO "lines" VALUES(2,'k',0,4,9,0,0.0);
INSERT INTO "lines" VALUES(2,'k',1,5,9,0,0.0);
INSERT INTO "lines" VALUES(2,'k',1,6,9,0,0.0);
CREATE TABLE messages (
    seq          INTEGER PRIMARY KEY,        -- the place in line
    queue        INTEGER NOT NULL,
    rank         INTEGER NOT NULL,           -- 9 - priority: lower is first
    key          TEXT,
    id           TEXT NOT NULL,
    body         BLOB NOT NULL,
    headers      BLOB NOT NULL,              -- MessagePack: keeps int, float, bool and text apart
    published_at REAL NOT NULL
, lane TEXT, cause TEXT);
INSERT INTO "messages" VALUES(1,1,9,NULL,'01a231c2-834d-7000-a20e-30d21fb957be',X'30',X'81A974696D657374616D70CE6B0EC958',1.79613116090982961e+09,NULL,NULL);
INSERT INTO "messages" VALUES(2,1,9,NULL,'01a231c2-8d3a-7000-9648-b9e921c15f7f',X'31',X'81A974696D657374616D70CE6B0EC95B',1.79613116345030713e+09,NULL,NULL);
INSERT INTO "messages" VALUES(3,1,9,NULL,'01a231c2-959c-7000-9fdb-dc642edd52a8',X'32',X'81A974696D657374616D70CE6B0EC95D',1.79613116559646916e+09,NULL,NULL);
INSERT INTO "messages" VALUES(4,2,9,'k','01a231c2-9ed1-7000-afc5-b9fea1590e3d',X'30',X'82A974696D657374616D70CE6B0EC95FAD706172746974696F6E5F6B6579A16B',1.796131167954113e+09,NULL,NULL);
INSERT INTO "messages" VALUES(5,2,9,'k','01a231c2-a9a1-7000-9091-a731945b251d',X'31',X'82A974696D657374616D70CE6B0EC962AD706172746974696F6E5F6B6579A16B',1.79613117072207307e+09,NULL,NULL);
INSERT INTO "messages" VALUES(6,2,9,'k','01a231c2-b52f-7000-8405-d42d790540eb',X'32',X'82A974696D657374616D70CE6B0EC965AD706172746974696F6E5F6B6579A16B',1.79613117367979311e+09,NULL,NULL);
INSERT INTO "messages" VALUES(7,1,9,NULL,'01a231c2-c052-7000-b6b7-71310407b367',X'33',X'82A974696D657374616D70CE6B0EC968A5785F647565CB41DAC3B25A21FF3E',1.79613117653035879e+09,NULL,NULL);
INSERT INTO "messages" VALUES(8,1,9,NULL,'01a231c2-cb99-7000-84b2-5dc41d7a9329',X'34',X'82A974696D657374616D70CE6B0EC96BA46B696E64A2C3A9',1.79613117941723299e+09,NULL,NULL);
INSERT INTO "messages" VALUES(9,3,9,NULL,'01a231c2-d4a2-7000-b544-3ec67b148c63',X'30',X'81A974696D657374616D70CE6B0EC96D',1.79613118173097538e+09,NULL,NULL);
CREATE TABLE numbers (queue INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE queues (
    queue      INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    lease      REAL NOT NULL,
    max_length INTEGER,
    by_key     INTEGER NOT NULL,
    total      INTEGER NOT NULL DEFAULT 0,   -- ready, held and delayed: counted in the transaction that moves them,
    held       INTEGER NOT NULL DEFAULT 0,   -- so that a depth costs the same at any depth
    delayed    INTEGER NOT NULL DEFAULT 0
, dedup_window REAL, temporary INTEGER NOT NULL DEFAULT 0, newest INTEGER NOT NULL DEFAULT 0, limited INTEGER NOT NULL DEFAULT 0);
INSERT INTO "queues" VALUES(1,'plain',30.0,NULL,0,5,0,1,NULL,0,8,0);
INSERT INTO "queues" VALUES(2,'keyed',30.0,NULL,1,3,0,0,NULL,0,6,0);
INSERT INTO "queues" VALUES(3,'paused',30.0,NULL,0,1,0,0,NULL,0,9,0);
CREATE TABLE ready (
    queue    INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,               -- deliveries that came to nothing
    key      TEXT, lane TEXT,
    PRIMARY KEY (queue, rank, seq)
) WITHOUT ROWID;
INSERT INTO "ready" VALUES(1,9,1,0,NULL,NULL);
INSERT INTO "ready" VALUES(1,9,2,0,NULL,NULL);
INSERT INTO "ready" VALUES(1,9,3,0,NULL,NULL);
INSERT INTO "ready" VALUES(1,9,8,0,NULL,NULL);
INSERT INTO "ready" VALUES(2,9,4,0,'k',NULL);
INSERT INTO "ready" VALUES(3,9,9,0,NULL,NULL);
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
CREATE TABLE store_entries (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    store   TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    expires REAL,                            -- wall-clock time, as all times here; NULL: never
    UNIQUE (store, key)
);
INSERT INTO "store_entries" VALUES(1,'state','control/pause/queue/paused',X'7B226174223A313739363133313138332E393132393037342C22756E74696C223A6E756C6C2C226163746F72223A22726F6F7440766D222C22726561736F6E223A22227D',NULL);
INSERT INTO "store_entries" VALUES(2,'state','audit.next',X'31',1.7987231839220457e+09);
INSERT INTO "store_entries" VALUES(3,'state','audit/000',X'7B2274696D65223A313739363133313138332E393235333330322C226163746F72223A22726F6F7440766D222C2266726F6D223A22636F6D6D616E64206C696E65222C22616374223A227061757365222C22746172676574223A226170703A706175736564222C2266696C746572223A22222C22636F756E74223A6E756C6C2C22726573756C74223A22646F6E65222C226261746368223A22227D',1.79872318392548465e+09);
CREATE TABLE store_places (
    store  TEXT NOT NULL,
    key    TEXT NOT NULL,
    holder TEXT NOT NULL,
    until  REAL NOT NULL,
    PRIMARY KEY (store, key, holder)
) WITHOUT ROWID;
CREATE TABLE store_removals (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    store   TEXT NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,                -- the last one
    at      REAL NOT NULL
);
CREATE TABLE suspects (
    seq        INTEGER PRIMARY KEY,
    queue      INTEGER NOT NULL,
    is_lost    INTEGER NOT NULL,             -- its last delivery ended without a settlement
    is_started INTEGER NOT NULL,             -- the start of the delivery that is open is recorded
    delivery   INTEGER,                      -- which lease ended: its receipt settles until the message is handed out
    is_counted INTEGER NOT NULL DEFAULT 0    -- that delivery had been started, and is among the attempts
);
CREATE TABLE uniques (
    queue INTEGER NOT NULL,
    key   TEXT NOT NULL,
    seq   INTEGER NOT NULL,                  -- the message that was stored last for the key; it may be gone
    id    TEXT NOT NULL,                     -- its id, also when it is gone
    until REAL NOT NULL,                     -- wall-clock time at which its window ends; 0: it has none
    due   REAL NOT NULL,                     -- where it was put into the table delayed last; 0: nowhere
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX held_by_lease ON held (lease_until);
CREATE INDEX known_by_time ON known (queue, published_at);
CREATE INDEX store_entries_expires ON store_entries (expires) WHERE expires IS NOT NULL;
CREATE INDEX store_buckets_full ON store_buckets (full_at);
CREATE INDEX store_places_until ON store_places (until);
CREATE INDEX lanes_in_turn ON lanes (queue, turn, entered) WHERE state = 0;
CREATE INDEX lanes_slow ON lanes (queue, ready_at) WHERE state = 1;
CREATE INDEX lanes_empty ON lanes (queue, ready_at) WHERE state = 3;
CREATE INDEX lanes_full ON lanes (queue) WHERE state = 2;
CREATE INDEX ready_by_lane ON ready (queue, lane, rank, seq) WHERE lane IS NOT NULL;
CREATE INDEX held_by_lane ON held (queue, lane) WHERE lane IS NOT NULL;
CREATE INDEX inbox_until ON inbox (until);
CREATE INDEX messages_by_cause ON messages (queue, cause, published_at) WHERE cause IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('numbers',3);
INSERT INTO "sqlite_sequence" VALUES('holders',10);
INSERT INTO "sqlite_sequence" VALUES('store_entries',3);
COMMIT;
PRAGMA user_version=10;
PRAGMA application_id=1952543595;
