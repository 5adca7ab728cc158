-- What a publish to a queue waits for, where the queue says so.
alter table queues add column if not exists synchronous_commit text;   -- as the setting; null: as the session has it

create or replace function declare_queue(
    queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision, new_temporary boolean, new_synchronous_commit text
) returns text language plpgsql as $$
declare
    told text := declare_queue(queue_name, new_lease, new_max_length, new_by_key, new_dedup_window, new_temporary);
begin
    update queues q set synchronous_commit = new_synchronous_commit
    where q.name = queue_name and q.synchronous_commit is distinct from new_synchronous_commit;
    return told;
end $$;

-- Arrays of one length; those of ranks, keys, delays and always may be null. within: in a transaction of the caller's.
create or replace function publish(
    queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[],
    delays double precision[], always boolean[], within boolean
) returns integer language plpgsql as $$
#variable_conflict use_column
declare
    q queues;
    at timestamptz := clock_timestamp();
    kept integer := cardinality(ids);
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.max_length is null and q.dedup_window is null then
        insert into messages (queue, state, rank, due, published_at, key, id, headers, body)
        select q.id, case when m.delay > 0 then 1 else 0 end, coalesce(m.rank, 9),
            case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body
        from unnest(ids, bodies, headers, ranks, keys, delays) as m (id, body, headers, rank, key, delay);
    else
        kept := publish_checked(q, ids, bodies, headers, ranks, keys, delays, always, within, at);
    end if;
    if within then
        perform wake_later(q, kept);
        return kept;  -- what its commit waits for is the caller's choice
    end if;
    if q.synchronous_commit is not null then
        perform set_config('synchronous_commit', q.synchronous_commit, true);
    end if;
    if exists (select 1 from waiters where queue = q.id and until > at) then
        perform wake(q, count(*) filter (where not coalesce(m.delay > 0, false)),
            at + min(m.delay) filter (where m.delay > 0) * interval '1 second')
        from unnest(ids, delays) as m (id, delay);
    end if;
    return kept;
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('publish', 'declare_queue')
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
