-- Takes up to most messages from lanes: of the one whose turn it is, at most fair before the next has its turn. Returns their seqs
-- in that order. Each round locks some lanes, picks messages of each in a later statement, takes the first ones by turn, and moves
-- the lanes on: an empty one goes, unless its rate has not recovered, and one that must wait is parked. has_locked: whether this
-- transaction has locked lanes; only if it has not may it wait for one.
create or replace function take_in_turns(
    q queues, most integer, most_bytes bigint, lease double precision, has_locked boolean, who bigint
) returns bigint[] language plpgsql as $$
declare
    nonce constant integer := new_token();
    at timestamptz := clock_timestamp();
    now_at double precision := extract(epoch from at);
    old_timeout text := current_setting('lock_timeout');
    taken bigint[] := '{}';
    bytes bigint := 0;
    visit integer := least(most, 200);
    wanted integer;
    depth integer;
    names text[];
    turns bigint[];
    full_ats double precision[];
    mosts integer[];
    got integer[];
    seqs bigint[];
    places integer[];
    sizes bigint[];
    more record;
    nth integer;
    is_short boolean;
begin
    for round in 1..12 loop
        select array_agg(l.lane), array_agg(l.turn), array_agg(l.full_at) into names, turns, full_ats from (
            select o.lane, o.turn, o.full_at from lanes o where o.queue = q.id and o.ready_at is null
            order by o.turn, o.since, o.lane limit visit for update skip locked) l;
        if names is null then
            exit when has_locked or not exists (select 1 from lanes o where o.queue = q.id and o.ready_at is null);
            has_locked := true;
            begin  -- other receives serve all lanes in turn: the first of them is free in a moment
                perform set_config('lock_timeout', '100ms', true);
                perform 1 from lanes o where o.queue = q.id and o.ready_at is null
                    order by o.turn, o.since, o.lane limit 1 for update;
                perform set_config('lock_timeout', old_timeout, true);
            exception when lock_not_available then
                exit;
            end;
            at := clock_timestamp();
            now_at := extract(epoch from at);
            continue;
        end if;
        has_locked := true;
        wanted := most - cardinality(taken);
        depth := greatest(q.fair, (wanted + cardinality(names) - 1) / cardinality(names));
        if turns[cardinality(turns)] >= turns[1] + depth then  -- far ahead: the others have their turns first
            select array_agg(u.name order by u.nth), array_agg(u.turn order by u.nth), array_agg(u.full_at order by u.nth)
            into names, turns, full_ats
            from unnest(names, turns, full_ats) with ordinality as u (name, turn, full_at, nth)
            where u.turn < turns[1] + depth;
        end if;
        mosts := array_fill(least(depth, wanted), array[cardinality(names)]);
        if q.by_lane or q.lane_concurrency is not null or q.lane_rate is not null then
            select array_agg(greatest(least(
                least(depth, wanted), tokens(q.lane_rate, q.lane_burst, u.full_at, now_at),
                lane_places(q, u.name) - case when lane_places(q, u.name) is not null then (
                    select count(*) from (
                        select 1 from messages m where m.queue = q.id and m.place = u.name and m.state = 2 and m.due > at
                        limit lane_places(q, u.name)) h) end), 0)::integer order by u.nth)
            into mosts from unnest(names, full_ats) with ordinality as u (name, full_at, nth);
        end if;

        if q.by_lane then  -- the first message of a key, where it is neither held nor delayed
            select array_agg(c.seq), array_agg(u.nth), array_agg(c.size) into seqs, places, sizes
            from unnest(names, mosts) with ordinality as u (name, most, nth) cross join lateral (
                select e.seq from messages e
                where e.queue = q.id and e.key >= u.name and e.key <= u.name and e.key is not null and e.state <> 3
                order by e.key, e.seq limit 1
            ) f cross join lateral (
                select m.seq, octet_length(m.body) as size from messages m
                where m.seq = f.seq and m.state > 3 offset 0 for update skip locked  -- with = it might take another index
            ) c where u.most > 0 and u.name <> ''
                and (q.change_at is null or coalesce(first_behind(q, u.name) > c.seq, true));
        else
            select array_agg(c.seq), array_agg(u.nth), array_agg(c.size) into seqs, places, sizes
            from unnest(names, mosts) with ordinality as u (name, most, nth) cross join lateral (
                select m.seq, octet_length(m.body) as size from messages m
                where m.queue = q.id and m.lane = u.name and m.state = 4
                order by m.rank, m.seq limit u.most for update skip locked
            ) c where u.most > 0 and u.name <> '';
        end if;
        nth := array_position(names, '');
        if nth is not null then
            if q.by_lane then
                perform enter_lanes(q);
                -- Not past many messages with keys, which a change of the ordering moves in steps.
                select seqs || array_agg(c.seq), places || array_agg(nth), sizes || array_agg(c.size)
                into seqs, places, sizes
                from (
                    select m.seq, m.size from (
                        select o.seq, o.key from messages o where o.queue = q.id and o.state = 0
                        order by o.rank, o.seq limit 1000 + mosts[nth]) l
                    cross join lateral (
                        select o.seq, octet_length(o.body)::bigint as size from messages o
                        where o.seq = l.seq and o.state < 1 offset 0 for update skip locked) m
                    where coalesce(l.key, '') = '' limit mosts[nth]) c;
            else
                select seqs || array_agg(c.seq), places || array_agg(nth), sizes || array_agg(c.size)
                into seqs, places, sizes
                from (
                    select m.seq, octet_length(m.body)::bigint as size from messages m
                    where m.queue = q.id and m.state = 0
                    order by m.rank, m.seq limit mosts[nth] for update skip locked) c;
            end if;
        end if;

        got := array_fill(0, array[cardinality(names)]);
        if seqs <> '{}' then
            with picked as materialized (
                select u.seq, u.nth, u.size, u.place,
                    turns[u.nth] + (row_number() over (partition by u.nth order by u.place) - 1) / q.fair * q.fair as turn
                from unnest(seqs, places, sizes) with ordinality as u (seq, nth, size, place)
            ), line as materialized (
                select p.seq, p.nth, p.size, row_number() over w as number, sum(p.size) over w - p.size as before
                from picked p where p.turn < turns[1] + depth window w as (order by p.turn, p.nth, p.place)
            ), fit as materialized (
                select l.seq, l.nth, l.size, l.number from line l where l.number <= wanted and bytes + l.before < most_bytes
            ), claimed as (
                update messages m set state = 2, token = nonce, counted = false, place = lane_of(q, m.key, m.lane), holder = who,
                    due = at + lease * interval '1 second'
                where m.seq = any (array(select f.seq from fit f))
            )
            select array_agg(f.seq order by f.number) as seqs, array_agg(f.nth) as nths, sum(f.size) as bytes into more from fit f;
            taken := taken || more.seqs;
            bytes := bytes + more.bytes;
            foreach nth in array more.nths loop
                got[nth] := got[nth] + 1;
            end loop;
        end if;

        if q.by_lane and 0 = any (got) then
            perform leave_wrong_lanes(q, array(select u.name from unnest(names, got) as u (name, got) where u.got = 0));
        end if;

        is_short := cardinality(taken) < most and bytes < most_bytes;
        with served as materialized (
            select u.name, u.got, u.nth, case when q.lane_rate is not null and u.got > 0
                    then greatest(u.full_at, now_at) + u.got / q.lane_rate else u.full_at end as full_at,
                case when u.name = '' then (
                    select m.seq from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit 1)
                else (
                    select m.seq from messages m where m.queue = q.id and m.lane = u.name and m.state = 4
                    order by m.rank, m.seq limit 1) end is not null as is_ready,
                case when lane_places(q, u.name) is not null then lane_places(q, u.name) <= (
                    select count(*) from (
                        select 1 from messages m where m.queue = q.id and m.place = u.name and m.state = 2 and m.due > at
                        limit lane_places(q, u.name)) h) end as is_full
            from unnest(names, full_ats, got) with ordinality as u (name, full_at, got, nth)
        ), planned as materialized (
            select s.*, case
                when not s.is_ready then 'infinity'
                when next_token_at(q.lane_rate, q.lane_burst, s.full_at) > at
                    then next_token_at(q.lane_rate, q.lane_burst, s.full_at)
                when s.is_full then at + interval '1 minute'  -- an arrival comes before, unless other hands removed messages
                when s.got = 0 and is_short then greatest(at + interval '0.1 seconds', case when q.by_lane and s.name <> '' then (
                    select case when e.state = 1 then e.due end from messages e
                    where e.queue = q.id and e.key >= s.name and e.key <= s.name and e.key is not null and e.state <> 3
                    order by e.key, e.seq limit 1) end)  -- else other transactions have locked its messages
                end as ready_at
            from served s
        ), rows as materialized (
            select p.*, l.id from planned p cross join lateral (
                select o.ctid as id from lanes o where o.queue = q.id and o.lane = p.name offset 0) l
        ), gone as (
            delete from lanes where ctid = any (array(select r.id from rows r where not r.is_ready and r.full_at <= now_at))
        )
        update lanes l set turn = l.turn + r.got, since = at + r.nth * interval '1 microsecond', full_at = r.full_at,
            ready_at = r.ready_at, is_empty = not r.is_ready
        from rows r
        where l.ctid = r.id and (r.is_ready or r.full_at > now_at) and (r.got > 0 or r.ready_at is not null);
        exit when not is_short;
        visit := least(visit * 4, 200);
    end loop;
    return taken;
end $$;
