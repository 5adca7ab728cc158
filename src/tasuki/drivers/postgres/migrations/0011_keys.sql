-- Order per key without a lock on the queue. All messages of a key but its first ones stand in state 3, and each message in
-- state 3 has an earlier one of its key in another state. Three rules keep that, and one held message a key:
--  1. A take moves a message behind an earlier one only while it keeps that one from being removed (for key share).
--  2. A removal locks the message first (for update), and brings the next one of its key forward in a later statement,
--     which sees what was moved behind until then.
--  3. A take tries to lock the key of what it is about to hand out, and then looks once more: another take may hold a
--     message of the key that was published later, where this one was committed late.

-- In the order in which the verbs lock them, so that a migration never meets a running verb in a deadlock.
lock table queues in access exclusive mode;
lock table messages in access exclusive mode;

-- A statement about a key asks for the first row between this key and this key, in an order that one of these indexes
-- alone has, and the functions do without sorting: so the plan does not depend on statistics. With = in place of >= and
-- <= the planner would order by seq alone, and might read all messages to the first one that fits.
create index if not exists messages_keys on messages (queue, key, seq) where key is not null and state <> 3;
create index if not exists messages_behind on messages (queue, key, seq) where key is not null and state = 3;
create index if not exists messages_held on messages (key, queue) where key is not null and state = 2;
drop index if exists messages_by_key;
drop index if exists messages_held_keys;

-- Keeps the ordering of a queue as it is until the end of the transaction: declare_queue changes it under lock_queue.
create or replace function keep_ordering(q queues) returns void language sql as $$
    select pg_advisory_xact_lock_shared(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;

-- Of each key the first one alone, and nothing while another is held. What stands behind an earlier one of its key
-- leaves the line of the ready ones (state 3) until that one is gone, so that it is looked at once. At most 100: each
-- takes a place in the server's table of locks.
create or replace function take_by_key(q queues, most integer, most_bytes bigint, until timestamptz)
returns setof delivery language plpgsql as $$
declare
    looked integer;
    moved integer;
    fit bigint[];
    fit_keys text[];
    taken integer;
    look integer := greatest(4 * most, 20);  -- others may be taking the first ones just now
    space text := 'tasuki ' || current_schema() || ' ' || q.id || ' ';
begin
    for turn in 1..20 loop
        with line as materialized (
            select m.seq, m.rank, m.key from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit look
        ), judged as materialized (
            select l.*,
                case when l.key is not null then (
                    select e.seq from messages e
                    where e.queue = q.id and e.key >= l.key and e.key <= l.key
                    and e.key is not null and e.state <> 3
                    order by e.key, e.seq limit 1) end as front,
                case when l.key is not null then (
                    select h.seq from messages h
                    where h.key >= l.key and h.key <= l.key and h.queue >= q.id and h.queue <= q.id
                    and h.key is not null and h.state = 2 order by h.key, h.queue limit 1) end as held
            from line l
        ), demoted as (
            update messages m set state = 3 where m.seq = any (array(
                select b.seq from judged j cross join lateral (
                    select m.seq from messages m where m.seq = j.seq and m.state = 0
                    offset 0 for no key update skip locked
                ) b cross join lateral (
                    select 1 from messages e where e.seq = j.front and e.seq < b.seq offset 0 for key share skip locked
                ) a where j.front < j.seq))
            returning 1
        ), free as (
            select f.*, j.rank from (
                select * from judged j where j.key is null or (j.front = j.seq and j.held is null) order by j.rank, j.seq
            ) j cross join lateral (
                select m.seq, m.key, octet_length(m.body) as size from messages m where m.seq = j.seq and m.state = 0
                offset 0 for no key update skip locked
            ) f limit least(most, 100)
        ), fit as (
            select f.seq, f.key, sum(f.size) over (order by f.rank, f.seq) - f.size as before from free f
        )
        select (select count(*) from line), (select count(*) from demoted), array_agg(f.seq), array_agg(f.key)
        into looked, moved, fit, fit_keys from fit f where f.before < most_bytes;
        select array_agg(f.seq), array_agg(f.key) into fit, fit_keys from unnest(fit, fit_keys) as f (seq, key)
        where f.key is null or pg_try_advisory_xact_lock(hashtextextended(space || f.key, 1));
        return query
        with claims as (
            update messages m set state = 2, token = m.token + 1, counted = false, due = until
            where m.seq = any (array(
                select f.seq from unnest(fit, fit_keys) as f (seq, key)
                where f.key is null or (
                    f.seq = (
                        select e.seq from messages e
                        where e.queue = q.id and e.key >= f.key and e.key <= f.key
                        and e.key is not null and e.state <> 3
                        order by e.key, e.seq limit 1)
                    and (
                        select h.seq from messages h
                        where h.key >= f.key and h.key <= f.key and h.queue >= q.id and h.queue <= q.id
                        and h.key is not null and h.state = 2 order by h.key, h.queue limit 1) is null)))
            returning m.*
        )
        select c.seq, c.token, c.attempts + 1, c.id, c.headers, c.body, c.suspect,
            null::double precision, null::boolean
        from claims c order by c.rank, c.seq;
        get diagnostics taken = row_count;
        exit when taken > 0 or looked < look or (moved = 0 and look >= 2000);
        look := greatest(look, least(look * 4, 2000));
    end loop;
end $$;

-- The first that stands behind comes forward, for each of these keys. Returns of how many of them a message can be taken:
-- one that was committed late was never moved behind, and only its key was in use.
create or replace function bring_forward(q queues, keys text[]) returns integer language plpgsql as $$
begin
    update messages m set state = 0 where m.state = 3 and m.seq = any (array(
        select (
            select b.seq from messages b
            where b.queue = q.id and b.key >= k.key and b.key <= k.key
            and b.key is not null and b.state = 3 order by b.key, b.seq limit 1)
        from (select distinct unnest(keys) as key) k));
    return (
        select count(*) from (select distinct unnest(keys) as key) k where 0 = (
            select f.state from messages f
            where f.queue = q.id and f.key >= k.key and f.key <= k.key
            and f.key is not null and f.state <> 3 order by f.key, f.seq limit 1));
end $$;

-- Brings forward what lost the message that it stands behind by other means than these functions.
create or replace function straighten(q queues) returns void language plpgsql as $$
declare
    behind record;
    last_key text := '';
    last_seq bigint := -1;
begin
    loop
        select b.key, b.seq into behind from messages b
        where b.queue = q.id and b.key >= last_key and b.key is not null and b.state = 3
        and (b.key, b.seq) > (last_key, last_seq) order by b.key, b.seq limit 1;
        exit when not found;
        update messages m set state = 0 where m.seq = behind.seq and behind.seq < coalesce((
            select e.seq from messages e
            where e.queue = q.id and e.key >= behind.key and e.key <= behind.key
            and e.key is not null and e.state <> 3 order by e.key, e.seq limit 1), 9223372036854775807);
        last_key := behind.key;
        last_seq := 9223372036854775807;  -- one a key
    end loop;
end $$;

create or replace function declare_queue(
    queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision
) returns text language plpgsql as $$
declare
    old queues;
    q queues;
begin
    insert into queues (name, lease, max_length, by_key, dedup_window)
        values (queue_name, new_lease, new_max_length, new_by_key, new_dedup_window) on conflict (name) do nothing;
    perform lock_queue(queue_named(queue_name));
    select * into old from queues where name = queue_name for update;
    update queues set lease = new_lease, max_length = new_max_length, by_key = new_by_key,
        dedup_window = new_dedup_window, channel = 'tasuki.' || current_schema() || '.' || old.id
        where id = old.id
        and (channel = '' or (lease, max_length, by_key, dedup_window)
            is distinct from (new_lease, new_max_length, new_by_key, new_dedup_window));
    select * into q from queues where id = old.id;
    if new_max_length is not null and old.max_length is null then
        perform recount(q.id);
    end if;
    if old.by_key and not new_by_key then
        update messages set state = 0 where queue = q.id and state = 3 and key is not null;
    elsif new_by_key then
        perform straighten(q);
    end if;
    return q.channel;
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('purge', 'declare_queue')
    loop
        execute format('alter function %s set search_path from current', name);
        execute format('alter function %s set plan_cache_mode = force_generic_plan', name);
        execute format('alter function %s set enable_seqscan = off', name);
        execute format('alter function %s set enable_bitmapscan = off', name);
        execute format('alter function %s set enable_hashjoin = off', name);
        execute format('alter function %s set enable_mergejoin = off', name);
        execute format('alter function %s set enable_sort = off', name);
        execute format('alter function %s set jit = off', name);
    end loop;
end $$;
