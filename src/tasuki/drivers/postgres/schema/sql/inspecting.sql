-- Counts the messages of a queue, up to most of each kind; where there are more, all are estimated from some hundred blocks
-- of the table, picked at random. For people; programs call occupancies.
create or replace function count_messages(
    queue_name text, out ready bigint, out in_flight bigint, out delayed bigint,
    out oldest_age double precision, out is_estimate boolean
) language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    most bigint := 10000;
    dues bigint;
    lines bigint;
    behind bigint := 0;
    in_lanes bigint := 0;
    first_in_lanes timestamptz;
    blocks bigint;
    share double precision;
    oldest timestamptz;
    last_rank smallint := -1;
    first_at timestamptz;
begin
    select count(*) filter (where m.due <= at), count(*) filter (where m.due > at and m.state = 2),
        count(*) filter (where m.due > at and m.state = 1), count(*), min(m.published_at) filter (where m.due <= at)
    into ready, in_flight, delayed, dues, oldest from (
        select m.due, m.state, m.published_at from messages m where m.queue = q.id and m.due is not null
        order by m.due limit most) m;
    select count(*) into lines from (
        select 1 from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit most) m;
    if q.by_key then
        select count(*) into behind from (
            select 1 from messages m where m.queue = q.id and m.key is not null and m.state = 3
            order by m.key, m.seq limit most) m;
    end if;
    if q.limited then
        select count(*), min(m.published_at) into in_lanes, first_in_lanes from (
            select m.published_at from messages m where m.queue = q.id and m.state = 4
            order by m.lane, m.rank, m.seq limit most) m;
        oldest := least(oldest, first_in_lanes);
    end if;
    ready := ready + lines + behind + in_lanes;
    is_estimate := greatest(dues, lines, behind, in_lanes) >= most;
    if is_estimate then
        blocks := greatest(pg_relation_size('messages') / current_setting('block_size')::bigint, 1);
        share := least(400.0 / blocks, 1);
        select greatest(ready, count(*) filter (where m.state in (0, 3, 4) or m.due <= at) / share),
            greatest(in_flight, count(*) filter (where m.state = 2 and m.due > at) / share),
            greatest(delayed, count(*) filter (where m.state = 1 and m.due > at) / share)
        into ready, in_flight, delayed from messages m tablesample system (100 * share) where m.queue = q.id;
    end if;
    -- One seek a priority: the first of each is its oldest.
    loop
        select m.rank, m.published_at into last_rank, first_at from messages m
        where m.queue = q.id and m.state = 0 and m.rank > last_rank order by m.rank, m.seq limit 1;
        exit when not found;
        oldest := least(oldest, first_at);
    end loop;
    oldest_age := case when oldest is not null then greatest(extract(epoch from at - oldest), 0) end;
end $$;

-- Whether queues have ready messages, and held or delayed ones, by the first row of each index. Nulls for a missing queue.
create or replace function occupancies(names text[]) returns table (name text, ready boolean, hidden boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    at timestamptz := clock_timestamp();
begin
    return query
    with asked as materialized (
        select n.name, q.id as queue, q.limited from unnest(names) as n (name)
        left join lateral (select o.id, o.limited from queues o where o.name = n.name offset 0) q on true
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
            or case when a.limited then (
                select m.seq from messages m where m.queue = a.queue and m.state = 4
                order by m.lane, m.rank, m.seq limit 1) end is not null
        end,
        case when a.queue is not null then coalesce((
            select m.due from messages m where m.queue = a.queue and m.due is not null
            order by m.due desc limit 1) > at, false)
        end
    from asked a;
end $$;

-- Shows ready messages in order, then lane by lane, then the ones behind their key, then delayed ones by their time.
create or replace function show_places(queue_name text, most integer, after integer)
returns table (seq bigint, id text, headers bytea, body bytea, error bytea, failed_at double precision) language plpgsql as $$
#variable_conflict use_column
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    found integer := 0;
begin
    perform surface_due(q, at, 10000);
    if not q.limited then
        -- Far from its head most pages have ready messages alone: their index is walked to the place, and nothing is sorted.
        return query
        with shown as materialized (
            select m.rank, m.seq from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq offset after limit most
        )
        select s.seq, f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
        from shown s cross join lateral (
            select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
        ) f order by s.rank, s.seq;
        get diagnostics found = row_count;
        if found >= most then
            return;
        end if;
        most := most - found;
        after := case when found > 0 then 0 else after - (select count(*) from (
            select 1 from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit after) r) end;
    end if;
    return query
    with line as materialized (
        (select 0 as part, m.rank, m.due, ''::text as key, ''::text collate "C" as lane, m.seq from messages m
            where q.limited and m.queue = q.id and m.state = 0 order by m.rank, m.seq limit after + most)
        union all
        (select 0, m.rank, m.due, '', m.lane, m.seq from messages m
            where q.limited and m.queue = q.id and m.state = 4 order by m.lane, m.rank, m.seq limit after + most)
        union all
        (select 1, 0::smallint, m.due, m.key, '', m.seq from messages m
            where m.queue = q.id and m.state = 3 and m.key is not null order by m.key, m.seq limit after + most)
        union all
        (select 2, 0::smallint, m.due, '', '', m.seq from messages m
            where m.queue = q.id and m.state = 1 and m.due is not null order by m.due, m.seq limit after + most)
    ), shown as materialized (
        select * from line l order by l.part, l.due, l.key, l.lane, l.rank, l.seq offset after limit most
    )
    select s.seq, f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
    from shown s cross join lateral (
        select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
    ) f order by s.part, s.due, s.key, s.lane, s.rank, s.seq;
end $$;
