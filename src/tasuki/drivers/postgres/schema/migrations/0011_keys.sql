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
