-- Removes up to most messages that are not held; returns how many. A deletion repeats it, so that others are not locked out.
create or replace function clear_queue(queue_name text, most integer) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    keys text[];
    gone integer;
begin
    if q.by_key then
        perform lock_queue(q);
    end if;
    perform surface_due(q, at, 100000);
    with shown as (
        select m.seq from messages m where m.queue = q.id and m.state = 0
        limit most for update skip locked
    ), late as (
        select m.seq from messages m where m.queue = q.id and m.state = 1 and m.due is not null
        limit most for update skip locked
    ), behind as (
        select m.seq from messages m where m.queue = q.id and m.state = 3 and m.key is not null
        limit most for update skip locked
    ), in_lanes as (
        select m.seq from messages m where m.queue = q.id and m.state = 4
        limit most for update skip locked
    ), line as (
        select * from shown union all select * from late union all select * from behind union all select * from in_lanes
    ), done as (
        delete from messages m where m.seq = any (array(select l.seq from line l limit most)) returning m.key
    )
    select count(*), array_agg(distinct d.key) filter (where d.key is not null) into gone, keys from done d;
    if q.max_length is not null and gone > 0 then
        insert into changes (queue, change) values (q.id, -gone);
    end if;
    if q.by_key and keys is not null then
        perform bring_forward(q, keys);
    end if;
    return gone;
end $$;

-- Removes these messages unless they are held now; returns how many. A purge passes the messages that it saw at its start:
-- messages published meanwhile stay.
create or replace function purge_these(queue_name text, seqs bigint[]) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    at timestamptz := clock_timestamp();
    keys text[];
    lanes text[];
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
        delete from messages m where m.seq = any (array(select f.seq from free f)) returning m.key, m.lane
    )
    select count(*), array_agg(distinct d.key) filter (where d.key is not null),
        array_agg(distinct coalesce(d.lane, '')) filter (where q.fair > 0)
    into gone, keys, lanes from done d;
    if q.max_length is not null and gone > 0 then
        insert into changes (queue, change) values (q.id, -gone);
    end if;
    if q.by_key and keys is not null then
        perform wake(q, bring_forward(q, keys), null);
    end if;
    if lanes is not null then  -- with order per key, the next ones may be ready now
        insert into arrivals (queue, lane) select q.id, a.lane from unnest(lanes) as a (lane);
        perform wake(q, ready_lanes(q, lanes), null);
    end if;
    return gone;
end $$;

-- Takes waiting messages out of a queue and stores messages in another one, each for the one of the same place in the arrays.
-- Returns for each 0: done, 1: no message of the sought id waits at seqs, 2: no room. always must be true for all. Locks are taken in
-- the order of a move: a bounded target, then the ordering of the source; within one queue in the order of a declaration.
create or replace function transfer(
    queue_name text, target text, seqs bigint[], sought text[],
    ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[],
    lanes text[] default null
) returns integer[] language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    t queues := queue_named(target);
    at timestamptz := clock_timestamp();
    count integer := cardinality(seqs);
    most bigint := count;
    free integer[];
    done integer[];
    kept integer;
begin
    if q.by_key and q.id = t.id then
        perform lock_queue(q);
    end if;
    if t.max_length is not null then
        most := greatest(room(t, count, false, at), -1);
        -- Each leaves its place to the one that is stored for it.
        most := case when q.id <> t.id then greatest(most, 0) when most >= 0 then count else 0 end;
    end if;
    if q.by_key then
        perform lock_queue(q);
    end if;
    select coalesce(array_agg(f.place order by f.place), '{}') into free from (
        select s.place
        from (select * from unnest(seqs, sought) with ordinality as u (seq, id, place) order by u.seq) s
        cross join lateral (
            select m.seq from messages m
            where m.seq = s.seq and m.queue = q.id and m.id = s.id and not (m.state = 2 and m.due > at)
            offset 0 for update
        ) l) f;
    done := free[1 : least(most, count)];
    if cardinality(done) = count then
        perform purge_these(queue_name, seqs);
        kept := publish(target, ids, bodies, headers, ranks, keys, delays, always, false, lanes);
    elsif cardinality(done) > 0 then
        perform purge_these(queue_name, array(select seqs[d.place] from unnest(done) as d (place)));
        select publish(
            target, array_agg(ids[d.place]), array_agg(bodies[d.place]), array_agg(headers[d.place]),
            case when ranks is not null then array_agg(ranks[d.place]) end,
            case when keys is not null then array_agg(keys[d.place]) end,
            case when delays is not null then array_agg(delays[d.place]) end, array_agg(always[d.place]), false,
            case when lanes is not null then array_agg(lanes[d.place]) end)
        into kept from unnest(done) as d (place);
    else
        kept := 0;
    end if;
    if kept < cardinality(done) then
        raise exception using errcode = '40001', message = 'the queue was declared with a smaller bound just now';
    end if;
    return array(select case when p.place = any (done) then 0 when p.place = any (free) then 2 else 1 end
        from generate_series(1, count) as p (place));
end $$;

-- Called again after the commit: a publish may have run meanwhile. Does nothing if a queue has the number: the server was
-- set back to an earlier state, and numbers come a second time.
create or replace function delete_rest(q_id integer) returns void language plpgsql as $$
begin
    if exists (select 1 from queues where id = q_id) then
        return;
    end if;
    delete from messages where queue = q_id and state = 0;
    delete from messages where queue = q_id and due is not null;
    delete from messages where queue = q_id and state = 3 and key is not null;
    delete from messages where queue = q_id and state = 4;
    delete from gates where queue = q_id;
    delete from arrivals where queue = q_id;
    delete from lanes where queue = q_id;
    delete from changes where queue = q_id;
    delete from seen where queue = q_id;
    delete from uniques where queue = q_id;
end $$;

-- Removes a queue with all that it holds; returns its number. If several callers remove it at once, one succeeds.
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
    perform wake(q, 1000000, null);  -- their receives end
    delete from waiters where queue = q.id;
    perform delete_rest(q.id);
    insert into deleted (queue, deleted_at) values (q.id, clock_timestamp()) on conflict do nothing;
    return q.id;
end $$;
