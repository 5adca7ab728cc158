-- Order per key without a lock on the queue. All messages of a key but its first ones stand in state 3, and each message in
-- state 3 has an earlier one of its key in another state. Three rules keep that, and one held message a key:
--  1. A take moves a message behind an earlier one only while it keeps the earlier one from being removed (for key share).
--  2. A removal locks the message first (for update), and brings the next one of its key forward in a later statement,
--     which sees the messages that were moved behind until then.
--  3. A take tries to lock the key of a message before it delivers the message, and then checks again: another take may hold
--     a message of the key that was published later, where this one was committed late.

-- Keeps the ordering of a queue as it is until the end of the transaction: declare_queue changes it under lock_queue.
create or replace function keep_ordering(q queues) returns void language sql as $$
    select pg_advisory_xact_lock_shared(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;

-- Brings some messages forward that stood behind others before the queue lost its order per key; returns how many.
create or replace function bring_behind(q queues, most integer) returns integer language plpgsql as $$
declare
    back integer;
begin
    with moved as (
        update messages m set state = case when q.by_lane and m.key <> '' then 4 else 0 end,
            lane = case when q.by_lane then nullif(m.key, '') end
        where m.seq = any (array(
            select b.seq from messages b where b.queue = q.id and b.key is not null and b.state = 3
            order by b.key, b.seq limit most for update skip locked))
        returning m.lane
    ), arrived as (
        insert into arrivals (queue, lane) select distinct q.id, coalesce(m.lane, '') from moved m where q.fair > 0
    )
    select count(*) into back from moved m;
    return back;
end $$;

-- The same for the first one of each of these keys, in a queue whose lanes are its keys.
create or replace function bring_into_lanes(q queues, names text[]) returns void language sql as $$
    update messages m set state = 4, lane = m.key where m.seq = any (array(
        select b.seq from unnest(names) as n (name) cross join lateral (
            select o.seq from messages o
            where o.queue = q.id and o.key >= n.name and o.key <= n.name and o.key is not null and o.state = 3
            order by o.key, o.seq limit 1 for update skip locked) b
        where n.name <> ''))
$$;

-- The first message of a key that stands behind others; null: there is none.
create or replace function first_behind(q queues, name text) returns bigint language plpgsql as $$
begin
    return (
        select b.seq from messages b
        where b.queue = q.id and b.key >= name and b.key <= name and b.key is not null and b.state = 3
        order by b.key, b.seq limit 1);
end $$;

-- Moves messages behind the first one of their key that were published before the queue had an order per key: as a take does it
-- that meets them. Returns where it ended in the line, null at its end.
create or replace function line_up(q queues, after_rank smallint, after_seq bigint, most integer) returns text[]
language plpgsql as $$
declare
    last text[];
begin
    with line as materialized (
        select m.seq, m.rank, m.key, row_number() over (order by m.rank, m.seq) as place from messages m
        where m.queue = q.id and m.state = 0 and (m.rank, m.seq) > (after_rank, after_seq)
        order by m.rank, m.seq limit most
    ), behind as materialized (
        select l.seq, (
            select e.seq from messages e
            where e.queue = q.id and e.key >= l.key and e.key <= l.key
            and e.key is not null and e.state <> 3 order by e.key, e.seq limit 1) as front
        from line l where l.key is not null
    ), moved as (
        update messages m set state = 3 where m.seq = any (array(
            select b.seq from behind b cross join lateral (
                select 1 from messages o where o.seq = b.seq and o.state < 1 offset 0 for update skip locked
            ) o cross join lateral (
                select 1 from messages e where e.seq = b.front offset 0 for key share skip locked
            ) a where b.front < b.seq))
    )
    select array['line', l.rank::text, l.seq::text] into last from line l where l.place = most;
    return last;
end $$;

-- One step of a change that declare_queue has begun: by the process that declared it, by the next one, or by a heartbeat. It walks
-- lanes first, then the line, then the messages that stand behind others. Returns whether another step follows. A message that
-- another transaction keeps locked is left: a heartbeat brings it, as no receive would.
create or replace function change_step(queue_name text) returns boolean language plpgsql as $$
declare
    at_once constant integer := 10000;
    q queues;
    last text[];
    is_over boolean := false;
begin
    select * into q from queues where name = queue_name;
    if not found then
        return false;
    end if;
    perform keep_ordering(q);
    select * into q from queues where id = q.id;  -- it may have changed until the lock was ours
    if q.change_at is null then
        return false;
    end if;
    if q.change_at[1] = 'lanes' then
        if q.by_lane then
            last := change_lanes(q, q.change_at[2], q.change_at[3]::smallint, q.change_at[4]::bigint, at_once);
        elsif q.fair = 0 then
            delete from lanes where ctid = any (array(
                select l.ctid from lanes l where l.queue = q.id limit at_once for update skip locked));
            if found or leave_lanes(q, at_once) > 0 then
                last := q.change_at;
            end if;
        end if;
        last := coalesce(last, '{line,-1,0}');
    elsif q.change_at[1] = 'line' then
        if q.by_lane then
            last := enter_line(q, q.change_at[2]::smallint, q.change_at[3]::bigint, at_once);
        elsif q.by_key then
            last := line_up(q, q.change_at[2]::smallint, q.change_at[3]::bigint, at_once);
        end if;
        last := coalesce(last, '{behind}');
    else
        is_over := q.by_key or bring_behind(q, at_once) = 0;
        last := case when not is_over or (not q.by_key and exists (
            select 1 from messages b where b.queue = q.id and b.key is not null and b.state = 3)) then '{behind}'::text[] end;
    end if;
    -- Two processes may make the same step; and a declaration begins a new change.
    update queues set change_at = last where id = q.id and change_at = q.change_at and change_at is distinct from last;
    return not is_over;
end $$;

-- Brings messages forward whose earlier message was deleted by other means than these functions. Looks at those in some blocks of the
-- table, picked at random, so that it costs the same however many there are.
create or replace function find_orphans() returns void language plpgsql as $$
declare
    found_now record;
    q queues;
begin
    for found_now in
        select s.queue, array_agg(distinct s.key) as keys from messages s tablesample system (
            least(100, 2000.0 / greatest(pg_relation_size('messages') / current_setting('block_size')::bigint, 1)))
        where s.state = 3 and s.key is not null and not exists (
            select 1 from messages e
            where e.queue = s.queue and e.key >= s.key and e.key <= s.key and e.key is not null and e.state <> 3)
        group by s.queue
    loop
        select * into q from queues where id = found_now.queue and by_key;
        if found and pg_try_advisory_xact_lock_shared(
            hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0)) then
            perform wake(q, bring_forward(q, found_now.keys), null);
        end if;
    end loop;
end $$;

drop type if exists offer cascade;  -- and the functions that return it
create type offer as (
    seq bigint, token integer, attempt integer, id text, headers bytea, body bytea, suspect boolean,
    check_in double precision,  -- only if nothing was taken, in a row of nulls: see check_queues; null if it does not wait
    registered boolean          -- likewise
);

-- Takes the first message of each key, and none while another of the key is held. A message behind an earlier one of its key
-- leaves the ready ones (state 3) until the earlier one is gone, so that it is read once. At most 100: each takes a place in
-- the server's table of locks. Walks along the line and stops when it has enough: a message that another take locks just now
-- costs one check of its row.
create or replace function take_by_key(q queues, most integer, most_bytes bigint, until timestamptz, who bigint)
returns setof offer language plpgsql as $$
declare
    nonce constant integer := new_token();
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
    seen integer;
    moved integer;
    taken integer;
    bytes bigint;
    fit bigint[];
    fit_keys text[];
    behind bigint[];
    fronts bigint[];
begin
    for turn in 1..20 loop
        seen := 0;
        moved := 0;
        bytes := 0;
        fit := '{}';
        fit_keys := '{}';
        behind := '{}';
        fronts := '{}';
        for m in line loop
            seen := seen + 1;
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
            update messages m set state = 2, token = nonce, counted = false, due = until, holder = who,
                place = case when q.limited then '' end
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
        exit when taken > 0 or (fit = '{}' and (seen < at_once or moved = 0));
    end loop;
end $$;

-- Brings the first message that stands behind forward, for each of these keys.
create or replace function advance(q queues, keys text[]) returns void language plpgsql as $$
begin
    update messages m set state = 0 where m.state = 3 and m.seq = any (array(
        select (
            select b.seq from messages b
            where b.queue = q.id and b.key >= k.key and b.key <= k.key
            and b.key is not null and b.state = 3 order by b.key, b.seq limit 1)
        from (select distinct unnest(keys) as key) k));
end $$;

-- How many of these keys have a message to take, including one that was committed late and so never moved behind.
create or replace function ready_keys(q queues, keys text[]) returns integer language plpgsql as $$
begin
    return (
        select count(*) from (select distinct unnest(keys) as key) k where 0 = (
            select f.state from messages f
            where f.queue = q.id and f.key >= k.key and f.key <= k.key
            and f.key is not null and f.state <> 3 order by f.key, f.seq limit 1));
end $$;

-- Does both.
create or replace function bring_forward(q queues, keys text[]) returns integer language plpgsql as $$
begin
    perform advance(q, keys);
    return ready_keys(q, keys);
end $$;
