-- Queues, and what the other parts share. In plpgsql each verb is one round trip and one transaction, also through a pooler.
-- To call another function costs as much as a statement, so publish, receive and settle repeat what every call needs.

create or replace function queue_named(queue_name text) returns queues language plpgsql stable as $$
declare
    q queues;
begin
    select * into q from queues where name = queue_name;
    if not found then
        raise exception using errcode = 'TQ404', message = 'the queue is not there';
    end if;
    return q;
end $$;

-- The token of the deliveries of one receive; never 0, which a message has that was returned. Random and not counted: after a
-- restore or a promotion of a standby the numbers of messages come a second time, and a receipt from before must fit none of
-- them. A function of one expression, so the server puts it in the place of its call.
create or replace function new_token() returns integer language sql volatile as $$
    select coalesce(nullif((random() * 4294967294)::bigint - 2147483647, 0), 1)::integer
$$;

-- Lets one transaction at a time change a queue that keeps order per key.
create or replace function lock_queue(q queues) returns void language sql as $$
    select pg_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;

create or replace function recount(q_id integer) returns void language sql as $$
    with gone as (delete from changes where queue = q_id)
    update queues set total = (select count(*) from messages where queue = q_id), counted_at = clock_timestamp()
    where id = q_id
$$;

-- new_limit and new_lane_limit: rate, burst and concurrency. new_fair: null from a process that knows no limits, which keeps them.
-- Returns whether messages wait at places that the earlier options gave them: then change_step moves them, in steps beside
-- the verbs of others. Where nothing changes, no message is read.
create or replace function declare_queue(
    queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision, new_temporary boolean, new_synchronous_commit text,
    new_fair integer default null, new_limit double precision[] default null, new_lane_limit double precision[] default null
) returns boolean language plpgsql as $$
declare
    old queues;
    q queues;
    line_by_key boolean;
begin
    for turn in 1..10 loop  -- more than once only if another process removes the queue meanwhile
        begin
            insert into queues (name, lease, max_length, by_key, dedup_window)
                values (queue_name, new_lease, new_max_length, new_by_key, new_dedup_window) on conflict (name) do nothing;
            perform lock_queue(queue_named(queue_name));
            select * into old from queues where name = queue_name for update;
            exit when found;
        exception when sqlstate 'TQ404' then
            null;
        end;
    end loop;
    line_by_key := new_by_key and coalesce(new_fair, old.fair) = 0;  -- else its lanes keep the order
    update queues set lease = new_lease, max_length = new_max_length, by_key = line_by_key,
        dedup_window = new_dedup_window, synchronous_commit = new_synchronous_commit
        where id = old.id and (lease, max_length, by_key, dedup_window, synchronous_commit)
            is distinct from (new_lease, new_max_length, line_by_key, new_dedup_window, new_synchronous_commit);
    update queues set temporary = new_temporary, used_at = clock_timestamp()
        where id = old.id and (temporary or new_temporary);
    select * into q from queues where id = old.id;
    if new_max_length is not null and old.max_length is null then
        perform recount(q.id);
    end if;
    if old.by_key and not line_by_key and new_by_key then  -- its lanes keep the order, which no step may break
        update messages set state = 0 where queue = q.id and state = 3 and key is not null;
    end if;
    if new_fair is null then
        perform declare_limits(
            old, new_by_key, old.fair, array[old.rate, old.burst, old.concurrency],
            array[old.lane_rate, old.lane_burst, old.lane_concurrency]);
    else
        perform declare_limits(old, new_by_key, new_fair, new_limit, new_lane_limit);
    end if;
    select * into q from queues where id = old.id;
    if q.by_key is distinct from old.by_key or q.by_lane is distinct from old.by_lane then
        q.changing := true;
        update queues set changing = true where id = q.id;
    end if;
    return q.changing;
end $$;
