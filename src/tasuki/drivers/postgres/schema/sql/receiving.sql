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

-- The processes whose connections are gone, and who hold deliveries that were not renewed for 6 seconds. is_dead: that was so 3
-- seconds before, and the process did not connect again; a delivery was not renewed for 10 seconds; and another process is
-- connected for so long, in which a living one had come back (ADR 63).
create or replace function gone_holders(queue_id integer, lease double precision, at timestamptz)
returns table (holder bigint, is_dead boolean) language sql stable as $$
    with owners as materialized (
        select s.holder, min(s.due) as due from (
            select m.state, m.holder, m.due from messages m
            where m.queue = queue_id and m.due > at and m.due <= at + (lease - 6) * interval '1 second'
            order by m.due limit 200) s
        where s.state = 2 and s.holder is not null group by s.holder
    )
    select h.holder, h.gone_at is not null from owners o join holders h on h.holder = o.holder
    where h.pid is not null and not is_connected(h) and case when h.gone_at is null then true else
        h.gone_at <= at - interval '3 seconds' and o.due <= at + (lease - 10) * interval '1 second' and exists (
            select 1 from holders j join pg_stat_activity a on a.pid = j.pid and a.backend_start = j.started
            where j.started < at - interval '10 seconds') end
$$;

-- Ends the leases of dead processes; returns how many. Call it where the first message is due within the lease less 6 seconds.
-- A busy queue is looked at by one of ten receives: there may be many delayed messages.
create or replace function end_silent(q queues, at timestamptz) returns integer language plpgsql as $$
declare
    gone bigint[];
    dead bigint[];
    ended integer := 0;
begin
    if random() > 0.1 and exists (select 1 from messages m where m.queue = q.id and m.state = 0) then
        return 0;
    end if;
    select array_agg(g.holder) filter (where not g.is_dead), array_agg(g.holder) filter (where g.is_dead) into gone, dead
    from gone_holders(q.id, q.lease, at) g;
    if gone is not null then
        update holders h set gone_at = at where h.holder = any (array(
            select o.holder from holders o where o.holder = any (gone) and o.gone_at is null for update skip locked));
    end if;
    if dead is not null then
        update messages m set due = at where m.seq = any (array(
            select o.seq from messages o where o.seq = any (array(
                select s.seq from (
                    select m.seq, m.state, m.holder from messages m
                    where m.queue = q.id and m.due > at and m.due <= at + (q.lease - 10) * interval '1 second'
                    order by m.due limit 200) s
                where s.state = 2 and s.holder = any (dead)))
            and o.queue = q.id and o.state = 2 and o.holder = any (dead)
            and o.due <= at + (q.lease - 10) * interval '1 second' order by o.seq for update skip locked));
        get diagnostics ended = row_count;
    end if;
    return ended;
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
    if next_due <= at or next_due <= at + (q.lease - 6) * interval '1 second' and q.lease > 10 and end_silent(q, at) > 0 then
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
