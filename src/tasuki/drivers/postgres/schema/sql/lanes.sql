-- Lanes: the messages of a queue with fair > 0, one lane for each value. Messages without a value are the lane '': they are in state
-- 0 with no lane, as in any queue. The others are in state 4. A row of lanes is in turn, or parked: until a time, or until an
-- arrival says that something has happened. So a lane that must wait costs a receive nothing, however long it is.
--
-- Publishes and settlements only insert arrivals, which a caller's transaction may keep open for any time. A receive folds them into
-- lanes, locks the lanes that it serves, and picks messages in later statements: those see all that was committed before the lock.
-- It skips locked lanes, and waits for one only while it has locked none.

-- As surface_due, for a queue with lanes. The end of a lease frees a place of its lane.
create or replace function surface_in_lanes(q queues, at timestamptz, most integer) returns integer language plpgsql as $$
declare
    back integer;
begin
    with due as (
        update messages m set state = case when lane_of(q, m.key, m.lane) = '' then 0 else 4 end, due = null,
            lane = nullif(lane_of(q, m.key, m.lane), ''), suspect = m.suspect or m.state = 2
        where m.seq = any (array(
            select d.seq from messages d where d.queue = q.id and d.due <= at
            order by d.due limit most for update skip locked))
        returning coalesce(m.lane, '') as lane
    ), arrived as (
        insert into arrivals (queue, lane) select distinct q.id, d.lane from due d
    )
    select count(*) into back from due;
    return back;
end $$;

-- Whether a lane has a ready message. One of another process may be locked just now.
create or replace function has_ready(q queues, name text) returns boolean language plpgsql as $$
begin
    if name = '' then
        return (select m.seq from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit 1) is not null;
    end if;
    return (
        select m.seq from messages m where m.queue = q.id and m.lane = name and m.state = 4
        order by m.rank, m.seq limit 1) is not null;
end $$;

create or replace function ready_lanes(q queues, names text[]) returns integer language plpgsql as $$
begin
    return (select count(*) from (select distinct unnest(names) as name) n where has_ready(q, n.name));
end $$;

-- How many messages of a lane may be held at once; null: any number.
create or replace function lane_places(q queues, name text) returns integer language sql immutable as $$
    select case when q.by_lane and name <> '' then 1 else q.lane_concurrency end
$$;

-- For messages that are about to be settled, which are locked: says that their places come free, and gives released ones' part of
-- the rate back. Returns how many processes to wake for other messages; what comes back is not counted.
create or replace function leave_places(
    q queues, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], within boolean
) returns integer language plpgsql as $$
declare
    frees_places boolean := q.fair > 0 and (q.by_lane or q.lane_concurrency is not null);
    ended integer;
    lanes text[];
begin
    with held as materialized (
        select coalesce(case when q.by_lane then m.key end, m.place, m.lane, '') as lane, coalesce(s.act > 0 and not s.delay > 0, false) as is_back,
            case when s.act = 2 and not s.delay > 0 and m.state = 2 and m.place is not null then 1 else 0 end as given
        from unnest(seqs, tokens, acts, delays) as s (seq, token, act, delay) cross join lateral (
            select o.key, o.lane, o.place, o.state from messages o
            where o.seq = s.seq and o.queue = q.id and o.token = s.token offset 0
        ) m
    ), arrived as (
        insert into arrivals (queue, lane, given)
        select q.id, h.lane, sum(h.given) from held h where q.fair > 0
        group by h.lane having frees_places or bool_or(h.is_back) order by h.lane
    ), given as (
        insert into arrivals (queue, given)
        select q.id, sum(h.given) from held h where q.rate is not null having sum(h.given) > 0
    )
    select count(*), array_agg(h.lane) into ended, lanes from held h where not h.is_back;
    if ended = 0 or (not frees_places and q.concurrency is null) then
        return 0;
    elsif within then
        return ended;  -- who will wait, and for what, is known at the commit
    elsif not exists (select 1 from waiters w where w.queue = q.id and w.until > clock_timestamp()) then
        return 0;
    elsif q.concurrency is null then
        return ready_lanes(q, lanes);
    end if;
    return case when has_ready(q, '') or exists (
        select 1 from messages m where m.queue = q.id and m.state = 4) then ended else 0 end;
end $$;

-- Messages that a rate lets through now. full_at: when it has recovered; each message takes it 1 / rate further. A timestamp rounds
-- to microseconds, so the time that next_token_at gives may be a little early.
create or replace function tokens(rate double precision, burst integer, full_at double precision, now_at double precision)
returns double precision language sql immutable as $$
    select case when rate is not null then greatest(floor(burst - (greatest(full_at - now_at, 0) - 2e-6) * rate), 0) end
$$;

-- When a rate lets the next message through; null without a rate.
create or replace function next_token_at(rate double precision, burst integer, full_at double precision)
returns timestamptz language sql immutable as $$
    select case when rate is not null then to_timestamp(least(full_at - (burst - 1) / rate, 1e11)) end
$$;

-- Brings lanes to life whose messages arrived, whose places came free, or whose time has come: they go behind the lanes that are in
-- turn, so that a lane that comes repeatedly holds up no other. Only one receive at a time folds
-- arrivals. It removes those that it saw before it looked for messages, of lanes that it has locked: a later arrival, and one of a
-- lane that another receive serves just now, is for a later fold. One seek a lane, however many arrivals it has: a noisy lane does
-- not hide the others. Returns whether it has locked lanes.
create or replace function fold_arrivals(q queues, at timestamptz) returns boolean language plpgsql as $$
declare
    touched boolean := false;
    next_turn bigint;  -- of a lane that has just had its turn
    parked_at timestamptz;
    names text[];
    given bigint[];
    rows tid[];
    row_places integer[];
    are_ready boolean[];
    have_row boolean[];
    inserted text[];
    locked text[];
    done boolean[];
begin
    next_turn := coalesce((
        select l.turn + q.fair from lanes l
        where l.queue = q.id and l.ready_at is null order by l.turn, l.since, l.lane limit 1), 0);
    if exists (select 1 from arrivals a where a.queue = q.id and a.lane >= '')
        and pg_try_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 2)) then
        with recursive seen as (
            (select a.lane from arrivals a where a.queue = q.id and a.lane >= '' order by a.lane limit 1)
            union all
            select (select a.lane from arrivals a where a.queue = q.id and a.lane > s.lane order by a.lane limit 1)
            from seen s where s.lane is not null
        ), found as materialized (
            select s.lane, row_number() over () as place from (
                select s.lane from seen s where s.lane is not null limit 300) s
        ), shown as materialized (
            select f.lane, f.place, a.id, a.given from found f cross join lateral (
                select o.ctid as id, o.given from arrivals o where o.queue = q.id and o.lane = f.lane limit 50) a
        )
        select (select array_agg(f.lane order by f.place) from found f),
            (select array_agg(g.given order by g.place) from (
                select s.place, sum(s.given)::bigint as given from shown s group by s.place) g),
            (select array_agg(s.id order by s.place) from shown s),
            (select array_agg(s.place order by s.place) from shown s)
        into names, given, rows, row_places;
        select array_agg(n.is_ready order by n.place), array_agg(n.has_row order by n.place) into are_ready, have_row from (
            select u.place,
                case when u.name = '' then (
                    select m.seq from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit 1)
                else (
                    select m.seq from messages m where m.queue = q.id and m.lane = u.name and m.state = 4
                    order by m.rank, m.seq limit 1) end is not null as is_ready,
                exists (select 1 from lanes l where l.queue = q.id and l.lane = u.name) as has_row
            from unnest(names) with ordinality as u (name, place)
        ) n;
        with made as (
            insert into lanes (queue, lane, turn, since)
            select q.id, u.name, next_turn, at
            from unnest(names, are_ready, have_row) as u (name, is_ready, has_row)
            where u.is_ready and not u.has_row order by u.name
            on conflict do nothing returning lane
        )
        select array_agg(m.lane) into inserted from made m;
        if true = any (have_row) then
            locked := array(
                select l.lane from unnest(names, have_row) as u (name, has_row) cross join lateral (
                    select o.lane from lanes o where o.queue = q.id and o.lane = u.name offset 0 for update skip locked) l
                where u.has_row);
            with wanted as materialized (
                select l.id, l.lane, l.ready_at, l.is_empty, u.is_ready, u.given,
                    l.full_at - coalesce(u.given / q.lane_rate, 0) as full_at,
                    case when lane_places(q, u.name) is not null then lane_places(q, u.name) <= (
                        select count(*) from (
                            select 1 from messages m where m.queue = q.id and m.place = u.name and m.state = 2 and m.due > at
                            limit lane_places(q, u.name)) h) end as is_full
                from unnest(names, are_ready, given) as u (name, is_ready, given) cross join lateral (
                    select o.ctid as id, o.lane, o.ready_at, o.is_empty, o.full_at from lanes o
                    where o.queue = q.id and o.lane = u.name offset 0) l
                where u.name = any (locked) and (l.ready_at is not null or u.given > 0)
            ), planned as materialized (
                select w.*, case
                    when w.ready_at is null then null
                    when not w.is_ready then w.ready_at
                    when next_token_at(q.lane_rate, q.lane_burst, w.full_at) > at
                        then next_token_at(q.lane_rate, q.lane_burst, w.full_at)
                    when w.is_full then case when w.is_empty then at + interval '1 minute' else w.ready_at end
                    end as new_ready_at
                from wanted w
            )
            update lanes l set full_at = p.full_at, ready_at = p.new_ready_at, is_empty = p.is_empty and not p.is_ready,
                since = case when p.new_ready_at is null and p.ready_at is not null then at else l.since end,
                turn = case when p.new_ready_at is null and p.ready_at is not null then next_turn else l.turn end
            from planned p where l.ctid = p.id and (p.given > 0 or p.new_ready_at is distinct from p.ready_at);
        end if;
        done := array(
            select coalesce(u.name = any (inserted), false) or coalesce(u.name = any (locked), false) or not (u.is_ready or u.has_row)
            from unnest(names, are_ready, have_row) with ordinality as u (name, is_ready, has_row, place) order by u.place);
        delete from arrivals a where a.ctid = any (array(
            select r.id from unnest(rows, row_places) as r (id, place) where done[r.place]));
        touched := coalesce(cardinality(inserted), 0) + coalesce(cardinality(locked), 0) > 0;
    end if;
    select l.ready_at into parked_at from lanes l
    where l.queue = q.id and l.ready_at is not null and not l.is_empty order by l.ready_at limit 1;
    if parked_at <= at then
        update lanes l set ready_at = null, since = at, turn = next_turn
        where l.queue = q.id and l.lane = any (array(
            select o.lane from lanes o
            where o.queue = q.id and o.ready_at <= at and o.ready_at is not null and not o.is_empty
            order by o.ready_at limit 500 for update skip locked));
        touched := true;
    end if;
    return touched;
end $$;

-- Removes lanes that only their rate kept, once it has recovered.
create or replace function sweep_lanes(at timestamptz, most integer) returns void language plpgsql as $$
begin
    delete from lanes where ctid = any (array(
        select l.ctid from lanes l where l.is_empty and l.full_at <= extract(epoch from at)::double precision
        order by l.full_at limit most for update skip locked));
end $$;

-- A transaction that published into lanes may commit after the queue has lost them: then receives put its messages in line.
create or replace function find_strays() returns void language plpgsql as $$
declare
    q_id integer := -2147483648;
begin
    loop
        select a.queue into q_id from arrivals a where a.queue > q_id order by a.queue, a.lane limit 1;
        exit when not found;
        update queues set limited = true where id = any (array(
            select o.id from queues o where o.id = q_id and o.fair = 0 and not o.limited for update skip locked));
    end loop;
end $$;

-- Puts messages of lanes in line, in a queue that has no lanes any more; returns how many, at most most. The others go on meanwhile,
-- so messages of several lanes may pass each other.
create or replace function leave_lanes(q queues, most integer) returns integer language plpgsql as $$
declare
    back integer;
begin
    update messages set state = 0, lane = null where seq = any (array(
        select m.seq from messages m where m.queue = q.id and m.state = 4
        order by m.lane, m.rank, m.seq limit most for update skip locked));
    get diagnostics back = row_count;
    if back > 0 then
        perform wake(q, back, null);
    end if;
    if back > 0 or exists (select 1 from arrivals a where a.queue = q.id and a.lane >= '') then
        delete from arrivals where ctid = any (array(
            select a.ctid from arrivals a where a.queue = q.id and a.lane >= '' limit 1000 for update skip locked));
    end if;
    return back;
end $$;

-- Puts messages that have a key but no lane into the lane of their key, once one of them is among the first: they were published
-- before the queue had lanes.
create or replace function enter_lanes(q queues) returns void language plpgsql as $$
begin
    if not exists (
        select 1 from (
            select o.key from messages o where o.queue = q.id and o.state = 0 order by o.rank, o.seq limit 20) f
        where f.key <> '') then
        return;
    end if;
    with moved as (
        update messages m set state = 4, lane = m.key where m.seq = any (array(
            select s.seq from (
                select o.seq, o.key from messages o where o.queue = q.id and o.state = 0
                order by o.rank, o.seq limit 1000 for update skip locked) s
            where s.key <> ''))
        returning m.lane
    )
    insert into arrivals (queue, lane) select distinct q.id, m.lane from moved m;
end $$;

-- The same for those behind the first ones, which a long lane '' that must wait would hold up: one step along the line of a queue
-- whose lanes are its keys. Returns where it ended, for the next step; null at the end of the line.
create or replace function enter_line(q queues, after_rank smallint, after_seq bigint, most integer) returns text[]
language plpgsql as $$
declare
    entered integer;
    last text[];
begin
    with line as materialized (
        select m.seq, m.rank, m.key, row_number() over (order by m.rank, m.seq) as place from messages m
        where m.queue = q.id and m.state = 0 and (m.rank, m.seq) > (after_rank, after_seq)
        order by m.rank, m.seq limit most
    ), moved as (
        update messages m set state = 4, lane = m.key where m.seq = any (array(
            select f.seq from line l cross join lateral (
                select o.seq from messages o
                where o.seq = l.seq and o.state < 1 offset 0 for update skip locked  -- with = it might take another index
            ) f where l.key <> ''))
        returning m.lane
    ), arrived as (
        insert into arrivals (queue, lane) select distinct q.id, m.lane from moved m
    )
    select (select array['line', l.rank::text, l.seq::text] from line l where l.place = most), (select count(*) from moved)
    into last, entered;
    if entered > 0 then
        perform wake(q, entered, null);
    end if;
    return last;
end $$;

-- One step along the lanes of a queue whose lanes are its keys: into the lane of its key with each message that earlier options
-- put into another one. Returns where it ended; null after the last lane.
create or replace function change_lanes(q queues, after_lane text, after_rank smallint, after_seq bigint, most integer)
returns text[] language plpgsql as $$
declare
    last text[];
begin
    with line as materialized (
        select m.seq, m.rank, m.lane, m.key, row_number() over (order by m.lane, m.rank, m.seq) as place from messages m
        where m.queue = q.id and m.state = 4 and (m.lane, m.rank, m.seq) > (after_lane collate "C", after_rank, after_seq)
        order by m.lane, m.rank, m.seq limit most
    ), moved as (
        update messages m set state = case when m.key <> '' then 4 else 0 end, lane = nullif(m.key, '') where m.seq = any (array(
            select f.seq from line l cross join lateral (
                select o.seq from messages o where o.seq = l.seq and o.state > 3 offset 0 for update skip locked
            ) f where l.key is distinct from l.lane))
        returning m.lane
    ), arrived as (
        insert into arrivals (queue, lane) select distinct q.id, coalesce(m.lane, '') from moved m
    )
    select array['lanes', l.lane, l.rank::text, l.seq::text] into last from line l where l.place = most;
    return last;
end $$;

-- In a queue whose lanes are its keys: takes messages out of lanes in which no receive finds them. They were published, or
-- settled, by transactions that began before the lanes were its keys. Checks the first messages of lanes that gave none.
create or replace function leave_wrong_lanes(q queues, names text[]) returns void language plpgsql as $$
begin
    with moved as (
        update messages m set state = 0, lane = null where m.seq = any (array(
            select f.seq from unnest(names) as u (name) cross join lateral (
                select o.seq, o.key from messages o where o.queue = q.id and o.lane = u.name and o.state = 4
                order by o.rank, o.seq limit 20 for update skip locked) f
            where u.name <> '' and f.key is distinct from u.name))
        returning m.seq
    )
    insert into arrivals (queue, lane) select q.id, '' where exists (select 1 from moved);
end $$;

-- If the rows were lost, every lane arrives again.
insert into arrivals (queue, lane)
select q.id, '' from queues q where q.fair > 0 union all select distinct m.queue, m.lane from messages m where m.state = 4;
