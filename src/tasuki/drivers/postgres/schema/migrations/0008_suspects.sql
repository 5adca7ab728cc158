-- Suspects and recorded starts: an attempt is a failure, not a delivery. Processes of earlier versions go on calling claim,
-- which counts a delivery when it hands it out, as if it recorded each start at once.

-- In the order in which the verbs lock them, so that a migration never meets a running verb in a deadlock.
lock table queues in access exclusive mode;
lock table messages in access exclusive mode;

-- attempts: failures, and the recorded start of the open delivery. token: changes with each delivery and each return.
-- counted: whether attempts contains the open delivery. suspect: whether the last delivery ended without a settlement.
do $$
begin
    if not exists (select 1 from pg_attribute where attrelid = 'messages'::regclass and attname = 'counted') then
        alter table messages
            add column counted boolean not null default false,
            add column suspect boolean not null default false;
        -- Deliveries that are open now were counted when they were handed out.
        update messages set counted = true where due is not null and state = 2;
    end if;
end $$;

-- A lease that ended leaves its token: its holder may still settle, until the message is handed out again.
create or replace function surface(q_id integer, at timestamptz, most integer) returns void language sql as $$
    update messages set state = 0, due = null, suspect = suspect or state = 2 where seq = any (array(
        select seq from messages where queue = q_id and due <= at order by due limit most for update skip locked))
$$;

drop type if exists delivery cascade;  -- the functions that return it are made below
create type delivery as (
    seq bigint, token integer, attempt integer, id text, headers bytea, body bytea, suspect boolean,
    due_in double precision,   -- only if nothing was taken, in a row of nulls: seconds to the next delay or lease
    registered boolean         -- likewise: whether this call noted that a receive waits
);

-- Of each key the first one alone, and nothing while another is held. What stands behind an earlier one of its key
-- leaves the line of the ready ones (state 3) until that one is gone, so that it is looked at once.
create or replace function take_by_key(q queues, most integer, most_bytes bigint, until timestamptz)
returns setof delivery language plpgsql as $$
declare
    looked integer;
    moved integer;
    chosen bigint[];
    look integer := greatest(most, 20);
begin
    for turn in 1..20 loop
        with line as materialized (
            select m.seq, m.rank, m.key, octet_length(m.body) as size from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit look
            for update skip locked
        ), judged as materialized (
            select l.*,
                l.key is not null and exists (
                    select 1 from messages e where e.queue = q.id and e.key = l.key and e.seq < l.seq) as is_behind,
                l.key is not null and exists (
                    select 1 from messages h where h.queue = q.id and h.key = l.key and h.state = 2) as is_blocked
            from line l
        ), demoted as (
            update messages m set state = 3 where m.seq = any (array(select j.seq from judged j where j.is_behind))
        ), fit as (
            select j.seq, sum(j.size) over places - j.size as before, row_number() over places as place
            from judged j where not j.is_behind and not j.is_blocked window places as (order by j.rank, j.seq)
        )
        select count(*), count(*) filter (where j.is_behind),
            array(select f.seq from fit f where f.place <= most and f.before < most_bytes)
        into looked, moved, chosen from judged j;
        return query
        with claims as (
            update messages m set state = 2, token = m.token + 1, counted = false, due = until
            where m.seq = any (chosen) returning m.*
        )
        select c.seq, c.token, c.attempts + 1, c.id, c.headers, c.body, c.suspect,
            null::double precision, null::boolean
        from claims c order by c.rank, c.seq;
        exit when cardinality(chosen) > 0 or looked < look or (moved = 0 and look >= 2000);
        look := greatest(look, least(look * 4, 2000));
    end loop;
end $$;

-- Up to most messages, or one row of nulls that says how long to wait.
create or replace function take(queue_name text, most integer, most_bytes bigint, who bigint, waits double precision)
returns setof delivery language plpgsql as $$
declare
    q queues;
    at timestamptz := clock_timestamp();
    lease_end timestamptz;
    next_due timestamptz;
    is_new boolean := false;
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    lease_end := at + q.lease * interval '1 second';
    if exists (select 1 from messages m where m.queue = q.id and m.due <= at) then
        perform surface(q.id, at, greatest(most, 1000));
    end if;
    if q.by_key then
        perform lock_queue(q);
        q := queue_named(queue_name);  -- it may have changed until the lock was ours
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
    if found then
        return;
    end if;
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

-- For processes of earlier versions, whose consumers record no start.
create or replace function claim(queue_name text, most integer, most_bytes bigint, who bigint, waits double precision)
returns setof claimed language plpgsql as $$
declare
    taken delivery;
begin
    for taken in select * from take(queue_name, most, most_bytes, who, waits) loop
        update messages m set attempts = m.attempts + 1, counted = true where m.seq = taken.seq;
        return next (taken.seq, taken.token, taken.attempt, taken.id, taken.headers, taken.body, taken.due_in,
            taken.registered)::claimed;
    end loop;
end $$;
drop function if exists claim_by_key;

-- Counts deliveries as failures until they are settled. seqs must rise. Returns the places (from 1) of those that were
-- not held with their token.
create or replace function start(queue_name text, seqs bigint[], tokens integer[]) returns integer[] language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    held bigint[];
    places integer[];
begin
    select array_agg(h.seq), array_agg(s.place) into held, places
    from unnest(seqs, tokens) with ordinality as s (seq, token, place) cross join lateral (
        select m.seq from messages m
        where m.seq = s.seq and m.queue = q.id and m.state = 2 and m.token = s.token offset 0 for update
    ) h;
    update messages m set attempts = m.attempts + 1, counted = true where m.seq = any (held) and not m.counted;
    return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
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
    item record;
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.by_key then
        perform lock_queue(q);
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
        if q.by_key and keys is not null then
            back := bring_forward(q, keys);
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
            back := back + 1;
        end loop;
    end if;
    if back > 0 and exists (select 1 from waiters where queue = q.id and until > at) then
        perform pg_notify(q.channel, '');
    end if;
    if coalesce(cardinality(places), 0) = cardinality(seqs) then
        return '{}';
    end if;
    return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
end $$;

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('take', 'claim', 'start', 'settle')
    loop
        execute format('alter function %s set search_path from current', name);
        execute format('alter function %s set plan_cache_mode = force_generic_plan', name);
        execute format('alter function %s set enable_seqscan = off', name);
        execute format('alter function %s set enable_bitmapscan = off', name);
        execute format('alter function %s set enable_hashjoin = off', name);
        execute format('alter function %s set enable_mergejoin = off', name);
        execute format('alter function %s set jit = off', name);
    end loop;
end $$;
