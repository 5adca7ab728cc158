-- Limits: a queue with a limit has a gate in front of its ordinary receive, which lets through as many messages as there are tokens
-- and places. The places are the held messages, counted; only the rate is stored, as the time when it has recovered.
--
-- A receive locks in this order: its queue's options (shared), the gate, waiting; then messages and lanes, mostly without waiting.

-- full_at under another rate: as many messages are owed as before.
create or replace function rebased(
    full_at double precision, now_at double precision, old_rate double precision, new_rate double precision
) returns double precision language sql immutable as $$
    select case
        when old_rate is null or new_rate is null then 0
        when full_at <= now_at then full_at
        else now_at + (full_at - now_at) * old_rate / new_rate end
$$;

-- Puts the limits and lanes of a queue in force whose options were just declared. No receive that keeps limits runs; one that began
-- while the queue had none may still be about to commit, and its messages take no place. Delayed and held messages
-- keep their lane until they are ready again: see lane_of.
create or replace function apply_limits(old queues, q queues) returns void language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    now_at double precision := extract(epoch from at);
    has_other_lanes boolean := (q.by_lane, q.fair > 0) is distinct from (old.by_lane, old.fair > 0);
begin
    if q.limited and (has_other_lanes or not old.limited) then
        -- Among delayed messages, which may be many, so far as a lease may end.
        update messages m set place = lane_of(q, m.key, m.lane)
            where m.queue = q.id and m.due is not null and m.due <= at + greatest(old.lease, q.lease) * interval '1 second'
            and m.state = 2 and m.place is distinct from lane_of(q, m.key, m.lane);
    end if;
    if q.fair > 0 then
        update lanes l set ready_at = case when l.is_empty then l.ready_at when l.ready_at is not null then at end,
            full_at = rebased(l.full_at, now_at, old.lane_rate, q.lane_rate)
            where l.queue = q.id and (l.full_at > 0 or (l.ready_at is not null and not l.is_empty));
        insert into arrivals (queue, lane) values (q.id, '');
        if old.fair = 0 then  -- it had lanes before, and no step has put all their messages in line since
            insert into arrivals (queue, lane)
            with recursive names as (
                (select m.lane from messages m where m.queue = q.id and m.lane >= '' and m.state = 4 order by m.lane limit 1)
                union all
                select (
                    select m.lane from messages m
                    where m.queue = q.id and m.lane > n.lane and m.state = 4 order by m.lane limit 1)
                from names n where n.lane is not null
            )
            select q.id, n.lane from names n where n.lane is not null;
        end if;
    end if;
    if q.rate is null then
        delete from arrivals a where a.queue = q.id and a.lane is null;
    end if;
    if q.rate is null and q.concurrency is null then
        delete from gates where queue = q.id;
    else
        insert into gates (queue, full_at) values (q.id, 0) on conflict do nothing;
        update gates g set full_at = rebased(g.full_at, now_at, old.rate, q.rate) where g.queue = q.id;
    end if;
    if q.limited or old.limited or q.change_at is not null then
        perform wake(q, 1000000, null);
    end if;
end $$;

-- When a queue with a limit or lanes may hand out a message by itself: a time that has passed if it can now, null if something else
-- must happen first. Without the ends of delays and leases.
create or replace function opens_at(q_id integer, at timestamptz) returns timestamptz language plpgsql as $$
declare
    q queues;
    first_at timestamptz;
    gate_at timestamptz;
begin
    select * into q from queues where id = q_id;
    if q.concurrency is not null then
        if places_taken(q, at) >= q.concurrency then
            return null;
        end if;
    end if;
    if q.rate is not null then
        gate_at := next_token_at(q.rate, q.burst,
            (select g.full_at from gates g where g.queue = q.id)
            - coalesce((select sum(a.given) from arrivals a where a.queue = q.id and a.lane is null), 0) / q.rate);
    end if;
    if q.fair = 0 then
        if has_ready(q, '') or exists (select 1 from messages m where m.queue = q.id and m.state = 4) then
            first_at := at;
        end if;
    elsif exists (select 1 from lanes l where l.queue = q.id and l.ready_at is null)
        or exists (select 1 from arrivals a where a.queue = q.id and a.lane >= '') or has_stray(q) then
        first_at := at;
    else
        select l.ready_at into first_at from lanes l
        where l.queue = q.id and l.ready_at is not null and not l.is_empty order by l.ready_at limit 1;
    end if;
    return case when first_at is not null then greatest(first_at, gate_at) end;
end $$;

-- Held messages that take a place, as many as there are places at most.
create or replace function places_taken(q queues, at timestamptz) returns integer language plpgsql as $$
begin
    return (select count(*) from (
        select 1 from messages m where m.queue = q.id and m.place is not null and m.state = 2 and m.due > at
        limit q.concurrency) h);
end $$;

-- Whether a message waits in the lane '' that came without an arrival: its transaction began before the queue had lanes.
create or replace function has_stray(q queues) returns boolean language plpgsql as $$
begin
    return has_ready(q, '') and not exists (
        select 1 from lanes l where l.queue = q.id and l.lane = '' and not l.is_empty);
end $$;

-- A process that received is busy now: others take the rest, and watch for the time at which there is more.
create or replace function wake_for_rest(q queues, pace double precision) returns void language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    next_due timestamptz := opens_at(q.id, at);
begin
    perform wake(q, case when next_due <= at then 1 else 0 end, (
        select d.due from (select least(case when next_due > at then next_due end, (
            select m.due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1)) as due) d
        where d.due < at + 2 * pace * interval '1 second'));
end $$;

-- As receive, for a queue with a limit or lanes, or with messages that are still in lanes.
create or replace function receive_limited(
    q queues, most integer, most_bytes bigint, who bigint, waits boolean, leaves boolean, hears boolean,
    pace double precision
) returns setof offer language plpgsql as $$
declare
    nonce constant integer := new_token();
    at timestamptz;
    now_at double precision;
    lease_end timestamptz;
    next_due timestamptz;
    wanted integer := most;
    gate_full_at double precision;
    given bigint;
    seqs bigint[];
    handed integer := 0;
    check_in double precision;
    registered boolean := false;
begin
    perform keep_ordering(q);
    q := queue_named(q.name);  -- its options may have changed until the lock was ours
    if q.rate is not null or q.concurrency is not null then
        select g.full_at into gate_full_at from gates g where g.queue = q.id for update;
        if not found then
            insert into gates (queue, full_at) values (q.id, 0) on conflict do nothing;
            select g.full_at into gate_full_at from gates g where g.queue = q.id for update;
        end if;
    end if;
    at := clock_timestamp();
    now_at := extract(epoch from at);
    lease_end := at + q.lease * interval '1 second';
    if q.rate is not null then
        with back as (delete from arrivals a where a.queue = q.id and a.lane is null returning a.given)
        select sum(b.given) into given from back b;
        gate_full_at := gate_full_at - coalesce(given, 0) / q.rate;
        wanted := least(wanted, tokens(q.rate, q.burst, gate_full_at, now_at));
    end if;
    select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
    if next_due <= at or next_due <= at + (q.lease - 6) * interval '1 second' and q.lease > 10 and end_silent(q, at) > 0 then
        perform surface_due(q, at, greatest(most, 1000));
    end if;
    if q.concurrency is not null then
        wanted := least(wanted, q.concurrency - places_taken(q, at));
    end if;
    if q.fair = 0 and q.change_at is null then  -- else steps put them in line
        perform leave_lanes(q, 5000);
    end if;
    if wanted <= 0 then
        null;
    elsif q.fair > 0 then
        if (random() < 0.02 or not exists (select 1 from lanes l where l.queue = q.id and l.ready_at is null))
            and has_stray(q) then
            insert into arrivals (queue, lane) values (q.id, '');
        end if;
        seqs := take_in_turns(q, wanted, most_bytes, q.lease, fold_arrivals(q, at), who);
        return query
        select m.seq, m.token, m.attempts + 1, m.id, m.headers, m.body, m.suspect, null::double precision, null::boolean
        from unnest(seqs) with ordinality as u (seq, place) cross join lateral (
            select o.seq, o.token, o.attempts, o.id, o.headers, o.body, o.suspect from messages o
            where o.seq = u.seq offset 0) m
        order by u.place;
        handed := cardinality(seqs);
    elsif q.by_key then
        return query select * from take_by_key(q, wanted, most_bytes, lease_end, who);
        get diagnostics handed = row_count;
    else
        return query
        with line as (
            select m.seq, m.rank, octet_length(m.body) as size from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit wanted for update skip locked
        ), taken as (
            update messages m set state = 2, token = nonce, counted = false, due = lease_end, holder = who, place = ''
            where m.seq = any (array(select s.seq from (
                select l.seq, sum(l.size) over (order by l.rank, l.seq) - l.size as before from line l) s
                where s.before < most_bytes))
            returning m.*
        )
        select t.seq, t.token, t.attempts + 1, t.id, t.headers, t.body, t.suspect,
            null::double precision, null::boolean
        from taken t order by t.rank, t.seq;
        get diagnostics handed = row_count;
    end if;
    if q.rate is not null and (handed > 0 or given > 0) then
        update gates g set full_at = case when handed > 0
            then greatest(gate_full_at, now_at) + handed / q.rate else gate_full_at end
        where g.queue = q.id;
    end if;
    if handed > 0 then
        if leaves then
            delete from waiters w where w.queue = q.id and w.holder = who;
        end if;
        if exists (select 1 from waiters w where w.queue = q.id and w.until > at) then
            perform wake_for_rest(q, pace);
        end if;
        return;
    end if;
    if waits then
        if q.fair > 0 then
            perform sweep_lanes(at, 100);
        end if;
        select c.check_in, c.registered into check_in, registered from check_queues(array[q.name], who, hears, pace) c;
        if q.fair > 0 and opens_at(q.id, clock_timestamp()) <= clock_timestamp() then
            check_in := least(check_in, 0.002 + random() * 0.003);  -- other receives had locked what there is
        end if;
    end if;
    return query select null::bigint, null::integer, null::integer, null::text, null::bytea, null::bytea,
        null::boolean, check_in, registered;
end $$;
