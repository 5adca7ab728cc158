-- Publishes messages of which some are unique by a key. A row of uniques points to the message that was stored last for its key;
-- where that message is now says whether it has the key, so nothing else has to change the row.
--
-- Locks, in this order: a bounded queue, the rows of the keys by key, the waiting messages of the keys by seq. One publisher of a
-- key goes at a time. A message that is waited for here is being taken: to skip it would store another one beside it. A
-- message that is kept cannot start before the publisher's commit; a held one is not locked, for its holder must settle.

-- All functions are in plpgsql, which keeps their plans; a function in SQL is planned at each call.
create or replace function lock_unique(q queues, next text) returns void language plpgsql as $$
begin
    perform 1 from uniques where queue = q.id and key = next for update;
    if not found then
        insert into uniques (queue, key, seq, id) values (q.id, next, 0, '')
        on conflict (queue, key) do update set seq = uniques.seq;
    end if;
end $$;

-- Returns the keys that other transactions keep locked: one of a caller's may do so for any time. patience: seconds to wait for
-- the keys of a publish, which several callers may share; null: wait as the session does, and raise.
create or replace function lock_keys(q queues, wanted text[], patience double precision) returns text[] language plpgsql as $$
declare
    old_timeout text := current_setting('lock_timeout');
    ordered text[] := array(select distinct w.key collate "C" from unnest(wanted) as w (key) where w.key is not null order by 1);
    busy text[] := '{}';
    next text;
begin
    if patience is null then
        foreach next in array ordered loop
            perform lock_unique(q, next);
        end loop;
        return busy;
    end if;
    perform set_config('lock_timeout', ceil(patience * 1000)::text, true);
    begin
        foreach next in array ordered loop
            perform lock_unique(q, next);
        end loop;
    exception when lock_not_available then
        perform set_config('lock_timeout', '5ms', true);
        foreach next in array ordered loop
            begin
                perform lock_unique(q, next);
            exception when lock_not_available then
                busy := busy || next;
            end;
        end loop;
    end;
    perform set_config('lock_timeout', old_timeout, true);
    return busy;
end $$;

-- Locks the waiting messages of these keys. A lease that has ended counts as waiting: the message may come back at any time.
create or replace function lock_waiting(q queues, wanted text[], at timestamptz) returns void language plpgsql as $$
begin
    perform count(*) from (
        select u.seq from uniques u where u.queue = q.id and u.key = any (wanted) order by u.seq
    ) s cross join lateral (
        select 1 from messages m
        where m.seq = s.seq and m.queue = q.id and not (m.state = 2 and m.due > at) offset 0 for update
    ) l;
end $$;

-- Locks ids in their order, so that no two publishers of the same ones wait for each other in a circle. A new one gets a row that
-- says nothing yet: its time has passed.
create or replace function lock_ids(q queues, ids text[], always boolean[]) returns void language plpgsql as $$
begin
    insert into seen as s (queue, id, at)
        select distinct q.id, i.id, '-infinity'::timestamptz from unnest(ids, always) as i (id, always)
        where not coalesce(i.always, false) order by 2
    on conflict (queue, id) do update set at = s.at;
end $$;

-- Removes some rows that point to nothing and keep no window, in a few blocks of the table picked at random. The message of
-- each is read by itself: joined with them, a table of messages that was empty at its last ANALYZE would be read as a whole.
create or replace function sweep_uniques(at timestamptz) returns void language plpgsql as $$
begin
    delete from uniques where ctid = any (array(
        select u.ctid from uniques u where u.ctid = any (array(
            select s.ctid from uniques s tablesample system (
                least(100, 2000.0 / greatest(pg_relation_size('uniques') / current_setting('block_size')::bigint, 1))) limit 500))
        and coalesce(u.until <= at, true) and (select m.seq from messages m where m.seq = u.seq and m.queue = u.queue) is null
        for update skip locked));
end $$;

-- Arrays of one length; ranks, keys, delays and always may be null, and unique_keys where a message is not unique. spans: seconds,
-- -1 pending, -2 running. acts: 0 keep, 1 replace, 2 extend. Returns JSON: one [how, other id] for each message from the
-- start up to the first without room; nulls where it is stored. answers_busy: a message whose key another transaction keeps
-- is not waited for, but answered with 'busy' and its key.
create or replace function publish_unique(
    queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[],
    delays double precision[], always boolean[], within boolean,
    unique_keys text[], spans double precision[], acts smallint[], latests double precision[], lanes text[] default null,
    answers_busy boolean default false
) returns text language plpgsql as $$
#variable_conflict use_column
declare
    q queues;
    at timestamptz := clock_timestamp();
    oldest timestamptz;
    most bigint := 9223372036854775807;
    u uniques;
    item record;
    other record;
    waits boolean;
    has_key boolean;
    hides_until timestamptz;
    new_seq bigint;
    stored integer := 0;
    ready integer := 0;
    soonest timestamptz;
    hows text[] := '{}';
    others text[] := '{}';
    arrived text[] := '{}';
    busy text[];
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.fair = 0 then
        lanes := null;
    elsif q.by_lane then
        lanes := keys;
    end if;
    oldest := at - q.dedup_window * interval '1 second';
    if q.max_length is not null then
        most := greatest(room(q, cardinality(ids), within, at), 0);
    end if;
    busy := lock_keys(q, unique_keys,
        case when answers_busy then case when cardinality(ids) > 1 then 0.05 else 1 end end);
    perform lock_waiting(q, array(select w.key from unnest(unique_keys) as w (key) where w.key <> all (busy)), at);
    if q.dedup_window is not null then
        perform lock_ids(q, ids, always);
    end if;
    at := clock_timestamp();  -- it may have waited
    for item in
        select * from unnest(ids, bodies, headers, ranks, keys, delays, always, unique_keys, spans, acts, latests, lanes)
            with ordinality as s (id, body, headers, rank, key, delay, always, unique_key, span, act, latest, lane, place)
        order by s.place
    loop
        hides_until := case when item.delay > 0 then at + item.delay * interval '1 second' end;
        if item.unique_key = any (busy) then
            hows := hows || 'busy'::text;
            others := others || item.unique_key;
            continue;
        elsif item.unique_key is not null then
            select * into u from uniques where queue = q.id and key = item.unique_key;
            select m.seq, m.published_at, m.state, m.due, m.key, m.lane into other from messages m where m.seq = u.seq and m.queue = q.id;
            waits := other.seq is not null and not (other.state = 2 and other.due > at);
            has_key := case item.span
                when -1 then waits when -2 then other.seq is not null else coalesce(u.until > at, false) end;
            if has_key and (item.act = 0 or not waits) then
                hows := hows || 'kept'::text;
                others := others || u.id;
                continue;
            end if;
        else
            has_key := false;
        end if;
        if q.dedup_window is not null and not coalesce(item.always, false) then
            if exists (select 1 from seen s where s.queue = q.id and s.id = item.id and s.at > oldest) then
                hows := hows || null::text;
                others := others || null::text;
                continue;
            end if;
            exit when most <= 0 and not has_key;
            insert into seen as s (queue, id, at) values (q.id, item.id, at)
            on conflict (queue, id) do update set at = excluded.at where s.at <= oldest;
            if not found then  -- published by another one just now
                hows := hows || null::text;
                others := others || null::text;
                continue;
            end if;
        end if;
        if has_key then
            if item.act = 2 then
                hides_until := least(
                    coalesce(hides_until, at), other.published_at + item.latest * interval '1 second');
            else
                hides_until := case when other.state = 1 then other.due end;
            end if;
            if hides_until <= at and item.act = 2 then
                hides_until := null;
            end if;
            update messages m set
                id = item.id, headers = item.headers, cause = cause_in(item.headers), body = item.body, attempts = 0, counted = false, suspect = false,
                error = null, failed_at = null, token = 0, due = hides_until,
                state = case when hides_until is not null then 1 when m.state = 3 then 3
                    when lane_of(q, m.key, m.lane) <> '' then 4 else 0 end,
                lane = nullif(lane_of(q, m.key, m.lane), '')
            where m.seq = other.seq;
            update uniques set id = item.id where queue = q.id and key = item.unique_key;
            arrived := arrived || lane_of(q, other.key, other.lane);  -- with order per key, the next one may be ready now
            hows := hows || case item.act when 1 then 'replaced' else 'extended' end::text;
            others := others || u.id;
        else
            exit when most <= 0;
            insert into messages (queue, state, rank, due, published_at, key, id, headers, body, lane, cause)
            values (q.id, case when hides_until is not null then 1 when item.lane <> '' then 4 else 0 end,
                coalesce(item.rank, 9), hides_until, at, item.key, item.id, item.headers, item.body, nullif(item.lane, ''),
                cause_in(item.headers))
            returning seq into new_seq;
            if hides_until is null then
                arrived := arrived || coalesce(item.lane, '');
            end if;
            most := most - 1;
            stored := stored + 1;
            if item.unique_key is not null then
                update uniques set seq = new_seq, id = item.id,
                    until = case when item.span > 0 then at + item.span * interval '1 second' end
                where queue = q.id and key = item.unique_key;
            end if;
            hows := hows || null::text;
            others := others || null::text;
        end if;
        ready := ready + case when hides_until is null then 1 else 0 end;
        soonest := least(soonest, hides_until);
    end loop;
    if q.dedup_window is not null then  -- of messages that were not stored
        delete from seen where queue = q.id and id = any (ids) and at = '-infinity';
    end if;
    if q.fair > 0 then
        insert into arrivals (queue, lane) select distinct q.id, a.lane from unnest(arrived) as a (lane);
    end if;
    if q.max_length is not null and within then
        insert into changes (queue, change) values (q.id, stored);
    elsif q.max_length is not null then
        update queues set total = total + stored where id = q.id;
    end if;
    if within then
        perform wake_later(q, ready + case when soonest is null then 0 else 1 end);
    else
        if q.dedup_window is not null then
            delete from seen where ctid = any (array(
                select ctid from seen where queue = q.id and at <= oldest order by at limit 2 * cardinality(ids) + 10
                for update skip locked));
        end if;
        if random() * 50 < cardinality(ids) then
            perform sweep_uniques(at);
        end if;
        if q.synchronous_commit is not null then
            perform set_config('synchronous_commit', q.synchronous_commit, true);
        end if;
        if exists (select 1 from waiters where queue = q.id and until > at) then
            perform wake(q, ready, soonest);
        end if;
    end if;
    return (select coalesce(json_agg(json_build_array(a.how, a.other) order by a.place), '[]')::text
        from unnest(hows, others) with ordinality as a (how, other, place));
end $$;
