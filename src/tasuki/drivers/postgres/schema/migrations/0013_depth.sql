-- Counts are for people (see 0015_costs.sql). Programs ask whether there is a message.

-- Whether queues have messages that are ready, and such that are held or delayed: the first of each index says it. Nulls
-- for a queue that is not there.
create or replace function occupancies(names text[]) returns table (name text, ready boolean, hidden boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    at timestamptz := clock_timestamp();
begin
    return query
    with asked as materialized (
        select n.name, (select q.id from queues q where q.name = n.name) as queue from unnest(names) as n (name)
    )
    select a.name,
        case when a.queue is not null then
            (
                select m.seq from messages m where m.queue = a.queue and m.state = 0
                order by m.rank, m.seq limit 1) is not null
            or coalesce((
                select m.due from messages m where m.queue = a.queue and m.due is not null
                order by m.due limit 1) <= at, false)
            or (
                select m.seq from messages m where m.queue = a.queue and m.key is not null and m.state = 3
                order by m.key, m.seq limit 1) is not null
        end,
        case when a.queue is not null then coalesce((
            select m.due from messages m where m.queue = a.queue and m.due is not null
            order by m.due desc limit 1) > at, false)
        end
    from asked a;
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname = 'occupancies'
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
