-- A message that is stored although its id is known (always) changes nothing in what is remembered.
-- Of one queue with max_length or dedup_window. Returns how many messages, from the first on, are confirmed.
create or replace function publish_checked(
    q queues, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[],
    always boolean[], within boolean, at timestamptz
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
        from unnest(ids, bodies, headers, ranks, keys, delays, always) with ordinality
            as m (id, body, headers, rank, key, delay, always, place)
    ), marked as (
        insert into seen as s (queue, id, at)
            select q.id, m.id, at from sent m where not m.free and m.nth = 1 order by m.id
        on conflict (queue, id) do update set at = excluded.at where s.at <= oldest
        returning s.id
    ), fresh as (
        select m.*, count(*) over (order by m.place) as number from sent m
        where m.free or (m.nth = 1 and m.id in (select k.id from marked k))
    ), put as (
        insert into messages (queue, state, rank, due, published_at, key, id, headers, body)
        select q.id, case when m.delay > 0 then 1 else 0 end, coalesce(m.rank, 9),
            case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body
        from fresh m where most is null or m.number <= most order by m.place
        returning 1
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

-- How many more messages a bounded queue takes. Publishers of such a queue wait for each other here, but not those in
-- a transaction of their own (within): how long that takes is not ours to say, so they only look.
create or replace function room(q queues, wanted integer, within boolean, at timestamptz) returns bigint language plpgsql as $$
begin
    if within then
        -- One statement: what was added up between two would be seen in neither.
        return (select o.max_length - o.total - coalesce((select sum(c.change) from changes c where c.queue = o.id), 0)
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
    return q.max_length - q.total;
end $$;
