-- One message wakes one worker. A process that waits at a queue has a row in waiters, and listens to a channel of its own
-- (tasuki:<holder in hex>). What makes messages ready takes as many rows as there are messages, and notifies their
-- holders. A wake-up may be lost (its process died, or was never listening): so the waiting processes look into the queue
-- in turns, a few times a second in all, however many they are. One of them watches: it wakes by itself when the next
-- delay or lease ends.

-- hears: whether its holder listens; null: a process of an earlier version, which waits on the channel of the queue.
-- wakes_at: when this one wakes by itself, for what is due then.
alter table waiters add column if not exists hears boolean, add column if not exists wakes_at timestamptz;

-- Wakes a waiting process for each message that became ready, and one more if none watches as early as due (or null), so
-- that it does. The ones that watch come last: while there are others, the next delay is watched.
create or replace function wake(q queues, messages bigint, due timestamptz) returns void language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    chosen record;
    most bigint := messages;
begin
    if due is not null and not exists (
        select 1 from waiters w where w.queue = q.id and w.until > at and w.wakes_at <= due and w.wakes_at > at) then
        most := most + 1;
    end if;
    for chosen in
        delete from waiters w where w.ctid = any (array(
            select o.ctid from waiters o where o.queue = q.id and o.until > at and o.hears is not false
            order by o.wakes_at is not null, o.until desc limit most for update skip locked))
        returning w.holder, w.hears
    loop
        if chosen.hears then
            perform pg_notify('tasuki:' || to_hex(chosen.holder), q.name);
        else
            perform pg_notify(q.channel, '');
        end if;
    end loop;
end $$;

-- The same by name, for a process that was notified and has no receive waiting any more.
create or replace function pass_on(queue_name text) returns void language plpgsql as $$
begin
    perform wake(q, 1, null) from queues q where q.name = queue_name;
end $$;

-- Looks into queues at which a process waits, and notes that it does: whether there is a message, and in how many seconds
-- the process looks again by itself: in its turn, for which time is divided among all that wait at the queue, or
-- earlier, if it is the one that watches what is due next. pace: seconds between two looks of a process that waits alone.
-- registered: it was not noted before, so a publish that is under way may not see it.
create or replace function look(
    names text[], who bigint, hears boolean, pace double precision, at timestamptz default clock_timestamp()
) returns table (name text, ready boolean, look_in double precision, registered boolean) language plpgsql as $$
#variable_conflict use_column
declare
    listens boolean := hears;
    turn double precision := case when hears then pace / 3 else pace end;
begin
    return query
    with asked as materialized (
        select n.name, (select q.id from queues q where q.name = n.name) as queue from unnest(names) as n (name)
    ), seen as materialized (
        select a.*, a.queue is null or (
                select m.seq from messages m where m.queue = a.queue and m.state = 0 order by m.rank, m.seq limit 1
            ) is not null as is_ready,
            (select m.due from messages m where m.queue = a.queue and m.due is not null order by m.due limit 1) as due
        from asked a
    ), placed as materialized (
        select s.*, w.noted_until, w.noted_due, w.place, greatest(pace, turn * (w.others + 1)) as cycle,
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
        select p.*, p.place * turn - extract(epoch from at)::double precision as ahead from placed p
    ), planned as (
        select t.*, t.ahead - floor(t.ahead / t.cycle) * t.cycle as rest from turns t
    )
    select t.name, t.is_ready or coalesce(t.due <= at, false),
        least(
            t.rest + case when t.rest < turn / 2 then t.cycle else 0 end,
            case when t.watched > at then extract(epoch from t.watched - at)::double precision
                when t.watched is not null then 0.05 end),
        t.noted_until is null
    from planned t;
end $$;

drop type if exists offer cascade;  -- the function that returns it is made below
create type offer as (
    seq bigint, token integer, attempt integer, id text, headers bytea, body bytea, suspect boolean,
    look_in double precision,  -- only if nothing was taken, in a row of nulls: see look; null if it does not wait
    registered boolean         -- likewise
);

-- What is due comes back into line; returns how many messages.
create or replace function surface_due(q_id integer, at timestamptz, most integer) returns integer language plpgsql as $$
declare
    back integer;
begin
    update messages set state = 0, due = null, suspect = suspect or state = 2 where seq = any (array(
        select seq from messages where queue = q_id and due <= at order by due limit most for update skip locked));
    get diagnostics back = row_count;
    return back;
end $$;

-- Up to most messages, or one row of nulls. waits: whether to look, and note that this process waits, if there is nothing.
-- leaves: whether to take the note back if there is something, for no other receive of the process waits.
create or replace function receive(
    queue_name text, most integer, most_bytes bigint, who bigint, waits boolean, leaves boolean, hears boolean,
    pace double precision
) returns setof offer language plpgsql as $$
declare
    q queues;
    at timestamptz := clock_timestamp();
    lease_end timestamptz;
    next_due timestamptz;
    back integer := 0;
    handed integer;
    look_in double precision;
    registered boolean := false;
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.by_key then
        perform keep_ordering(q);
        q := queue_named(queue_name);  -- it may have changed until the lock was ours
    end if;
    lease_end := at + q.lease * interval '1 second';
    select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
    if next_due <= at then
        back := surface_due(q.id, at, greatest(most, 1000));
    end if;
    if q.by_key then
        return query select * from take_by_key(q, most, most_bytes, lease_end);
    else
        return query
        with line as (
            select m.seq, m.rank, octet_length(m.body) as size from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit most for update skip locked
        ), taken as (
            update messages m set state = 2, token = m.token + 1, counted = false, due = lease_end
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
            -- It came to watch, and is busy now: what else came back is for others, and so is watching what comes soon.
            select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
            perform wake(q, greatest(back - handed, 0),
                case when next_due < at + 2 * pace * interval '1 second' then next_due end);
        end if;
        return;
    end if;
    if waits then
        select l.look_in, l.registered into look_in, registered from look(array[queue_name], who, hears, pace) l;
    end if;
    return query select null::bigint, null::integer, null::integer, null::text, null::bytea, null::bytea,
        null::boolean, look_in, registered;
end $$;

-- For processes of earlier versions, which wait on the channel of the queue.
create or replace function take(queue_name text, most integer, most_bytes bigint, who bigint, waits double precision)
returns setof delivery language plpgsql as $$
declare
    q queues;
    at timestamptz := clock_timestamp();
    next_due timestamptz;
    is_new boolean := false;
begin
    return query select r.seq, r.token, r.attempt, r.id, r.headers, r.body, r.suspect, null::double precision, null::boolean
        from receive(queue_name, most, most_bytes, who, false, false, false, 1) r where r.seq is not null;
    if found then
        return;
    end if;
    q := queue_named(queue_name);
    if waits > 0 then
        insert into waiters as w (queue, holder, until) values (q.id, who, at + (waits + 5) * interval '1 second')
        on conflict (queue, holder) do update set until = excluded.until
        where w.until < at + waits * interval '1 second';
        is_new := found;
    end if;
    select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
    return query select null::bigint, null::integer, null::integer, null::text, null::bytea, null::bytea,
        null::boolean, extract(epoch from next_due - clock_timestamp())::double precision, is_new;
end $$;

-- For messages that are there when a transaction of a caller's commits, any time later: processes that wait now are notified
-- then, and pass it on if they wait no more; if there is none, all are notified. Takes no row of waiters, which would stay
-- locked for so long, and needs no right but to read it.
create or replace function wake_later(q queues, messages integer) returns void language plpgsql as $$
declare
    chosen bigint;
begin
    perform pg_notify(q.channel, '');  -- for processes of earlier versions
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

-- Removes those of these messages that are not held now; returns how many.
create or replace function purge_these(queue_name text, seqs bigint[]) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    keys text[];
    gone integer;
begin
    if q.by_key then
        perform lock_queue(q);
    end if;
    with free as (
        select f.seq from (select s.seq from unnest(seqs) as s (seq) order by s.seq) s cross join lateral (
            select m.seq from messages m
            where m.seq = s.seq and m.queue = q.id and not (m.state = 2 and m.due > at) offset 0 for update
        ) f
    ), done as (
        delete from messages m where m.seq = any (array(select f.seq from free f)) returning m.key
    )
    select count(*), array_agg(distinct d.key) filter (where d.key is not null) into gone, keys from done d;
    if q.max_length is not null and gone > 0 then
        insert into changes (queue, change) values (q.id, -gone);
    end if;
    if q.by_key and keys is not null then
        perform wake(q, bring_forward(q, keys), null);
    end if;
    return gone;
end $$;

-- Removes a queue with all that it holds; returns its number. Of several that do so at once, one finds it.
create or replace function delete_queue(queue_name text) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
begin
    perform lock_queue(q);
    delete from queues where id = q.id;
    if not found then
        q := queue_named(queue_name);  -- which raises, unless it has been declared again
        perform lock_queue(q);
        delete from queues where id = q.id;
    end if;
    delete from consumers where queue = q.id;
    perform wake(q, 1000000, null);  -- they are to hear of it
    delete from waiters where queue = q.id;
    perform delete_rest(q.id);
    insert into deleted (queue, deleted_at) values (q.id, clock_timestamp()) on conflict do nothing;
    return q.id;
end $$;

-- A process that listens gives signs of life less often: its connection says that it is there. After a power failure of its
-- machine that may last; then two minutes without a sign are enough.
create or replace function is_alive(h holders, at timestamptz) returns boolean language sql stable as $$
    select h.seen > at - case when h.pid is null then interval '20 seconds' else interval '2 minutes' end
        and (h.pid is null or exists (
            select 1 from pg_stat_activity a
            where a.pid = h.pid and coalesce(a.backend_start = h.started, true)))
$$;

create or replace function beat(who bigint, pid_now integer) returns boolean language plpgsql as $$
declare
    was_known boolean := exists (select 1 from holders h where h.holder = who);
    at timestamptz := clock_timestamp();
    started_now timestamptz := (select a.backend_start from pg_stat_activity a where a.pid = pid_now);
    q_id integer;
begin
    perform set_config('synchronous_commit', 'off', true);  -- the next one comes soon
    insert into holders (holder, seen, pid, started) values (who, at, pid_now, started_now)
    on conflict (holder) do update set seen = excluded.seen, pid = excluded.pid, started = excluded.started;
    delete from holders h where h.holder = any (array(
        select o.holder from holders o where o.seen < at - interval '10 minutes' for update skip locked));
    delete from waiters w where w.ctid = any (array(
        select o.ctid from waiters o where o.until < at - interval '2 minutes' for update skip locked));
    for q_id in delete from deleted d where d.queue = any (array(
        select o.queue from deleted o where o.deleted_at < at - interval '10 minutes' limit 2000 for update skip locked))
        returning d.queue
    loop
        perform delete_rest(q_id);
    end loop;
    -- Where all is published in transactions of callers, nobody else adds up what came and left.
    for q_id in select c.queue from changes c group by c.queue having count(*) > 1000 loop
        perform 1 from queues q where q.id = q_id for update skip locked;
        if found then
            with gone as (delete from changes c where c.queue = q_id returning c.change)
            update queues q set total = q.total + (select sum(g.change) from gone g) where q.id = q_id;
        end if;
    end loop;
    return was_known;
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('receive', 'look', 'pass_on', 'take', 'purge_these', 'delete_queue', 'beat')
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
