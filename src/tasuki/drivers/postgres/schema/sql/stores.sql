-- Stores (docs/adr/0025): a function a verb, one round trip and one transaction. Times are Unix seconds of the server's clock;
-- keys are compared byte by byte, which for UTF-8 is code point order.

-- A put gives the row a new version: the time in microseconds, or more. So it fits no row of another history of the server, which
-- begins with a restore of an earlier state or with the promotion of a standby. A version is never used again.
create table if not exists store_entries (
    store   text collate "C" not null,
    key     text collate "C" not null,
    value   bytea not null,
    version bigint not null,
    expires double precision,                         -- null: never
    primary key (store, key)
) with (fillfactor = 70, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
alter table store_entries alter column value set storage external;
create index if not exists store_entries_expires on store_entries (expires) where expires is not null;

-- The keys that were written or deleted within the last two minutes, for watches. Not by version: a row that was numbered first
-- may be committed last, and a watch that knows a higher version would never see it. A snapshot says which transactions a
-- watch has seen.
create table if not exists store_changes (
    xid     bigint not null default txid_current(),
    store   text collate "C" not null,
    key     text collate "C" not null,
    version bigint not null,                          -- the new one; of a deleted key the last one
    at      double precision not null
) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
create index if not exists store_changes_xid on store_changes (xid);

-- No index beside the keys of the next two: so an update stays in its page.
create table if not exists store_buckets (
    store   text collate "C" not null,
    key     text collate "C" not null,
    level   double precision not null,                -- tokens at the time at
    at      double precision not null,
    rate    double precision not null,                -- tokens a second, and the most that it holds, since then
    burst   bigint not null,
    top     bigint not null,                          -- the largest burst so far
    primary key (store, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create table if not exists store_places (
    store  text collate "C" not null,
    key    text collate "C" not null,
    holder text collate "C" not null,
    until  double precision not null,
    primary key (store, key, holder)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- Which keys processes watch, from low on and before high: a change of one of them notifies the process, and no other change does,
-- for NOTIFY takes a lock on all commits of the cluster.
create unlogged table if not exists store_watchers (
    store  text collate "C" not null,
    holder bigint not null,
    low    text collate "C" not null,
    high   text collate "C" not null,
    until  double precision not null,
    primary key (store, holder, low)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- One row: when a process swept last.
create table if not exists store_sweeps (
    id integer primary key,
    at double precision not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
insert into store_sweeps (id, at) values (1, 0) on conflict (id) do nothing;

-- Lets one transaction at a time change a key: it reads, decides and writes in several statements.
create or replace function lock_key(in_store text, in_key text) returns double precision language plpgsql as $$
begin
    perform pg_advisory_xact_lock(
        hashtextextended(concat_ws(chr(1), 'tasuki store', current_schema(), in_store, in_key), 0));
    return extract(epoch from clock_timestamp());
end $$;

create or replace function note_change(in_store text, in_key text, in_version bigint, at double precision) returns void
language plpgsql as $$
begin
    insert into store_changes (store, key, version, at) values (in_store, in_key, in_version, at);
    perform pg_notify('tasuki:' || to_hex(w.holder) || ':store', in_store) from store_watchers w
    where w.store = in_store and w.low <= in_key and w.high > in_key and w.until > at;
end $$;

create or replace function store_get(in_store text, in_key text) returns table (value bytea, version bigint)
language plpgsql as $$
begin
    return query select e.value, e.version from store_entries e where e.store = in_store and e.key = in_key
        and (e.expires is null or e.expires > extract(epoch from clock_timestamp()));
end $$;

-- Returns the new version. Not above zero: the key has this version with a minus before it, and not the expected one.
create or replace function store_put(
    in_store text, in_key text, new_value bytea, ttl double precision, expected bigint
) returns bigint language plpgsql as $$
declare
    at double precision := lock_key(in_store, in_key);
    is_version bigint;
begin
    if expected is not null then
        select e.version into is_version from store_entries e
            where e.store = in_store and e.key = in_key and (e.expires is null or e.expires > at);
        if coalesce(is_version, 0) <> expected then
            return -coalesce(is_version, 0);
        end if;
    end if;
    -- Above the last one too, for the clock may fall.
    is_version := greatest((at * 1000000)::bigint, 1 + (select c.version from store_changes c order by c.xid desc limit 1));
    insert into store_entries as e (store, key, value, version, expires)
        values (in_store, in_key, new_value, is_version, at + ttl)
    on conflict (store, key) do update set value = excluded.value,
        version = greatest(excluded.version, e.version + 1), expires = excluded.expires
    returning e.version into is_version;
    perform note_change(in_store, in_key, is_version, at);
    return is_version;
end $$;

-- Writes several keys; the last value of a key that is there twice. Returns how many. In the order of the keys, so that two
-- transactions never wait for each other.
create or replace function store_put_all(in_store text, keys text[], new_values bytea[], ttl double precision)
returns bigint language plpgsql as $$
declare
    one record;
    written bigint := 0;
begin
    for one in select distinct on (k collate "C") k as key, v as value from unnest(keys, new_values) with ordinality as u (k, v, n)
        order by k collate "C", n desc
    loop
        perform store_put(in_store, one.key, one.value, ttl, null);
        written := written + 1;
    end loop;
    return written;
end $$;

-- Returns 1: deleted, 0: it was not there. Below zero: one less than minus the version that the key has, and not the
-- expected one.
create or replace function store_delete(in_store text, in_key text, expected bigint) returns bigint language plpgsql as $$
declare
    at double precision := lock_key(in_store, in_key);
    is_version bigint;
begin
    select e.version into is_version from store_entries e
        where e.store = in_store and e.key = in_key and (e.expires is null or e.expires > at);
    if coalesce(is_version, 0) <> expected then
        return -1 - coalesce(is_version, 0);
    end if;
    if is_version is null then
        return 0;
    end if;
    delete from store_entries e where e.store = in_store and e.key = in_key;
    perform note_change(in_store, in_key, is_version, at);
    return 1;
end $$;

-- Entries from low on, before high. Where their values are larger than most_bytes, a row without a key says that there are more.
create or replace function store_list(in_store text, low text, high text, most integer, most_bytes bigint)
returns table (key text, value bytea, version bigint) language plpgsql as $$
declare
    at double precision := extract(epoch from clock_timestamp());
    count integer := 0;
begin
    for key, value, version in select e.key, e.value, e.version from store_entries e
        where e.store = in_store and e.key >= low and e.key < high and (e.expires is null or e.expires > at)
        order by e.key limit most
    loop
        most_bytes := most_bytes - octet_length(value);
        count := count + 1;
        if count > 1 and most_bytes < 0 then
            key := null;
            value := null;
            return next;
            return;
        end if;
        return next;
    end loop;
end $$;

-- What has changed in some ranges of keys since an earlier call. One row has a head: what the next call has to give for since, and
-- whether the others are all entries instead: at first, after a restart of the server or the loss of a table, and where changes
-- may be forgotten.
-- A null for the value: the key is gone. expires: when an entry goes by itself; nothing is noted then.
create or replace function store_watch(in_store text, low text[], high text[], since text)
returns table (head text, is_all boolean, key text, value bytea, version bigint, expires double precision) language plpgsql as $$
declare
    at double precision := extract(epoch from clock_timestamp());
    before double precision := split_part(since, ' ', 1);
    server text := concat_ws('/', extract(epoch from pg_postmaster_start_time()), to_regclass('store_changes')::oid);
    seen txid_snapshot := nullif(split_part(since, ' ', 3), '');
begin
    -- In each case one statement, so that the rows and the snapshot are of one moment.
    if since is null or split_part(since, ' ', 2) <> server or at - before not between 0 and 90 then
        return query
            select concat_ws(' ', at, server, txid_current_snapshot()), true, null::text, null::bytea, null::bigint,
                null::double precision
            union all
            select null, null, e.key, e.value, e.version, e.expires from unnest(low, high) as r (low, high) cross join lateral (
                select o.key, o.value, o.version, o.expires from store_entries o
                where o.store = in_store and o.key >= r.low and o.key < r.high and (o.expires is null or o.expires > at)
                offset 0
            ) e;
    else
        return query
            select concat_ws(' ', at, server, txid_current_snapshot()), false, null::text, null::bytea, null::bigint,
                null::double precision
            union all
            select null, null, c.key, e.value, coalesce(e.version, c.version), e.expires from (
                select d.key, max(d.version) as version from (
                    -- Not all since the oldest transaction that was open then: it may stay open for any time.
                    select o.key, o.version, o.store from store_changes o where o.xid >= txid_snapshot_xmax(seen)
                    union all
                    select o.key, o.version, o.store from txid_snapshot_xip(seen) as x (id) cross join lateral (
                        select n.key, n.version, n.store from store_changes n where n.xid = x.id offset 0) o
                ) d
                where d.store = in_store
                    and exists (select from unnest(low, high) as r (low, high) where d.key >= r.low and d.key < r.high)
                group by d.key
            ) c left join store_entries e
                on e.store = in_store and e.key = c.key and (e.expires is null or e.expires > at)
            union all
            select null, null, e.key, null, e.version, null from store_entries e
            where e.expires > before and e.expires <= at and e.store = in_store
                and exists (select from unnest(low, high) as r (low, high) where e.key >= r.low and e.key < r.high);
    end if;
end $$;

-- As store_watch, for a process that the server can notify: it is, of each change of these keys, for the next seconds.
create or replace function store_follow(in_store text, low text[], high text[], since text, who bigint, seconds double precision)
returns table (head text, is_all boolean, key text, value bytea, version bigint, expires double precision) language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into store_watchers (store, holder, low, high, until)
        select in_store, who, r.low, r.high, extract(epoch from clock_timestamp()) + seconds
        from unnest(store_follow.low, store_follow.high) as r (low, high) order by r.low
    on conflict (store, holder, low) do update set high = excluded.high, until = excluded.until;
    return query select * from store_watch(in_store, store_follow.low, store_follow.high, since);
end $$;

-- Takes tokens of a bucket, and puts others back. The rule is the one of toolkit/limits.py.
create or replace function store_take(
    in_store text, in_key text, taken bigint, given bigint, new_rate double precision, new_burst bigint,
    out granted bigint, out wait double precision
) language plpgsql as $$
declare
    now_at double precision := lock_key(in_store, in_key);
    tokens double precision := new_burst;
    b record;
begin
    select o.level, o.at, o.rate, o.burst into b from store_buckets o where o.store = in_store and o.key = in_key;
    if found then
        tokens := least(b.level + greatest(now_at - b.at, 0) * b.rate, b.burst, new_burst);
        now_at := greatest(now_at, b.at);
    end if;
    granted := least(greatest(taken, 0), floor(tokens + 1e-9));
    wait := case when granted > 0 or taken <= 0 then 0 else greatest(1 - tokens, 0) / new_rate end;
    tokens := least(greatest(tokens - granted, 0) + greatest(given, 0), new_burst);
    insert into store_buckets as o (store, key, level, at, rate, burst, top)
        values (in_store, in_key, tokens, now_at, new_rate, new_burst, new_burst)
    on conflict (store, key) do update set level = excluded.level, at = excluded.at, rate = excluded.rate,
        burst = excluded.burst, top = greatest(o.top, excluded.top);
end $$;

-- Returns when the lease ends; null: all places are taken.
create or replace function store_hold(in_store text, in_key text, in_holder text, places bigint, lease double precision)
returns double precision language plpgsql as $$
declare
    at double precision := lock_key(in_store, in_key);
begin
    update store_places p set until = at + lease
        where p.store = in_store and p.key = in_key and p.holder = in_holder and p.until > at;
    if found then
        return at + lease;
    end if;
    delete from store_places p where p.store = in_store and p.key = in_key and p.until <= at;
    if (select count(*) from store_places p where p.store = in_store and p.key = in_key) >= places then
        return null;
    end if;
    insert into store_places (store, key, holder, until) values (in_store, in_key, in_holder, at + lease);
    return at + lease;
end $$;

create or replace function store_release(in_store text, in_key text, in_holder text) returns void language plpgsql as $$
begin
    perform lock_key(in_store, in_key);
    delete from store_places p where p.store = in_store and p.key = in_key and p.holder = in_holder;
end $$;

-- Removes at most this many rows of each table that are of no use any more; entries and changes two minutes later, by when each watch
-- has seen them. Only one process of all does so, once in ten seconds. Returns whether there may be more.
create or replace function store_sweep(most integer) returns boolean language plpgsql as $$
declare
    now_at double precision := extract(epoch from clock_timestamp());
    gone integer[] := '{}';
    count integer;
begin
    perform set_config('synchronous_commit', 'off', true);  -- a lost sweep is made again
    perform from store_sweeps s where s.id = 1 and s.at not between now_at - 10 and now_at for update skip locked;
    if not found then
        return false;
    end if;
    delete from store_entries e where e.ctid = any (array(
        select o.ctid from store_entries o where o.expires < now_at - 120 order by o.expires limit most for update skip locked));
    get diagnostics count = row_count;
    gone := gone || count;
    delete from store_changes c where c.ctid = any (array(
        select o.ctid from (select d.ctid, d.at from store_changes d order by d.xid limit most) o where o.at < now_at - 120));
    get diagnostics count = row_count;
    gone := gone || count;
    delete from store_buckets b where b.ctid = any (array(
        select o.ctid from store_buckets o
        where o.level + (now_at - o.at) * o.rate >= o.top limit most for update skip locked));
    get diagnostics count = row_count;
    gone := gone || count;
    delete from store_places p where p.ctid = any (array(
        select o.ctid from store_places o where o.until <= now_at limit most for update skip locked));
    get diagnostics count = row_count;
    gone := gone || count;
    delete from store_watchers w where w.ctid = any (array(
        select o.ctid from store_watchers o where o.until <= now_at limit most for update skip locked));
    update store_sweeps s set at = case when most = any (gone) then 0 else now_at end where s.id = 1;
    return most = any (gone);
end $$;
