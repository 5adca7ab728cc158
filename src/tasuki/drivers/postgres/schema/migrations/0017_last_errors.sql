-- The last error of a message, and when a nack gave it: for people who look.
alter table messages add column if not exists error bytea;   -- UTF-8: an error may contain NUL, which text cannot
alter table messages add column if not exists failed_at timestamptz;

-- As settle; errors: of the nacks that tell one. Those rows are locked by then.
create or replace function settle_with_errors(
    queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], errors bytea[]
) returns integer[] language plpgsql as $$
declare
    stale integer[] := settle(queue_name, seqs, tokens, acts, delays);
    item record;
begin
    for item in select * from unnest(seqs, errors) with ordinality as e (seq, error, place)
        where e.error is not null and e.place <> all (stale) loop
        update messages m set error = item.error, failed_at = clock_timestamp() where m.seq = item.seq;
    end loop;
    return stale;
end $$;

-- Waiting messages: those that are ready, those behind their key, delayed ones; each with its last error.
create or replace function show_messages(queue_name text, most integer, after integer)
returns table (id text, headers bytea, body bytea, error bytea, failed_at double precision) language plpgsql as $$
#variable_conflict use_column
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
begin
    perform surface(q.id, at, 10000);
    return query
    with line as materialized (
        (select 0 as part, m.rank, m.due, ''::text as key, m.seq from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit after + most)
        union all
        (select 1, 0::smallint, m.due, m.key, m.seq from messages m
            where m.queue = q.id and m.state = 3 and m.key is not null order by m.key, m.seq limit after + most)
        union all
        (select 2, 0::smallint, m.due, '', m.seq from messages m
            where m.queue = q.id and m.state = 1 and m.due is not null order by m.due, m.seq limit after + most)
    ), shown as materialized (
        select * from line l order by l.part, l.rank, l.due, l.key, l.seq offset after limit most
    )
    select f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
    from shown s cross join lateral (
        select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
    ) f order by s.part, s.rank, s.due, s.key, s.seq;
end $$;

-- For processes of an older version.
create or replace function peek(queue_name text, most integer, after integer)
returns table (id text, headers bytea, body bytea) language sql as $$
    select s.id, s.headers, s.body from show_messages(queue_name, most, after) s
$$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('settle_with_errors', 'show_messages', 'peek')
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
