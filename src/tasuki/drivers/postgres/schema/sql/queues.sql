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

-- The lane of a message under these options; '' where the queue has none.
create or replace function lane_of(q queues, key text, lane text) returns text language sql immutable as $$
    select coalesce(case when q.by_lane then key when q.fair > 0 then lane end, '')
$$;

-- The queue as a declaration with these options makes it. new_limit and new_lane_limit: rate, burst and concurrency.
create or replace function declared(
    q queues, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision, new_temporary boolean, new_synchronous_commit text,
    new_fair integer, new_limit double precision[], new_lane_limit double precision[]
) returns queues language plpgsql stable as $$
declare
    had_lanes constant boolean := q.fair > 0;
begin
    q.lease := new_lease;
    q.max_length := new_max_length;
    q.dedup_window := new_dedup_window;
    q.temporary := new_temporary;
    q.synchronous_commit := new_synchronous_commit;
    q.fair := new_fair;
    q.rate := new_limit[1];
    q.burst := coalesce(new_limit[2], 1);
    q.concurrency := new_limit[3];
    q.lane_rate := new_lane_limit[1];
    q.lane_burst := coalesce(new_lane_limit[2], 1);
    q.lane_concurrency := new_lane_limit[3];
    q.by_key := new_by_key and q.fair = 0;  -- else its lanes keep the order
    q.by_lane := new_by_key and q.fair > 0;
    q.limited := q.rate is not null or q.concurrency is not null or q.fair > 0 or had_lanes
        or (q.limited and exists (select 1 from messages m where m.queue = q.id and m.state = 4));
    return q;
end $$;

-- Returns whether messages wait at places that the earlier options gave them: then change_step moves them, in steps beside
-- the verbs of others. Where nothing changes, no message is read and nothing is locked.
create or replace function declare_queue(
    queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision, new_temporary boolean, new_synchronous_commit text,
    new_fair integer, new_limit double precision[], new_lane_limit double precision[]
) returns boolean language plpgsql as $$
declare
    old queues;
    q queues;
begin
    for turn in 1..10 loop  -- more than twice only if another process removes the queue meanwhile
        select * into old from queues where name = queue_name;
        if found then
            q := declared(old, new_lease, new_max_length, new_by_key, new_dedup_window, new_temporary,
                new_synchronous_commit, new_fair, new_limit, new_lane_limit);
            if q is not distinct from old then
                if q.temporary then
                    update queues set used_at = clock_timestamp() where id = q.id;
                    continue when not found;  -- it was swept just now
                end if;
                return q.change_at is not null;
            end if;
            perform lock_queue(old);
            select * into old from queues where id = old.id for update;
            exit when found;
        end if;
        insert into queues (name, lease, max_length, by_key, by_lane, fair, dedup_window) values (
            queue_name, new_lease, new_max_length, new_by_key and new_fair = 0,
            new_by_key and new_fair > 0, new_fair, new_dedup_window) on conflict (name) do nothing;
    end loop;
    q := declared(old, new_lease, new_max_length, new_by_key, new_dedup_window, new_temporary,
        new_synchronous_commit, new_fair, new_limit, new_lane_limit);
    if (q.by_key, q.by_lane, q.fair > 0) is distinct from (old.by_key, old.by_lane, old.fair > 0) then
        q.change_at := '{lanes,"",-1,0}';
    end if;
    update queues set lease = q.lease, max_length = q.max_length, by_key = q.by_key, dedup_window = q.dedup_window,
        temporary = q.temporary, used_at = clock_timestamp(), synchronous_commit = q.synchronous_commit,
        fair = q.fair, by_lane = q.by_lane, rate = q.rate, burst = q.burst, concurrency = q.concurrency,
        lane_rate = q.lane_rate, lane_burst = q.lane_burst, lane_concurrency = q.lane_concurrency, limited = q.limited,
        change_at = q.change_at
        where id = q.id;
    if q.max_length is not null and old.max_length is null then
        perform recount(q.id);
    end if;
    perform apply_limits(old, q);
    return q.change_at is not null;
end $$;
