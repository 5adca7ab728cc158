-- Each part can run again: it makes whatever a schema lacks, and keeps its rows.

-- One row a message, from publish to ack: a receive updates it once, an ack deletes it, both in batches.

create table if not exists queues (
    id           integer generated always as identity primary key,
    name         text not null unique,
    lease        double precision not null,          -- seconds
    max_length   bigint,
    by_key       boolean not null,
    dedup_window double precision,                   -- seconds
    total        bigint not null default 0,          -- messages, where max_length is set; see changes
    counted_at   timestamptz not null default '-infinity',
    temporary    boolean not null default false,
    used_at      timestamptz not null default clock_timestamp(),  -- last sign of a temporary queue's process
    synchronous_commit text,                         -- the setting; null: the session's
    -- A limit or lanes: limited says whether there are any, or messages that are still in a lane. by_lane: the key of a message is
    -- its lane, and orders it; by_key is false then.
    limited      boolean not null default false,
    rate         double precision,
    burst        integer not null default 1,
    concurrency  integer,
    fair         integer not null default 0,
    lane_rate    double precision,
    lane_burst   integer not null default 1,
    lane_concurrency integer,
    by_lane      boolean not null default false,
    -- Where change_step goes on with a change of ordering or lanes: the part, and the place of the last message there; null: no change.
    change_at    text[]
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);

-- state: 0 ready, 1 delayed, 2 held, 3 behind another message of its key, 4 ready in a lane. due is set in states 1 and 2 alone.
create table if not exists messages (
    seq          bigint generated always as identity primary key,   -- the place in line
    queue        integer not null,
    state        smallint not null,
    rank         smallint not null,                  -- 9 - priority: lower is first
    attempts     integer not null default 0,         -- failures, and the recorded start of the open delivery
    token        integer not null default 0,         -- random for each receive, 0 since a return; with seq it is the receipt; see new_token
    due          timestamptz,                        -- when a delay or a lease ends
    published_at timestamptz not null,
    key          text,
    id           text not null,
    headers      bytea,                              -- JSON; null: none
    body         bytea not null,
    counted      boolean not null default false,     -- whether attempts contains the open delivery
    suspect      boolean not null default false,     -- whether the last delivery ended without a settlement
    error        bytea,                              -- of the last nack; UTF-8: an error may contain NUL, text cannot
    failed_at    timestamptz,                        -- when it came
    lane         text collate "C",                   -- null for the lane ''
    place        text collate "C",                   -- the lane in which it takes a place while it is held; null: no limit counts it
    cause        text collate "C",                   -- why a dead letter died, for those that say it; see causes.sql
    holder       bigint                              -- who holds it, or held it last: a row of holders, if its process has given a sign
) with (fillfactor = 90, vacuum_truncate = off,
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000,
        toast.autovacuum_vacuum_cost_delay = 0);
-- What follows locks tables. Running verbs lock queues first, then uniques, messages, lanes, arrivals, changes, seen
-- and waiters: so does this.
lock table queues in access exclusive mode;
lock table messages in access exclusive mode;

alter table messages alter column body set storage external;   -- compressing what lives for a moment is work for nothing

create index if not exists messages_ready on messages (queue, rank, seq) where state = 0;
create index if not exists messages_due on messages (queue, due, seq) where due is not null;
-- A statement about a key asks for the first row between this key and this key, in an order that one of these indexes
-- alone has, and the functions do without sorting: so the plan does not depend on statistics. With = in place of >= and
-- <= the planner would order by seq alone, and might read all messages up to the first match.
create index if not exists messages_keys on messages (queue, key, seq) where key is not null and state <> 3;
create index if not exists messages_behind on messages (queue, key, seq) where key is not null and state = 3;
create index if not exists messages_held on messages (key, queue) where key is not null and state = 2;
create index if not exists messages_causes on messages (queue, cause, published_at, seq) where cause is not null and state <> 2;
create index if not exists messages_lanes on messages (queue, lane, rank, seq) where state = 4;
create index if not exists messages_places on messages (queue, place) where state = 2 and place is not null;
create index if not exists queues_temporary on queues (used_at) where temporary;

-- The limit of a queue; see limits.sql. The row serializes the receives of such a queue.
create table if not exists gates (
    queue   integer primary key,
    full_at double precision not null                -- when its rate has recovered; Unix seconds
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);

-- The lanes of a queue that have messages, or whose rate has not recovered; see lanes.sql.
create table if not exists lanes (
    queue    integer not null,
    lane     text collate "C" not null,
    turn     bigint not null,                        -- the lowest is served next; each message that it is given raises it
    since    timestamptz not null,                   -- of two lanes at one turn, the one that waits longer is first
    ready_at timestamptz,                            -- when to visit it again, unless an arrival comes first; null: it has its turns
    is_empty boolean not null default false,         -- only its rate keeps it; ready_at is infinity
    full_at  double precision not null default 0,    -- as in gates
    primary key (queue, lane)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
create index if not exists lanes_turns on lanes (queue, turn, since, lane) where ready_at is null;
create index if not exists lanes_parked on lanes (queue, ready_at) where ready_at is not null and not is_empty;
create index if not exists lanes_empty on lanes (full_at) where is_empty;

-- What may bring a lane to life: rows are only inserted, so no transaction waits for another one. lane: null for the gate. given:
-- messages that were released, whose part of the rate goes back.
create table if not exists arrivals (
    queue integer not null,
    lane  text collate "C",
    given integer not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index if not exists arrivals_by_lane on arrivals (queue, lane);

-- Changes of a bounded queue since its total was added up: an ack need not wait for the row of the queue.
create table if not exists changes (
    queue  integer not null,
    change bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index if not exists changes_by_queue on changes (queue);

-- Recently deleted queues: an open transaction may have published there, and commit later.
create table if not exists deleted (
    queue      integer primary key,
    deleted_at timestamptz not null
);

-- Ids of a queue with a dedup_window.
create table if not exists seen (
    queue integer not null,
    id    text not null,
    at    timestamptz not null,
    primary key (queue, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index if not exists seen_by_age on seen (queue, at);

-- Keys of which a queue has one message at a time; see uniques.sql. until: the end of the key's window, if it has one.
create table if not exists uniques (
    queue integer not null,
    key   text collate "C" not null,
    seq   bigint not null,                           -- the message that was stored last for the key; it may be gone
    id    text not null,                             -- its id, also when it is gone
    until timestamptz,
    primary key (queue, key)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

-- Keys of consumers whose work was done in a transaction that also settled its message; see claim in settling.sql.
create table if not exists inbox (
    consumer text collate "C" not null,
    key      text collate "C" not null,
    result   bytea,                                   -- null: none is remembered
    until    timestamptz not null,                    -- when it is forgotten
    primary key (consumer, key)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index if not exists inbox_until on inbox (until);

-- Open drivers. pid and started identify the listening connection, if there is one: it ends with its process.
create table if not exists holders (
    holder  bigint primary key,
    seen    timestamptz not null,
    pid     integer,
    started timestamptz,
    gone_at timestamptz  -- when its connection was seen to be gone; null: not since it connected last
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- The processes that wait at an empty queue: NOTIFY takes a lock on all commits of the cluster, so it is sent to them alone.
create unlogged table if not exists waiters (
    queue  integer not null,
    holder bigint not null,
    until  timestamptz not null,
    hears  boolean,                                  -- whether its process listens
    wakes_at timestamptz,                            -- when the process wakes by itself, for a message that is due then
    primary key (queue, holder)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
