-- Counting, showing, purging; and who is there.

create or replace function depth(
    queue_name text, out ready bigint, out in_flight bigint, out delayed bigint, out oldest_age double precision,
    out consumer_count bigint
) language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    oldest timestamptz;
    last_rank smallint := -1;
    first_at timestamptz;
begin
    select count(*) filter (where m.due <= at), count(*) filter (where m.due > at and m.state = 2),
        count(*) filter (where m.due > at and m.state = 1), min(m.published_at) filter (where m.due <= at)
    into ready, in_flight, delayed, oldest from messages m where m.queue = q.id and m.due is not null;
    ready := ready + (select count(*) from messages m where m.queue = q.id and m.state = 0);
    if q.by_key then
        ready := ready
            + (select count(*) from messages m where m.queue = q.id and m.key is not null and m.state = 3);
    end if;
    -- One seek a priority: the first of each is its oldest.
    loop
        select m.rank, m.published_at into last_rank, first_at from messages m
        where m.queue = q.id and m.state = 0 and m.rank > last_rank order by m.rank, m.seq limit 1;
        exit when not found;
        oldest := least(oldest, first_at);
    end loop;
    oldest_age := case when oldest is not null then greatest(extract(epoch from at - oldest), 0) end;
    select coalesce(sum(c.count), 0) into consumer_count from consumers c join holders h using (holder)
    where c.queue = q.id and is_alive(h, at);
end $$;

create or replace function is_alive(h holders, at timestamptz) returns boolean language sql stable as $$
    select h.seen > at - interval '20 seconds' and (h.pid is null or exists (
        select 1 from pg_stat_activity a
        where a.pid = h.pid and coalesce(a.backend_start = h.started, true)))
$$;

-- Receivable ones in order, those behind their key, delayed ones by their time.
create or replace function peek(queue_name text, most integer, after integer)
returns table (id text, headers bytea, body bytea) language plpgsql as $$
#variable_conflict use_column
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
begin
    perform surface(q.id, at, 10000);
    return query
    with line as materialized (
        (select 0 as part, m.rank, m.due, ''::text as key, m.seq from messages m
            where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit after + most)
        union all
        (select 1, 0::smallint, m.due, m.key, m.seq from messages m
            where m.queue = q.id and m.state = 3 and m.key is not null order by m.key, m.seq limit after + most)
        union all
        (select 2, 0::smallint, m.due, '', m.seq from messages m
            where m.queue = q.id and m.state = 1 and m.due is not null order by m.due, m.seq limit after + most)
    ), shown as materialized (
        select * from line l order by l.part, l.rank, l.due, l.key, l.seq offset after limit most
    )
    select f.id, f.headers, f.body from shown s cross join lateral (
        select m.id, m.headers, m.body from messages m where m.seq = s.seq offset 0
    ) f order by s.part, s.rank, s.due, s.key, s.seq;
end $$;

create or replace function newest() returns bigint language sql stable as $$
    select coalesce(max(seq), 0) from messages
$$;

-- Removes up to most messages that are not held, of those up to a seq; returns how many.
create or replace function purge(queue_name text, newest bigint, most integer) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    keys text[];
    gone integer;
begin
    if q.by_key then
        perform lock_queue(q);
    end if;
    perform surface(q.id, at, 100000);
    with shown as (
        select m.seq from messages m where m.queue = q.id and m.state = 0 and m.seq <= newest
        limit most for update skip locked
    ), late as (
        select m.seq from messages m where m.queue = q.id and m.state = 1 and m.due is not null and m.seq <= newest
        limit most for update skip locked
    ), behind as (
        select m.seq from messages m where m.queue = q.id and m.state = 3 and m.key is not null and m.seq <= newest
        limit most for update skip locked
    ), line as (
        select * from shown union all select * from late union all select * from behind
    ), done as (
        delete from messages m where m.seq = any (array(select l.seq from line l limit most)) returning m.key
    )
    select count(*), array_agg(distinct d.key) filter (where d.key is not null) into gone, keys from done d;
    if q.max_length is not null and gone > 0 then
        insert into changes (queue, change) values (q.id, -gone);
    end if;
    if q.by_key and keys is not null then
        if bring_forward(q, keys) > 0 then
            perform pg_notify(q.channel, '');
        end if;
    end if;
    return gone;
end $$;

-- Removes a queue with all that it holds; returns its number.
create or replace function delete_queue(queue_name text) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
begin
    perform lock_queue(q);
    delete from queues where id = q.id;
    delete from consumers where queue = q.id;
    delete from waiters where queue = q.id;
    perform delete_rest(q.id);
    insert into deleted (queue, deleted_at) values (q.id, clock_timestamp());
    perform pg_notify(q.channel, '');
    return q.id;
end $$;

-- Called once more after the commit: somebody may have published meanwhile.
create or replace function delete_rest(q_id integer) returns void language sql as $$
    delete from messages where queue = q_id and state = 0;
    delete from messages where queue = q_id and due is not null;
    delete from messages where queue = q_id and state = 3 and key is not null;
    delete from changes where queue = q_id;
    delete from seen where queue = q_id
$$;

-- A sign of life, and the end of what gave none for long. pid_now: of the connection that listens, or null. Returns
-- whether it was known.
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
        select o.holder from holders o where o.seen < at - interval '2 minutes' for update skip locked));
    delete from waiters w where w.ctid = any (array(
        select o.ctid from waiters o where o.until < at - interval '2 minutes' for update skip locked));
    for q_id in delete from deleted d where d.queue = any (array(
        select o.queue from deleted o where o.deleted_at < at - interval '10 minutes' for update skip locked))
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

create or replace function attach(queue_name text, who bigint, consumer_count integer) returns void language plpgsql as $$
declare
    q queues := queue_named(queue_name);
begin
    insert into holders (holder, seen) values (who, clock_timestamp()) on conflict (holder) do nothing;
    insert into consumers (queue, holder, count) values (q.id, who, consumer_count)
    on conflict (queue, holder) do update set count = excluded.count;
end $$;

create or replace function leave(who bigint) returns void language plpgsql as $$
begin
    delete from holders where holder = who;
    delete from waiters w where w.holder = who;
end $$;
