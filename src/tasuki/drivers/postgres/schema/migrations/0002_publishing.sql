-- Declaring and publishing. plpgsql: each verb is one round trip, and one transaction, also through a pooler. To call
-- another function costs as much as a statement, so what every call needs stands in publish, claim and settle themselves.

create or replace function queue_named(queue_name text) returns queues language plpgsql stable as $$
declare
    q queues;
begin
    select * into q from queues where name = queue_name;
    if not found then
        raise exception using errcode = 'TQ404', message = 'the queue is not there';
    end if;
    return q;
end $$;

-- Serialises what must not happen twice at a time in a queue that keeps order per key.
create or replace function lock_queue(q queues) returns void language sql as $$
    select pg_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;

create or replace function declare_queue(
    queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean,
    new_dedup_window double precision
) returns text language plpgsql as $$
declare
    old queues;
    q queues;
begin
    insert into queues (name, lease, max_length, by_key, dedup_window)
        values (queue_name, new_lease, new_max_length, new_by_key, new_dedup_window) on conflict (name) do nothing;
    perform lock_queue(queue_named(queue_name));
    select * into old from queues where name = queue_name for update;
    update queues set lease = new_lease, max_length = new_max_length, by_key = new_by_key,
        dedup_window = new_dedup_window, channel = 'tasuki.' || current_schema() || '.' || old.id
        where id = old.id
        and (channel = '' or (lease, max_length, by_key, dedup_window)
            is distinct from (new_lease, new_max_length, new_by_key, new_dedup_window));
    select * into q from queues where id = old.id;
    if new_max_length is not null and old.max_length is null then
        perform recount(q.id);
    end if;
    if old.by_key and not new_by_key then
        update messages set state = 0 where queue = q.id and state = 3 and key is not null;
    elsif new_by_key and exists (select 1 from messages where queue = q.id and state = 3 and key is not null) then
        -- A line whose front was deleted by hand is shown again.
        update messages set state = 0 where state = 3 and seq = any (array(
            select distinct on (key) seq from messages where queue = q.id and key is not null order by key, seq));
    end if;
    return q.channel;
end $$;

create or replace function recount(q_id integer) returns void language sql as $$
    with gone as (delete from changes where queue = q_id)
    update queues set total = (select count(*) from messages where queue = q_id), counted_at = clock_timestamp()
    where id = q_id
$$;

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
    if q.total + wanted > q.max_length and q.counted_at < at - interval '1 second' then
        perform recount(q.id);
        select * into q from queues where id = q.id;
    end if;
    return q.max_length - q.total;
end $$;

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
        insert into seen (queue, id, at)
            select distinct q.id, m.id, at from unnest(ids, always) with ordinality as m (id, always, place)
            where m.always and m.place <= kept order by m.id
        on conflict (queue, id) do update set at = excluded.at;
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

-- Arrays of one length; those of ranks, keys, delays and always may be null. within: in a transaction of the caller's,
-- which may commit any time later, so whoever waits by then is woken.
create or replace function publish(
    queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[],
    delays double precision[], always boolean[], within boolean
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
    if q.max_length is null and q.dedup_window is null then
        insert into messages (queue, state, rank, due, published_at, key, id, headers, body)
        select q.id, case when m.delay > 0 then 1 else 0 end, coalesce(m.rank, 9),
            case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body
        from unnest(ids, bodies, headers, ranks, keys, delays) as m (id, body, headers, rank, key, delay);
    else
        kept := publish_checked(q, ids, bodies, headers, ranks, keys, delays, always, within, at);
    end if;
    if within or exists (select 1 from waiters where queue = q.id and until > at) then
        perform pg_notify(q.channel, '');
    end if;
    return kept;
end $$;
