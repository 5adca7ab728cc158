-- How many more messages a bounded queue takes. Publishers of such a queue wait for each other here, but not those in
-- a transaction of their own (within): such a transaction may last for any time, so they only read. All,
-- if the bound was removed while they waited.
create or replace function room(q queues, wanted integer, within boolean, at timestamptz) returns bigint language plpgsql as $$
begin
    if within then
        -- One statement: two would both miss a change that is added up between them.
        return (select coalesce(
                o.max_length - o.total - coalesce((select sum(c.change) from changes c where c.queue = o.id), 0), wanted)
            from queues o where o.id = q.id);
    end if;
    perform 1 from queues where id = q.id for update;
    with gone as (delete from changes where queue = q.id returning change)
    update queues set total = total + coalesce((select sum(change) from gone), 0) where id = q.id returning * into q;
    if not found then
        raise exception using errcode = 'TQ404', message = 'the queue was removed just now';
    end if;
    if q.total + wanted > q.max_length and q.counted_at < at - interval '1 second' then
        perform recount(q.id);
        select * into q from queues where id = q.id;
    end if;
    return coalesce(q.max_length - q.total, wanted);
end $$;

-- Publishes to a queue with max_length or dedup_window; returns how many messages, from the first on, are confirmed. always:
-- the message is stored even if its id is known, and the known ids stay as they are.
create or replace function publish_checked(
    q queues, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[],
    always boolean[], within boolean, at timestamptz, lanes text[]
) returns integer language plpgsql as $$
#variable_conflict use_column
declare
    most bigint;
    oldest timestamptz := at - q.dedup_window * interval '1 second';
    kept integer;
    stored integer;
    refused text[];
begin
    most := case when q.max_length is not null then greatest(room(q, cardinality(ids), within, at), 0) end;
    with sent as (
        select m.*, coalesce(m.always, false) or q.dedup_window is null as free,
            row_number() over (partition by m.id, coalesce(m.always, false) order by m.place) as nth
        from unnest(ids, bodies, headers, ranks, keys, delays, always, lanes) with ordinality
            as m (id, body, headers, rank, key, delay, always, lane, place)
    ), marked as (
        insert into seen as s (queue, id, at)
            select q.id, m.id, at from sent m where not m.free and m.nth = 1 order by m.id
        on conflict (queue, id) do update set at = excluded.at where s.at <= oldest
        returning s.id
    ), fresh as (
        select m.*, count(*) over (order by m.place) as number from sent m
        where m.free or (m.nth = 1 and m.id in (select k.id from marked k))
    ), put as (
        insert into messages (queue, state, rank, due, published_at, key, id, headers, body, lane, cause)
        select q.id, case when m.delay > 0 then 1 when m.lane <> '' then 4 else 0 end, coalesce(m.rank, 9),
            case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body,
            nullif(m.lane, ''), cause_in(m.headers)
        from fresh m where most is null or m.number <= most order by m.place
        returning state, lane
    ), arrived as (
        insert into arrivals (queue, lane)
        select distinct q.id, coalesce(p.lane, '') from put p where q.fair > 0 and p.state <> 1
    )
    select (select count(*) from put),
        coalesce(min(m.place) filter (where m.number > most) - 1, cardinality(ids)),
        array_agg(m.id) filter (where m.number > most and not m.free)
    into stored, kept, refused from fresh m;
    if refused is not null then
        delete from seen where queue = q.id and id = any (refused);
    end if;
    if q.dedup_window is not null then
        delete from seen where ctid = any (array(
            select ctid from seen where queue = q.id and at <= oldest order by at limit 2 * cardinality(ids) + 10
            for update skip locked));
    end if;
    if q.max_length is not null and within then
        insert into changes (queue, change) values (q.id, stored);
    elsif q.max_length is not null then
        update queues set total = total + stored where id = q.id;
    end if;
    return kept;
end $$;

-- Arrays of one length; ranks, keys, delays, always and lanes may be null. within: in a transaction of the caller's.
create or replace function publish(
    queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[],
    delays double precision[], always boolean[], within boolean, lanes text[] default null
) returns integer language plpgsql as $$
#variable_conflict use_column
declare
    q queues;
    at timestamptz := clock_timestamp();
    kept integer := cardinality(ids);
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.max_length is null and q.dedup_window is null and q.fair = 0 then
        insert into messages (queue, state, rank, due, published_at, key, id, headers, body, cause)
        select q.id, case when m.delay > 0 then 1 else 0 end, coalesce(m.rank, 9),
            case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body,
            cause_in(m.headers)
        from unnest(ids, bodies, headers, ranks, keys, delays) as m (id, body, headers, rank, key, delay);
    else
        if q.fair = 0 then
            lanes := null;
        elsif q.by_lane then
            lanes := keys;
        end if;
        if q.max_length is null and q.dedup_window is null then
            insert into messages (queue, state, rank, due, published_at, key, id, headers, body, lane, cause)
            select q.id, case when m.delay > 0 then 1 when m.lane <> '' then 4 else 0 end, coalesce(m.rank, 9),
                case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body,
                nullif(m.lane, ''), cause_in(m.headers)
            from unnest(ids, bodies, headers, ranks, keys, delays, lanes) as m (id, body, headers, rank, key, delay, lane);
            if kept > 1 then
                insert into arrivals (queue, lane)
                select distinct q.id, coalesce(m.lane, '') from unnest(ids, delays, lanes) as m (id, delay, lane)
                where not coalesce(m.delay > 0, false);
            elsif not coalesce(delays[1] > 0, false) then
                insert into arrivals (queue, lane) values (q.id, coalesce(lanes[1], ''));
            end if;
        else
            kept := publish_checked(q, ids, bodies, headers, ranks, keys, delays, always, within, at, lanes);
        end if;
    end if;
    if within then
        perform wake_later(q, kept);
        return kept;  -- its caller decides what the commit waits for
    end if;
    if q.synchronous_commit is not null then
        perform set_config('synchronous_commit', q.synchronous_commit, true);
    end if;
    if exists (select 1 from waiters where queue = q.id and until > at) then
        perform wake(q, count(*) filter (where not coalesce(m.delay > 0, false)),
            at + min(m.delay) filter (where m.delay > 0) * interval '1 second')
        from unnest(ids, delays) as m (id, delay);
    end if;
    return kept;
end $$;
