-- Claiming, settling, extending. Rows are always reached by seq = any (array(...)): the plan is the same for an empty
-- table and for a million rows. Those that wait for row locks take them in the order of seq.

-- What is due comes back into line.
create or replace function surface(q_id integer, at timestamptz, most integer) returns void language sql as $$
    update messages set state = 0, due = null where seq = any (array(
        select seq from messages where queue = q_id and due <= at order by due limit most for update skip locked))
$$;

drop type if exists claimed cascade;  -- the functions that return it are made below
create type claimed as (
    seq bigint, token integer, attempt integer, id text, headers bytea, body bytea,
    due_in double precision,   -- only if nothing was claimed, in a row of nulls: seconds to the next delay or lease
    registered boolean         -- likewise: whether this call noted that somebody waits
);

-- Of each key the first one alone, and nothing while another is held. What stands behind an earlier one of its key
-- leaves the line of the ready ones (state 3) until that one is gone, so that it is looked at once.
create or replace function claim_by_key(q queues, most integer, most_bytes bigint, until timestamptz)
returns setof claimed language plpgsql as $$
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
            update messages m set state = 2, token = m.token + 1, attempts = m.attempts + 1, due = until
            where m.seq = any (chosen) returning m.*
        )
        select c.seq, c.token, c.attempts, c.id, c.headers, c.body, null::double precision, null::boolean
        from claims c order by c.rank, c.seq;
        exit when cardinality(chosen) > 0 or looked < look or (moved = 0 and look >= 2000);
        look := greatest(look, least(look * 4, 2000));
    end loop;
end $$;

-- Up to most messages, or one row of nulls that says how long to wait.
create or replace function claim(queue_name text, most integer, most_bytes bigint, who bigint, waits double precision)
returns setof claimed language plpgsql as $$
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
        return query select * from claim_by_key(q, most, most_bytes, lease_end);
    else
        return query
        with line as (
            select m.seq, m.rank, octet_length(m.body) as size from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit most for update skip locked
        ), taken as (
            update messages m set state = 2, token = m.token + 1, attempts = m.attempts + 1, due = lease_end
            where m.seq = any (array(select s.seq from (
                select l.seq, sum(l.size) over (order by l.rank, l.seq) - l.size as before from line l) s
                where s.before < most_bytes))
            returning m.*
        )
        select t.seq, t.token, t.attempts, t.id, t.headers, t.body, null::double precision, null::boolean
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
        extract(epoch from next_due - clock_timestamp())::double precision, is_new;
end $$;

-- The first that stands behind comes forward, for each of these keys.
create or replace function bring_forward(q queues, keys text[]) returns integer language plpgsql as $$
declare
    moved integer;
begin
    update messages m set state = 0 where m.seq = any (array(
        select (select b.seq from messages b where b.queue = q.id and b.key = k.key and b.state = 3
            order by b.seq limit 1)
        from (select distinct unnest(keys) as key) k));
    get diagnostics moved = row_count;
    return moved;
end $$;

-- acts: 0 ack, 1 nack, 2 release; null: all are acks. seqs must rise. Returns the places (from 1) of those that were
-- not held with their token.
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
        select m.seq from messages m
        where m.seq = s.seq and m.queue = q.id and m.state = 2 and m.token = s.token offset 0 for update
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
                attempts = m.attempts - case when item.act = 2 then 1 else 0 end
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

create or replace function extend(queue_name text, seqs bigint[], tokens integer[], lease double precision)
returns integer[] language plpgsql as $$
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
    update messages m set due = clock_timestamp() + extend.lease * interval '1 second' where m.seq = any (held);
    return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
end $$;
