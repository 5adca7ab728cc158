-- Makes due messages ready again; returns how many. A lease that ended leaves its token: its holder may still settle, until the
-- message is delivered again.
create or replace function surface_due(q queues, at timestamptz, most integer) returns integer language plpgsql as $$
declare
    back integer;
begin
    if q.fair > 0 then
        return surface_in_lanes(q, at, most);
    end if;
    update messages set state = 0, due = null, lane = null, suspect = suspect or state = 2 where seq = any (array(
        select seq from messages where queue = q.id and due <= at order by due limit most for update skip locked));
    get diagnostics back = row_count;
    return back;
end $$;

-- Whether the connection on which a process listens stands. The roles that see no times of others take the number for enough.
create or replace function is_connected(h holders) returns boolean language sql stable as $$
    select exists (select 1 from pg_stat_activity a where a.pid = h.pid and coalesce(a.backend_start = h.started, true))
$$;

-- Deliveries of processes that died, as far as they end before until (ADR 63): they were not renewed for 10 seconds, the
-- connection of their process is gone, and another process is connected for so long, in which a living one had come back.
create or replace function left_by_the_dead(queue_id integer, at timestamptz, until timestamptz)
returns bigint[] language plpgsql stable as $$
declare
    silent bigint[];
    owners bigint[];
begin
    select array_agg(s.seq), array_agg(s.holder) into silent, owners from (
        select m.seq, m.state, m.holder from messages m
        where m.queue = queue_id and m.due > at and m.due <= until order by m.due limit 200) s
    where s.state = 2 and s.holder is not null;
    if silent is null or not exists (
        select 1 from holders h where h.pid is not null and h.started < at - interval '10 seconds' and is_connected(h)) then
        return '{}';
    end if;
    return array(
        select s.seq from unnest(silent, owners) as s (seq, holder) where s.holder = any (array(
            select h.holder from holders h where h.holder = any (owners) and h.pid is not null and not is_connected(h))));
end $$;

-- Ends the leases of these deliveries. Call it where the first message is due before until. A busy queue is looked at by one of
-- ten receives: there may be many delayed messages.
create or replace function end_silent(q queues, at timestamptz, until timestamptz) returns void language plpgsql as $$
declare
    ended bigint[];
begin
    if random() < 0.1 or not exists (select 1 from messages m where m.queue = q.id and m.state = 0) then
        ended := left_by_the_dead(q.id, at, until);
        if ended <> '{}' then
            update messages m set due = at where m.seq = any (array(
                select o.seq from messages o where o.seq = any (ended) and o.queue = q.id and o.state = 2 and o.due <= until
                order by o.seq for update skip locked));
        end if;
    end if;
end $$;

-- Up to most messages, or one row of nulls. waits: whether to check the queue and note that this process waits, if
-- there is nothing. leaves: whether to remove that note if there is something, because no other receive of the process waits.
create or replace function receive(
    queue_name text, most integer, most_bytes bigint, who bigint, waits boolean, leaves boolean, hears boolean,
    pace double precision
) returns setof offer language plpgsql as $$
declare
    nonce constant integer := new_token();
    q queues;
    at timestamptz := clock_timestamp();
    lease_end timestamptz;
    next_due timestamptz;
    back integer := 0;
    handed integer;
    check_in double precision;
    registered boolean := false;
    one offer;
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.limited then
        if most = 1 and q.fair > 0 then
            one := take_one(q.id, who, pace);
            if one.seq is not null then
                if leaves then
                    delete from waiters w where w.queue = q.id and w.holder = who;
                end if;
                return next one;
                return;
            end if;
        end if;
        return query select * from receive_limited(q, most, most_bytes, who, waits, leaves, hears, pace);
        return;
    end if;
    if q.by_key then
        perform keep_ordering(q);
        q := queue_named(queue_name);  -- it may have changed until the lock was ours
    end if;
    lease_end := at + q.lease * interval '1 second';
    select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
    if next_due <= at + (q.lease - 10) * interval '1 second' and q.lease > 10 then
        perform end_silent(q, at, at + (q.lease - 10) * interval '1 second');
        select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
    end if;
    if next_due <= at then
        back := surface_due(q, at, greatest(most, 1000));
    end if;
    if q.by_key then
        return query select * from take_by_key(q, most, most_bytes, lease_end, who);
    else
        return query
        with line as (
            select m.seq, m.rank, octet_length(m.body) as size from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit most for update skip locked
        ), taken as (
            update messages m set state = 2, token = nonce, counted = false, due = lease_end, holder = who
            where m.seq = any (array(select s.seq from (
                select l.seq, sum(l.size) over (order by l.rank, l.seq) - l.size as before from line l) s
                where s.before < most_bytes))
            returning m.*
        )
        select t.seq, t.token, t.attempts + 1, t.id, t.headers, t.body, t.suspect,
            null::double precision, null::boolean
        from taken t order by t.rank, t.seq;
    end if;
    get diagnostics handed = row_count;
    if handed > 0 then
        if leaves then
            delete from waiters w where w.queue = q.id and w.holder = who;
        end if;
        if back > 0 and exists (select 1 from waiters w where w.queue = q.id and w.until > at) then
            -- This process watched, and is busy now: others take the rest, and watch the next due message.
            select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
            perform wake(q, greatest(back - handed, 0),
                case when next_due < at + 2 * pace * interval '1 second' then next_due end);
        end if;
        return;
    end if;
    if waits then
        select c.check_in, c.registered into check_in, registered from check_queues(array[queue_name], who, hears, pace) c;
    end if;
    return query select null::bigint, null::integer, null::integer, null::text, null::bytea, null::bytea,
        null::boolean, check_in, registered;
end $$;
