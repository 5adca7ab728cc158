-- One message wakes one worker. A process that waits at a queue has a row in waiters, and listens to its own channel
-- (tasuki:<holder in hex>). A verb that makes messages ready takes as many rows as there are messages, and notifies their
-- holders. A wake-up may be lost (its process died, or never listened): so the waiting processes check the queue in turns,
-- a few times a second in all, however many they are. One of them watches: it wakes by itself when the next delay or lease
-- ends.

-- Wakes a waiting process for each message that became ready, and one more if none watches as early as due (or null), so
-- that it does. The watching ones come last: while there are others, the next delay is watched.
create or replace function wake(q queues, messages bigint, due timestamptz) returns void language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    chosen bigint;
    most bigint := messages;
begin
    if due is not null and not exists (
        select 1 from waiters w where w.queue = q.id and w.until > at and w.wakes_at <= due and w.wakes_at > at) then
        most := most + 1;
    end if;
    for chosen in
        delete from waiters w where w.ctid = any (array(
            select o.ctid from waiters o where o.queue = q.id and o.until > at and o.hears
            order by o.wakes_at is not null, o.until desc limit most for update skip locked))
        returning w.holder
    loop
        perform pg_notify('tasuki:' || to_hex(chosen), q.name);
    end loop;
end $$;

-- The same by name, for a notified process in which no receive waits any more.
create or replace function pass_on(queue_name text) returns void language plpgsql as $$
begin
    perform wake(q, 1, null) from queues q where q.name = queue_name;
end $$;

-- For messages published in a transaction of the caller's, which commits at any later time: the processes that wait now are
-- notified then, and pass it on if they wait no more; if none waits, all are notified. It takes no row of waiters, which
-- would stay locked as long as the transaction, and needs only the right to read the table.
create or replace function wake_later(q queues, messages integer) returns void language plpgsql as $$
declare
    chosen bigint;
begin
    for chosen in
        select w.holder from waiters w where w.queue = q.id and w.hears and w.until > clock_timestamp()
        order by random() limit messages
    loop
        perform pg_notify('tasuki:' || to_hex(chosen), q.name);
    end loop;
    if not found then
        perform pg_notify('tasuki:' || current_schema(), q.name);
    end if;
end $$;

-- Checks queues at which a process waits, and notes that it waits. ready: whether there is a message. check_in: seconds until
-- the process checks again by itself: in its turn, for which time is divided among all processes that wait at the queue, or
-- earlier, if it watches the next due message. pace: seconds between two checks of the queue, by any of them. registered: the
-- process was not noted before, so a publish that is under way may not see it.
create or replace function check_queues(
    names text[], who bigint, hears boolean, pace double precision, at timestamptz default clock_timestamp()
) returns table (name text, ready boolean, check_in double precision, registered boolean) language plpgsql as $$
#variable_conflict use_column
declare
    listens boolean := hears;
begin
    return query
    with asked as materialized (
        select n.name, q.id as queue, case when q.limited then opens_at(q.id, at) end as opens_at, q.limited, q.lease
        from unnest(names) as n (name)
        left join lateral (select o.id, o.limited, o.lease from queues o where o.name = n.name offset 0) q on true
    ), seen as materialized (
        select a.name, a.queue, a.lease,
            case when a.queue is null then true when a.limited then a.opens_at <= at else (
                select m.seq from messages m where m.queue = a.queue and m.state = 0 order by m.rank, m.seq limit 1
            ) is not null end as is_ready,
            least(a.opens_at, (
                select m.due from messages m where m.queue = a.queue and m.due is not null order by m.due limit 1)) as due
        from asked a
    ), placed as materialized (
        select s.*, w.noted_until, w.noted_due, w.place, pace * (w.others + 1) as cycle,
            case when not w.is_watched then s.due end as watched
        from seen s cross join lateral (
            select count(*) filter (where w.holder <> who) as others, count(*) filter (where w.holder < who) as place,
                coalesce(bool_or(w.holder <> who and w.wakes_at between at - interval '0.1 seconds' and s.due), false)
                    as is_watched,
                max(w.until) filter (where w.holder = who and w.hears is not distinct from listens) as noted_until,
                max(w.wakes_at) filter (where w.holder = who) as noted_due
            from waiters w where w.queue = s.queue and w.until > at
        ) w
    ), noted as (
        insert into waiters (queue, holder, until, hears, wakes_at)
        select p.queue, who, at + (2 * p.cycle + 20) * interval '1 second', listens, p.watched from placed p
        where p.queue is not null and (
            p.noted_until is null or p.noted_until < at + (p.cycle + 5) * interval '1 second'
            or p.noted_due is distinct from p.watched)
        on conflict (queue, holder) do update
            set until = excluded.until, hears = excluded.hears, wakes_at = excluded.wakes_at
    ), turns as (
        select p.*, p.place * pace - extract(epoch from at)::double precision as ahead from placed p
    ), planned as (
        select t.*, t.ahead - floor(t.ahead / t.cycle) * t.cycle as rest from turns t
    )
    select t.name, coalesce(t.is_ready, false) or coalesce(t.due <= at, false)
            or case when t.lease > 10 and t.due <= at + (t.lease - 6) * interval '1 second'
                then exists (select 1 from gone_holders(t.queue, t.lease, at)) else false end,
        least(
            t.rest + case when t.rest < pace / 2 then t.cycle else 0 end,
            case when t.watched > at then extract(epoch from t.watched - at)::double precision
                when t.watched is not null then 0.05 end),
        t.noted_until is null
    from planned t;
end $$;
