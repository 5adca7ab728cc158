-- All migrations can run again: they make what is missing of a schema, and keep what is there.

-- One row a message, from publish to ack. What is claimed is updated once and deleted once, in batches.

create table if not exists queues (
    id           integer generated always as identity primary key,
    name         text not null unique,
    lease        double precision not null,          -- seconds
    max_length   bigint,
    by_key       boolean not null,
    dedup_window double precision,                   -- seconds
    channel      text not null default '',           -- of NOTIFY
    total        bigint not null default 0,          -- messages, where max_length is set; see changes
    counted_at   timestamptz not null default '-infinity'
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);

-- state: 0 ready, 1 delayed, 2 held, 3 behind another message of its key. due is set in states 1 and 2 alone.
create table if not exists messages (
    seq          bigint generated always as identity primary key,   -- the place in line
    queue        integer not null,
    state        smallint not null,
    rank         smallint not null,                  -- 9 - priority: lower is first
    attempts     integer not null default 0,         -- deliveries that counted
    token        integer not null default 0,         -- deliveries; with seq it is the receipt
    due          timestamptz,                        -- when a delay or a lease ends
    published_at timestamptz not null,
    key          text,
    id           text not null,
    headers      bytea,                              -- JSON; null: none
    body         bytea not null
) with (fillfactor = 90, vacuum_truncate = off,
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000,
        toast.autovacuum_vacuum_cost_delay = 0);
alter table messages alter column body set storage external;   -- compressing what lives for a moment is work for nothing

create index if not exists messages_ready on messages (queue, rank, seq) where state = 0;
create index if not exists messages_due on messages (queue, due, seq) where due is not null;
create index if not exists messages_by_key on messages (queue, key, seq) where key is not null;
create index if not exists messages_held_keys on messages (queue, key) where state = 2 and key is not null;

-- What left a bounded queue since its total was added up: acks need not wait for the row of the queue.
create table if not exists changes (
    queue  integer not null,
    change bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index if not exists changes_by_queue on changes (queue);

-- Queues that were deleted a while ago: a transaction of before may have published there since, and be committed later.
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

-- Open drivers. pid and started tell the connection that listens, if it has one: it ends with its process.
create table if not exists holders (
    holder  bigint primary key,
    seen    timestamptz not null,
    pid     integer,
    started timestamptz
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- How many consumers receive from a queue: for people who look.
create table if not exists consumers (
    queue  integer not null,
    holder bigint not null references holders on delete cascade,
    count  integer not null,
    primary key (queue, holder)
);

-- Who waits on an empty queue: only then is a NOTIFY worth the lock that it takes on all commits of the cluster.
create unlogged table if not exists waiters (
    queue  integer not null,
    holder bigint not null,
    until  timestamptz not null,
    primary key (queue, holder)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
