-- Temporary queues: made for one process, and removed by the others when it gave no sign of them for long. What the
-- functions of before do is as it was, for processes of before.

alter table queues
    add column if not exists temporary boolean not null default false,
    add column if not exists used_at   timestamptz not null default clock_timestamp();   -- of temporary ones: declared, or received from
create index if not exists queues_temporary on queues (used_at) where temporary;

create or replace function declare_queue(
    queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision, new_temporary boolean
) returns text language plpgsql as $$
declare
    told text;
begin
    -- More than once only if somebody removes the queue just now.
    for turn in 1..10 loop
        begin
            told := declare_queue(queue_name, new_lease, new_max_length, new_by_key, new_dedup_window);
        exception when sqlstate 'TQ404' then
            told := null;
        end;
        exit when told is not null;
    end loop;
    update queues set temporary = new_temporary, used_at = clock_timestamp()
    where name = queue_name and (temporary or new_temporary);
    return told;
end $$;

-- A sign that whoever these queues were made for is there. Where it is a recent one, nothing is written.
create or replace function keep_queues(names text[], kept double precision) returns void language sql as $$
    update queues set used_at = clock_timestamp() where id = any (array(
        select q.id from queues q where q.name = any (names) and q.temporary
        and q.used_at < clock_timestamp() - kept * interval '1 second' / 10 order by q.id for update))
$$;

-- Temporary queues without a sign for so many seconds.
create or replace function unused_queues(kept double precision) returns setof text language sql stable as $$
    select q.name from queues q where q.temporary and q.used_at < clock_timestamp() - kept * interval '1 second'
    order by q.used_at limit 1000
$$;

-- Removes a queue that is still one of those; another process may be about to do the same, or to declare it.
create or replace function sweep_queue(queue_name text, kept double precision) returns boolean language plpgsql as $$
declare
    q queues;
begin
    select * into q from queues where name = queue_name;
    if not found
        or not pg_try_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0)) then
        return false;
    end if;
    perform 1 from queues o where o.id = q.id and o.temporary
        and o.used_at < clock_timestamp() - kept * interval '1 second' for update skip locked;
    if not found then
        return false;
    end if;
    perform delete_queue(queue_name);
    return true;
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('declare_queue', 'keep_queues', 'unused_queues', 'sweep_queue')
    loop
        execute format('alter function %s set search_path from current', name);
        execute format('alter function %s set plan_cache_mode = force_generic_plan', name);
        execute format('alter function %s set enable_seqscan = off', name);
        execute format('alter function %s set enable_bitmapscan = off', name);
        execute format('alter function %s set enable_hashjoin = off', name);
        execute format('alter function %s set enable_mergejoin = off', name);
        execute format('alter function %s set jit = off', name);
    end loop;
end $$;
