-- Counts deliveries as failures until they are settled. seqs must rise. Returns the places (from 1) of the deliveries that
-- were not held with their token.
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

-- Does not wait for a transaction that has settled some of the deliveries and is still open: those count as held, until it
-- commits.
create or replace function extend(queue_name text, seqs bigint[], tokens integer[], lease double precision)
returns integer[] language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    held bigint[];
begin
    select array_agg(h.seq) into held
    from unnest(seqs, tokens) as s (seq, token) cross join lateral (
        select m.seq from messages m
        where m.seq = s.seq and m.queue = q.id and m.state = 2 and m.token = s.token offset 0 for update skip locked
    ) h;
    update messages m set due = clock_timestamp() + extend.lease * interval '1 second' where m.seq = any (held);
    if cardinality(held) = cardinality(seqs) then
        return '{}';
    end if;
    return array(select s.place from unnest(seqs, tokens) with ordinality as s (seq, token, place)
        where not exists (select 1 from messages m
            where m.seq = s.seq and m.queue = q.id and m.state = 2 and m.token = s.token));
end $$;

-- acts: 0 ack, 1 nack, 2 release, 3 the holder closes; null: all are acks. seqs must rise. Returns the places (from 1) of
-- the deliveries that were settled, returned or made again since. A nack counts once, with or without a recorded start.
-- within: in a transaction of the caller's, which commits at any later time.
create or replace function settle(
    queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], within boolean
) returns integer[] language plpgsql as $$
declare
    q queues;
    at timestamptz := clock_timestamp();
    places integer[];
    acked bigint[];
    keys text[];
    gone integer := 0;
    back integer := 0;
    soonest double precision;
    freed integer := 0;
    item record;
begin
    select * into q from queues where name = queue_name;
    if not found then
        q := queue_named(queue_name);  -- which raises
    end if;
    if q.by_key then
        perform keep_ordering(q);
    end if;
    select array_agg(s.place), array_agg(h.seq) filter (where coalesce(s.act, 0) = 0) into places, acked
    from unnest(seqs, tokens, acts) with ordinality as s (seq, token, act, place) cross join lateral (
        select m.seq from messages m where m.seq = s.seq and m.queue = q.id and m.token = s.token offset 0 for update
    ) h;
    if q.limited and places is not null and (
        acts is not null or q.concurrency is not null or q.lane_concurrency is not null or q.by_lane) then
        freed := leave_places(q, seqs, tokens, acts, delays, within);
    end if;
    if acked is not null then
        with done as (delete from messages m where m.seq = any (acked) returning m.key)
        select count(*), array_agg(d.key) filter (where d.key is not null) into gone, keys from done d;
        if q.max_length is not null then
            insert into changes (queue, change) values (q.id, -gone);
        end if;
        if q.by_lane and q.change_at is not null and keys is not null then
            perform bring_into_lanes(q, keys);
        end if;
        if not q.by_key then
            keys := null;
        elsif keys is not null then
            perform advance(q, keys);
        end if;
    end if;
    if gone < coalesce(cardinality(places), 0) then
        for item in select * from unnest(seqs, acts, delays) with ordinality as s (seq, act, delay, place)
            where s.act > 0 and s.place = any (places) loop
            update messages m set
                state = case when item.delay > 0 then 1 when lane_of(q, m.key, m.lane) <> '' then 4 else 0 end,
                lane = nullif(lane_of(q, m.key, m.lane), ''),
                due = case when item.delay > 0 then at + item.delay * interval '1 second' end,
                token = 0,
                attempts = m.attempts + case item.act
                    when 1 then case when m.counted then 0 else 1 end
                    when 2 then case when m.counted then -1 else 0 end
                    else 0 end,
                suspect = case item.act when 1 then false when 2 then m.suspect else true end,
                counted = false
            where m.seq = item.seq;
            if item.delay > 0 then
                soonest := least(soonest, item.delay);
            else
                back := back + 1;
            end if;
        end loop;
    end if;
    if within then
        if back > 0 or soonest is not null or keys is not null or freed > 0 then
            perform wake_later(
                q, (back + freed + ready_keys(q, keys) + (soonest is not null)::integer)::integer);
        end if;
    elsif (back > 0 or soonest is not null or keys is not null or freed > 0)
        and exists (select 1 from waiters where queue = q.id and until > at) then
        perform wake(q, back + freed + ready_keys(q, keys), at + soonest * interval '1 second');
    end if;
    if coalesce(cardinality(places), 0) = cardinality(seqs) then
        return '{}';
    end if;
    return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
end $$;

-- Locks deliveries that the caller's transaction will settle: renewals of their leases leave the rows alone from here on. Raises as
-- settle_within does. At another level than READ COMMITTED no later statement sees which message follows in its key.
create or replace function hold_within(queue_name text, seqs bigint[], tokens integer[]) returns integer language plpgsql as $$
declare
    q queues := queue_named(queue_name);
    held integer;
begin
    if q.by_key and current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = '0A000',
            message = 'messages of a queue with ordering: key are settled in transactions at READ COMMITTED alone';
    end if;
    select count(*) into held from unnest(seqs, tokens) as s (seq, token) cross join lateral (
        select 1 from messages m where m.seq = s.seq and m.queue = q.id and m.token = s.token offset 0 for update
    ) h;
    if held < cardinality(seqs) then
        raise exception using errcode = 'TQ410', message = 'a delivery has ended already: nothing is committed';
    end if;
    return held;
end $$;

-- Raises if a delivery was not held with its token: then the transaction can only be rolled back.
create or replace function settle_within(
    queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[]
) returns integer language plpgsql as $$
begin
    if settle(queue_name, seqs, tokens, acts, delays, true) <> '{}' then
        raise exception using errcode = 'TQ410', message = 'a delivery has ended already: nothing is committed';
    end if;
    return cardinality(seqs);
end $$;

-- Claims a key of a consumer until the caller's transaction ends, and remembers it for ttl seconds if that commits. Returns
-- null, or the result that the key has. Waits for another transaction that claims it, for patience seconds.
create or replace function claim(consumer_id text, wanted text, ttl double precision, patience double precision)
returns bytea language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
    timeout text := current_setting('lock_timeout');
    remembered bytea;
begin
    delete from inbox i where i.ctid = any (array(
        select o.ctid from inbox o where o.until <= at order by o.until limit 10 for update skip locked));
    perform set_config('lock_timeout', ceil(patience * 1000)::text, true);
    insert into inbox as i (consumer, key, until) values (consumer_id, wanted, at + ttl * interval '1 second')
    on conflict (consumer, key) do update set until = excluded.until, result = null where i.until <= at;
    if not found then
        select coalesce(i.result, '') into remembered from inbox i where i.consumer = consumer_id and i.key = wanted;
    end if;
    perform set_config('lock_timeout', timeout, true);
    return remembered;
end $$;

create or replace function remember(consumer_id text, wanted text, what bytea) returns integer language plpgsql as $$
begin
    update inbox set result = what where consumer = consumer_id and key = wanted;
    return 1;
end $$;

-- As settle; errors: of the nacks that have one. Those rows are locked by then.
create or replace function settle_with_errors(
    queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], errors bytea[]
) returns integer[] language plpgsql as $$
declare
    stale integer[] := settle(queue_name, seqs, tokens, acts, delays, false);
    item record;
begin
    for item in select * from unnest(seqs, errors) with ordinality as e (seq, error, place)
        where e.error is not null and e.place <> all (stale) loop
        update messages m set error = item.error, failed_at = clock_timestamp() where m.seq = item.seq;
    end loop;
    return stale;
end $$;

-- Ends deliveries of one queue and stores messages in another, each with its own: of move i the next sizes[i] messages.
-- seqs must rise. Returns for each move 0: done, 1: stale, 2: no room. The publish comes first: it locks a bounded queue,
-- and a deletion locks in that order too.
create or replace function move(
    queue_name text, target text, seqs bigint[], tokens integer[], sizes integer[],
    ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[],
    lanes text[] default null
) returns integer[] language plpgsql as $$
declare
    answers integer[] := '{}';
    first integer := 1;
    last integer;
begin
    begin
        if publish(target, ids, bodies, headers, ranks, keys, delays, always, false, lanes) < cardinality(ids) then
            raise exception using errcode = 'TQ507';
        end if;
        if settle(queue_name, seqs, tokens, null, null, false) <> '{}' then
            raise exception using errcode = 'TQ410';
        end if;
        return array_fill(0, array[cardinality(seqs)]);
    exception
        when sqlstate 'TQ410' then
            if cardinality(seqs) = 1 then
                return '{1}';
            end if;
        when sqlstate 'TQ507' then
            if cardinality(seqs) = 1 then
                return case when exists (
                    select 1 from messages m join queues q on q.id = m.queue
                    where m.seq = seqs[1] and m.token = tokens[1] and q.name = queue_name) then '{2}' else '{1}' end;
            end if;
    end;
    for place in 1 .. cardinality(seqs) loop
        last := first + sizes[place] - 1;
        answers := answers || move(
            queue_name, target, seqs[place:place], tokens[place:place], sizes[place:place],
            ids[first:last], bodies[first:last], headers[first:last], ranks[first:last], keys[first:last],
            delays[first:last], always[first:last], lanes[first:last]);
        first := last + 1;
    end loop;
    return answers;
end $$;
