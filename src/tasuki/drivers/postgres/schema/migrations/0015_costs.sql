-- A take walks along the line, and stops when it has enough: what others take just now costs it one look at the row. A
-- settle counts what it makes ready only where a process waits. Counts are for people: exact up to some thousands, an
-- estimate beyond.

-- Of each key the first one alone, and nothing while another is held. What stands behind an earlier one of its key
-- leaves the line of the ready ones (state 3) until that one is gone, so that it is looked at once. At most 100: each
-- takes a place in the server's table of locks.
create or replace function take_by_key(q queues, most integer, most_bytes bigint, until timestamptz)
returns setof delivery language plpgsql as $$
declare
    at_once constant integer := 2000;
    line no scroll cursor for
        select l.seq, l.key, l.size,
            case when l.key is not null then (
                select e.seq from messages e
                where e.queue = q.id and e.key >= l.key and e.key <= l.key
                and e.key is not null and e.state <> 3
                order by e.key, e.seq limit 1) end as front,
            case when l.key is not null then (
                select h.seq from messages h
                where h.key >= l.key and h.key <= l.key and h.queue >= q.id and h.queue <= q.id
                and h.key is not null and h.state = 2 order by h.key, h.queue limit 1) end as held
        from (
            select m.seq, m.key, octet_length(m.body) as size from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit at_once
            for no key update skip locked
        ) l;
    space text := 'tasuki ' || current_schema() || ' ' || q.id || ' ';
    looked integer;
    moved integer;
    taken integer;
    bytes bigint;
    fit bigint[];
    fit_keys text[];
    behind bigint[];
    fronts bigint[];
begin
    for turn in 1..20 loop
        looked := 0;
        moved := 0;
        bytes := 0;
        fit := '{}';
        fit_keys := '{}';
        behind := '{}';
        fronts := '{}';
        for m in line loop
            looked := looked + 1;
            if m.front < m.seq then
                behind := array_append(behind, m.seq);
                fronts := array_append(fronts, m.front);
            elsif m.key is null
                or (m.held is null and pg_try_advisory_xact_lock(hashtextextended(space || m.key, 1))) then
                fit := array_append(fit, m.seq);
                fit_keys := array_append(fit_keys, m.key);
                bytes := bytes + m.size;
                exit when cardinality(fit) >= least(most, 100) or bytes >= most_bytes;
            end if;
        end loop;
        if behind <> '{}' then
            update messages m set state = 3 where m.seq = any (array(
                select b.seq from unnest(behind, fronts) as b (seq, front) cross join lateral (
                    select 1 from messages e where e.seq = b.front offset 0 for key share skip locked
                ) a));
            get diagnostics moved = row_count;
        end if;
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
        exit when taken > 0 or (fit = '{}' and (looked < at_once or moved = 0));
    end loop;
end $$;

-- The first that stands behind comes forward, for each of these keys.
create or replace function advance(q queues, keys text[]) returns void language plpgsql as $$
begin
    update messages m set state = 0 where m.state = 3 and m.seq = any (array(
        select (
            select b.seq from messages b
            where b.queue = q.id and b.key >= k.key and b.key <= k.key
            and b.key is not null and b.state = 3 order by b.key, b.seq limit 1)
        from (select distinct unnest(keys) as key) k));
end $$;

-- Of how many of these keys a message can be taken: also one that was committed late, and so was never moved behind.
create or replace function ready_keys(q queues, keys text[]) returns integer language plpgsql as $$
begin
    return (
        select count(*) from (select distinct unnest(keys) as key) k where 0 = (
            select f.state from messages f
            where f.queue = q.id and f.key >= k.key and f.key <= k.key
            and f.key is not null and f.state <> 3 order by f.key, f.seq limit 1));
end $$;

-- Both of them.
create or replace function bring_forward(q queues, keys text[]) returns integer language plpgsql as $$
begin
    perform advance(q, keys);
    return ready_keys(q, keys);
end $$;

-- acts: 0 ack, 1 nack, 2 release, 3 the holder closes; null: all are acks. seqs must rise. Returns the places (from 1) of
-- those that were settled, returned or handed out again since. A nack counts once, with or without a recorded start.
create or replace function settle(
    queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[]
) returns integer[] language plpgsql as $$
declare
    q queues;
    at timestamptz := clock_timestamp();
    places integer[];
    acked bigint[];
    keys text[];
    gone integer := 0;
    back integer := 0;
    soonest double precision;
    item record;
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.by_key then
        perform keep_ordering(q);
    end if;
    select array_agg(s.place), array_agg(h.seq) filter (where coalesce(s.act, 0) = 0) into places, acked
    from unnest(seqs, tokens, acts) with ordinality as s (seq, token, act, place) cross join lateral (
        select m.seq from messages m where m.seq = s.seq and m.queue = q.id and m.token = s.token offset 0 for update
    ) h;
    if acked is not null then
        with done as (delete from messages m where m.seq = any (acked) returning m.key)
        select count(*), array_agg(d.key) filter (where d.key is not null) into gone, keys from done d;
        if q.max_length is not null then
            insert into changes (queue, change) values (q.id, -gone);
        end if;
        if not q.by_key then
            keys := null;
        elsif keys is not null then
            perform advance(q, keys);
        end if;
    end if;
    if gone < coalesce(cardinality(places), 0) then
        for item in select * from unnest(seqs, acts, delays) with ordinality as s (seq, act, delay, place)
            where s.act > 0 and s.place = any (places) loop
            update messages m set
                state = case when item.delay > 0 then 1 else 0 end,
                due = case when item.delay > 0 then at + item.delay * interval '1 second' end,
                token = m.token + 1,
                attempts = m.attempts + case item.act
                    when 1 then case when m.counted then 0 else 1 end
                    when 2 then case when m.counted then -1 else 0 end
                    else 0 end,
                suspect = case item.act when 1 then false when 2 then m.suspect else true end,
                counted = false
            where m.seq = item.seq;
            if item.delay > 0 then
                soonest := least(soonest, item.delay);
            else
                back := back + 1;
            end if;
        end loop;
    end if;
    if (back > 0 or soonest is not null or keys is not null)
        and exists (select 1 from waiters where queue = q.id and until > at) then
        perform wake(q, back + ready_keys(q, keys), at + soonest * interval '1 second');
    end if;
    if coalesce(cardinality(places), 0) = cardinality(seqs) then
        return '{}';
    end if;
    return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
end $$;

-- How many messages a queue holds. Up to most of each kind are counted; where there are more, all are estimated by what some
-- hundred blocks of the table hold, picked at random.
create or replace function count_messages(
    queue_name text, out ready bigint, out in_flight bigint, out delayed bigint,
    out oldest_age double precision, out consumer_count bigint, out is_estimate boolean
) language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    most bigint := 10000;
    dues bigint;
    lines bigint;
    behind bigint := 0;
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
    ready := ready + lines + behind;
    is_estimate := greatest(dues, lines, behind) >= most;
    if is_estimate then
        blocks := greatest(pg_relation_size('messages') / current_setting('block_size')::bigint, 1);
        share := least(400.0 / blocks, 1);
        select greatest(ready, count(*) filter (where m.state in (0, 3) or m.due <= at) / share),
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
    select coalesce(sum(c.count), 0) into consumer_count from consumers c join holders h using (holder)
    where c.queue = q.id and is_alive(h, at);
end $$;

-- How many more messages a bounded queue takes. Publishers of such a queue wait for each other here, but not those in
-- a transaction of their own (within): how long that takes is not ours to say, so they only look. All, where its bound
-- was taken away while they waited.
create or replace function room(q queues, wanted integer, within boolean, at timestamptz) returns bigint language plpgsql as $$
begin
    if within then
        -- One statement: what was added up between two would be seen in neither.
        return (select coalesce(
                o.max_length - o.total - coalesce((select sum(c.change) from changes c where c.queue = o.id), 0), wanted)
            from queues o where o.id = q.id);
    end if;
    perform 1 from queues where id = q.id for update;
    with gone as (delete from changes where queue = q.id returning change)
    update queues set total = total + coalesce((select sum(change) from gone), 0) where id = q.id returning * into q;
    if not found then
        raise exception using errcode = 'TQ404', message = 'the queue was removed just now';
    end if;
    if q.total + wanted > q.max_length and q.counted_at < at - interval '1 second' then
        perform recount(q.id);
        select * into q from queues where id = q.id;
    end if;
    return coalesce(q.max_length - q.total, wanted);
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('settle', 'count_messages')
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
