-- One message of a queue with lanes, in few short statements: most receives ask for no more. take_in_turns has statements for
-- any number of lanes, each of which costs as much as several of these. Every other case is left to it.

-- How many messages of a lane are held, up to its places.
create or replace function places_held(q queues, name text, at timestamptz) returns integer language plpgsql as $$
begin
    return (select count(*) from (
        select 1 from messages m where m.queue = q.id and m.place = name and m.state = 2 and m.due > at
        limit q.lane_concurrency) h);
end $$;

-- As fold_arrivals, for a few arrivals of lanes without a rate, of which the caller has seen all. Returns a lane that has messages
-- and no row: while no other lane is in turn it has its turn at once, and gets a row only if something is left. No
-- other receive serves it meanwhile, for only one at a time folds arrivals.
create or replace function fold_few(q queues, at timestamptz, names text[], arrived tid[], first_turn bigint) returns text
language plpgsql as $$
declare
    alone text;
    locked text[];
    parked text[];
    left_to_others text[];
begin
    select array_agg(u.name) filter (where l.is_parked is not null), array_agg(u.name) filter (where l.is_parked),
        array_agg(u.name) filter (where l.is_parked is null and exists (
            select 1 from lanes o where o.queue = q.id and o.lane = u.name))
    into locked, parked, left_to_others
    from unnest(names) as u (name) left join lateral (
        select o.ready_at is not null as is_parked from lanes o
        where o.queue = q.id and o.lane = u.name offset 0 for update skip locked) l on true;
    if left_to_others is null then
        delete from arrivals a where a.ctid = any (arrived);
    else
        delete from arrivals a where a.ctid = any (array(
            select u.id from unnest(names, arrived) as u (name, id) where u.name <> all (left_to_others)));
    end if;
    if parked is not null then
        update lanes l set ready_at = null, is_empty = false, since = at, turn = coalesce(first_turn + q.fair, 0)
        where l.queue = q.id and l.lane = any (parked) and l.ready_at is not null and has_ready(q, l.lane)
        and (q.lane_concurrency is null or places_held(q, l.lane, at) < q.lane_concurrency);
        if found then
            first_turn := coalesce(first_turn, -q.fair);
        end if;
    end if;
    for place in 1 .. cardinality(names) loop
        if names[place] = names[place - 1] or names[place] = any (locked) or names[place] = any (left_to_others) then
            null;
        elsif first_turn is null and alone is null and (names[1] = names[cardinality(names)] or has_ready(q, names[place])) then
            alone := names[place];
        elsif has_ready(q, names[place]) then
            insert into lanes (queue, lane, turn, since) values (q.id, names[place], coalesce(first_turn + q.fair, 0), at);
        end if;
    end loop;
    return alone;
end $$;

-- Takes the next message of the lane whose turn it is. Returns nulls if receive_limited has to look: the queue or its lanes have
-- a rate, the queue has places, messages are due, many have arrived, the lane is '', or there is nothing.
create or replace function take_one(queue_id integer, who bigint, pace double precision) returns offer language plpgsql as $$
declare
    nonce constant integer := new_token();
    few constant integer := 8;
    found_now record;
    q queues;
    at timestamptz;
    one offer;
    row_id tid;
    name text;
    has_more boolean;
    free integer := 1000000;
    waits_until timestamptz;
begin
    -- As keep_ordering. Now and then receive_limited looks for what came without an arrival.
    if random() < 0.02
        or not pg_try_advisory_xact_lock_shared(hashtextextended('tasuki ' || current_schema() || ' ' || queue_id, 0)) then
        return null;
    end if;
    select o as q,  -- its options may have changed until the lock was ours
        a.names, a.arrived,
        (select l.turn from lanes l
            where l.queue = o.id and l.ready_at is null order by l.turn, l.since, l.lane limit 1) as first_turn,
        least(
            (select m.due from messages m where m.queue = o.id and m.due is not null order by m.due limit 1),
            (select l.ready_at from lanes l
                where l.queue = o.id and l.ready_at is not null and not l.is_empty order by l.ready_at limit 1)) as due,
        (select max(w.until) from waiters w where w.queue = o.id) as watched_until
    into found_now
    from queues o cross join lateral (
        select array_agg(f.lane) as names, array_agg(f.id) as arrived from (
            select r.lane, r.ctid as id from arrivals r where r.queue = o.id and r.lane >= ''
            order by r.lane limit few) f
    ) a
    where o.id = queue_id;
    q := found_now.q;
    at := clock_timestamp();
    if q.id is null or q.fair = 0 or q.by_lane or q.rate is not null or q.concurrency is not null or q.lane_rate is not null
        or found_now.due <= at or cardinality(found_now.names) = few or found_now.names[1] = '' then
        return null;
    end if;
    if found_now.names is not null
        and pg_try_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 2)) then
        name := fold_few(q, at, found_now.names, found_now.arrived, found_now.first_turn);
    end if;
    if name is null then
        select l.ctid, l.lane into row_id, name from lanes l where l.queue = q.id and l.ready_at is null
        order by l.turn, l.since, l.lane limit 1 for update skip locked;
        if not found or name = '' then
            return null;
        end if;
    end if;
    if q.lane_concurrency is not null then
        free := q.lane_concurrency - places_held(q, name, at);
    end if;
    if free > 0 then
        update messages m set state = 2, token = nonce, counted = false, place = name, holder = who,
            due = at + q.lease * interval '1 second'
        where m.seq = any (array(
            select o.seq from messages o where o.queue = q.id and o.lane = name and o.state = 4
            order by o.rank, o.seq limit 1 for update skip locked))
        returning m.seq, m.token, m.attempts + 1, m.id, m.headers, m.body, m.suspect, null::double precision, (
            select n.seq from messages n where n.queue = q.id and n.lane = name and n.state = 4 and n.seq <> m.seq
            order by n.rank, n.seq limit 1) is not null
        into one;
    end if;
    has_more := one.registered;
    one.registered := null;
    if one.seq is null then
        if row_id is null and has_ready(q, name) then
            insert into lanes (queue, lane, turn, since) values (q.id, name, 0, at);
        end if;
        return null;  -- it is full, or others have locked its messages
    elsif not has_more then
        if row_id is not null then
            delete from lanes l where l.ctid = row_id;
        end if;
    else
        -- An arrival comes before the minute is over, unless other hands removed messages.
        waits_until := case when free = 1 then at + interval '1 minute' end;
        if row_id is not null then
            update lanes l set turn = l.turn + 1, since = at + interval '1 microsecond', ready_at = waits_until where l.ctid = row_id;
        else
            insert into lanes (queue, lane, turn, since, ready_at) values (q.id, name, 1, at, waits_until);
        end if;
    end if;
    if found_now.watched_until > at then
        perform wake_for_rest(q, pace);
    end if;
    return one;
end $$;
