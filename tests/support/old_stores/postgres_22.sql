CREATE SCHEMA kept_schema;
CREATE TYPE kept_schema.offer AS (
seq bigint,
token integer,
attempt integer,
id text,
headers bytea,
body bytea,
suspect boolean,
check_in double precision,
registered boolean
);
CREATE TABLE kept_schema.queues (
id integer NOT NULL,
name text NOT NULL,
lease double precision NOT NULL,
max_length bigint,
by_key boolean NOT NULL,
dedup_window double precision,
total bigint DEFAULT 0 NOT NULL,
counted_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
temporary boolean DEFAULT false NOT NULL,
used_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
synchronous_commit text,
limited boolean DEFAULT false NOT NULL,
rate double precision,
burst integer DEFAULT 1 NOT NULL,
concurrency integer,
fair integer DEFAULT 0 NOT NULL,
lane_rate double precision,
lane_burst integer DEFAULT 1 NOT NULL,
lane_concurrency integer,
by_lane boolean DEFAULT false NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200', autovacuum_vacuum_cost_delay='0');
CREATE FUNCTION kept_schema.advance(q kept_schema.queues, keys text[]) RETURNS void
LANGUAGE plpgsql
AS $$
begin
update messages m set state = 0 where m.state = 3 and m.seq = any (array(
select (
select b.seq from messages b
where b.queue = q.id and b.key >= k.key and b.key <= k.key
and b.key is not null and b.state = 3 order by b.key, b.seq limit 1)
from (select distinct unnest(keys) as key) k));
end $$;
CREATE FUNCTION kept_schema.attach(queue_name text, who bigint, consumer_count integer) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
q queues := queue_named(queue_name);
begin
insert into holders (holder, seen) values (who, clock_timestamp()) on conflict (holder) do nothing;
insert into consumers (queue, holder, count) values (q.id, who, consumer_count)
on conflict (queue, holder) do update set count = excluded.count;
end $$;
CREATE FUNCTION kept_schema.beat(who bigint, pid_now integer) RETURNS boolean
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
was_known boolean := exists (select 1 from holders h where h.holder = who);
at timestamptz := clock_timestamp();
started_now timestamptz := (select a.backend_start from pg_stat_activity a where a.pid = pid_now);
q_id integer;
begin
lock table queues in access share mode;  -- first, as the verbs do: a change of the schema locks it first too
perform set_config('synchronous_commit', 'off', true);  -- the next one comes soon
insert into holders (holder, seen, pid, started) values (who, at, pid_now, started_now)
on conflict (holder) do update set seen = excluded.seen, pid = excluded.pid, started = excluded.started;
delete from holders h where h.holder = any (array(
select o.holder from holders o where o.seen < at - interval '10 minutes' for update skip locked));
delete from waiters w where w.ctid = any (array(
select o.ctid from waiters o where o.until < at - interval '2 minutes' for update skip locked));
for q_id in delete from deleted d where d.queue = any (array(
select o.queue from deleted o where o.deleted_at < at - interval '10 minutes' limit 2000 for update skip locked))
returning d.queue
loop
perform delete_rest(q_id);
end loop;
perform sweep_lanes(at, 1000);
perform find_strays();
for q_id in select c.queue from changes c group by c.queue having count(*) > 1000 loop
perform 1 from queues q where q.id = q_id for update skip locked;
if found then
with gone as (delete from changes c where c.queue = q_id returning c.change)
update queues q set total = q.total + (select sum(g.change) from gone g) where q.id = q_id;
end if;
end loop;
return was_known;
end $$;
CREATE FUNCTION kept_schema.bring_forward(q kept_schema.queues, keys text[]) RETURNS integer
LANGUAGE plpgsql
AS $$
begin
perform advance(q, keys);
return ready_keys(q, keys);
end $$;
CREATE FUNCTION kept_schema.cause_in(headers bytea) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
select case when position('"x_cause":"'::bytea in headers) > 0 then
substring(encode(headers, 'escape') from '[{,]"x_cause":"([0-9a-f]{12})"') end
$$;
CREATE FUNCTION kept_schema.check_queues(names text[], who bigint, hears boolean, pace double precision, at timestamp with time zone DEFAULT clock_timestamp()) RETURNS TABLE(name text, ready boolean, check_in double precision, registered boolean)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
#variable_conflict use_column
declare
listens boolean := hears;
turn double precision := case when hears then pace / 3 else pace end;
begin
return query
with asked as materialized (
select n.name, q.id as queue, case when q.limited then opens_at(q.id, at) end as opens_at, q.limited
from unnest(names) as n (name)
left join lateral (select o.id, o.limited from queues o where o.name = n.name offset 0) q on true
), seen as materialized (
select a.name, a.queue, case when a.queue is null then true when a.limited then a.opens_at <= at else (
select m.seq from messages m where m.queue = a.queue and m.state = 0 order by m.rank, m.seq limit 1
) is not null end as is_ready,
least(a.opens_at, (
select m.due from messages m where m.queue = a.queue and m.due is not null order by m.due limit 1)) as due
from asked a
), placed as materialized (
select s.*, w.noted_until, w.noted_due, w.place, greatest(pace, turn * (w.others + 1)) as cycle,
case when not w.is_watched then s.due end as watched
from seen s cross join lateral (
select count(*) filter (where w.holder <> who) as others, count(*) filter (where w.holder < who) as place,
coalesce(bool_or(w.holder <> who and w.wakes_at between at - interval '0.1 seconds' and s.due), false)
as is_watched,
max(w.until) filter (where w.holder = who and w.hears is not distinct from listens) as noted_until,
max(w.wakes_at) filter (where w.holder = who) as noted_due
from waiters w where w.queue = s.queue and w.until > at
) w
), noted as (
insert into waiters (queue, holder, until, hears, wakes_at)
select p.queue, who, at + (2 * p.cycle + 20) * interval '1 second', listens, p.watched from placed p
where p.queue is not null and (
p.noted_until is null or p.noted_until < at + (p.cycle + 5) * interval '1 second'
or p.noted_due is distinct from p.watched)
on conflict (queue, holder) do update
set until = excluded.until, hears = excluded.hears, wakes_at = excluded.wakes_at
), turns as (
select p.*, p.place * turn - extract(epoch from at)::double precision as ahead from placed p
), planned as (
select t.*, t.ahead - floor(t.ahead / t.cycle) * t.cycle as rest from turns t
)
select t.name, coalesce(t.is_ready, false) or coalesce(t.due <= at, false),
least(
t.rest + case when t.rest < turn / 2 then t.cycle else 0 end,
case when t.watched > at then extract(epoch from t.watched - at)::double precision
when t.watched is not null then 0.05 end),
t.noted_until is null
from planned t;
end $$;
CREATE FUNCTION kept_schema.claim(consumer_id text, wanted text, ttl double precision, patience double precision) RETURNS bytea
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.clear_queue(queue_name text, most integer) RETURNS integer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.count_causes(queue_name text, most integer, also text[], span double precision, parts integer, newest integer) RETURNS TABLE(cause text, number bigint, first_at double precision, last_at double precision, recent bigint[], ids text[], headers bytea, error bytea, failed_at double precision, unmarked bigint)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
#variable_conflict use_column
declare
q queues := queue_named(queue_name);
at timestamptz := clock_timestamp();
begin
perform surface_due(q, at, 10000);
return query
with groups as materialized (
select m.cause, count(*) as number, min(m.published_at) as first, max(m.published_at) as last
from messages m where m.queue = q.id and m.cause is not null and m.state <> 2 group by m.cause
), ranked as materialized (
select p.*, p.place > most and p.cause <> all (also) as is_rest from (
select g.*, row_number() over (order by g.number desc, g.last desc, g.cause) as place from groups g) p
), waiting (number) as (
select (select count(*) from messages m where m.queue = q.id and m.state = 0)
+ (select count(*) from messages m where m.queue = q.id and m.due is not null and m.state <> 2)
+ (select count(*) from messages m where m.queue = q.id and m.key is not null and m.state = 3)
+ (select count(*) from messages m where m.queue = q.id and m.state = 4)
), told as (
select r.place, r.cause::text as cause, r.number, r.first, r.last, f.headers, f.error, f.failed_at, array(
select m.id from messages m
where m.queue = q.id and m.cause = r.cause and m.cause is not null and m.state <> 2
order by m.published_at desc, m.seq desc limit newest) as ids,
case when r.last > at - span * interval '1 second' then array(
select (select count(*) from messages m
where m.queue = q.id and m.cause = r.cause and m.cause is not null and m.state <> 2
and m.published_at > at - (parts - p.part) * span / parts * interval '1 second'
and m.published_at <= case when p.part = parts - 1 then 'infinity'
else at - (parts - p.part - 1) * span / parts * interval '1 second' end)
from generate_series(0, parts - 1) as p (part)) end as recent
from ranked r cross join lateral (
select m.headers, m.error, m.failed_at from messages m
where m.queue = q.id and m.cause = r.cause and m.cause is not null and m.state <> 2
order by m.published_at desc, m.seq desc limit 1
) f where not r.is_rest
)
select t.cause, t.number, extract(epoch from t.first)::double precision, extract(epoch from t.last)::double precision,
t.recent, t.ids, t.headers, t.error, extract(epoch from t.failed_at)::double precision, null::bigint
from (select * from told order by place) t
union all
select null, coalesce(sum(r.number) filter (where r.is_rest), 0)::bigint,
extract(epoch from min(r.first) filter (where r.is_rest))::double precision,
extract(epoch from max(r.last) filter (where r.is_rest))::double precision,
null, null, null, null, null,
greatest((select w.number from waiting w) - coalesce(sum(r.number), 0), 0)::bigint
from ranked r;
end $$;
CREATE FUNCTION kept_schema.count_messages(queue_name text, OUT ready bigint, OUT in_flight bigint, OUT delayed bigint, OUT oldest_age double precision, OUT consumer_count bigint, OUT is_estimate boolean) RETURNS record
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
q queues := queue_named(queue_name);
at timestamptz := clock_timestamp();
most bigint := 10000;
dues bigint;
lines bigint;
behind bigint := 0;
in_lanes bigint := 0;
first_in_lanes timestamptz;
blocks bigint;
share double precision;
oldest timestamptz;
last_rank smallint := -1;
first_at timestamptz;
begin
select count(*) filter (where m.due <= at), count(*) filter (where m.due > at and m.state = 2),
count(*) filter (where m.due > at and m.state = 1), count(*), min(m.published_at) filter (where m.due <= at)
into ready, in_flight, delayed, dues, oldest from (
select m.due, m.state, m.published_at from messages m where m.queue = q.id and m.due is not null
order by m.due limit most) m;
select count(*) into lines from (
select 1 from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit most) m;
if q.by_key then
select count(*) into behind from (
select 1 from messages m where m.queue = q.id and m.key is not null and m.state = 3
order by m.key, m.seq limit most) m;
end if;
if q.limited then
select count(*), min(m.published_at) into in_lanes, first_in_lanes from (
select m.published_at from messages m where m.queue = q.id and m.state = 4
order by m.lane, m.rank, m.seq limit most) m;
oldest := least(oldest, first_in_lanes);
end if;
ready := ready + lines + behind + in_lanes;
is_estimate := greatest(dues, lines, behind, in_lanes) >= most;
if is_estimate then
blocks := greatest(pg_relation_size('messages') / current_setting('block_size')::bigint, 1);
share := least(400.0 / blocks, 1);
select greatest(ready, count(*) filter (where m.state in (0, 3, 4) or m.due <= at) / share),
greatest(in_flight, count(*) filter (where m.state = 2 and m.due > at) / share),
greatest(delayed, count(*) filter (where m.state = 1 and m.due > at) / share)
into ready, in_flight, delayed from messages m tablesample system (100 * share) where m.queue = q.id;
end if;
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
CREATE FUNCTION kept_schema.declare_limits(old kept_schema.queues, new_by_key boolean, new_fair integer, whole double precision[], lane double precision[]) RETURNS void
LANGUAGE plpgsql
AS $$
declare
q queues := old;
at timestamptz := clock_timestamp();
now_at double precision := extract(epoch from at);
begin
q.fair := new_fair;
q.by_lane := new_by_key and new_fair > 0;
q.rate := whole[1];
q.burst := coalesce(whole[2], 1);
q.concurrency := whole[3];
q.lane_rate := lane[1];
q.lane_burst := coalesce(lane[2], 1);
q.lane_concurrency := lane[3];
q.limited := q.rate is not null or q.concurrency is not null or q.fair > 0 or old.fair > 0
or (old.limited and exists (select 1 from messages m where m.queue = q.id and m.state = 4));
if q is not distinct from old then
return;
end if;
update queues set fair = q.fair, by_lane = q.by_lane, rate = q.rate, burst = q.burst, concurrency = q.concurrency,
lane_rate = q.lane_rate, lane_burst = q.lane_burst, lane_concurrency = q.lane_concurrency, limited = q.limited
where id = q.id;
if q.by_lane and not old.by_lane then
update messages m set state = 0, lane = null where m.queue = q.id and m.state = 4;
update messages m set lane = nullif(m.key, '') where m.queue = q.id and m.due is not null;
elsif q.fair = 0 and old.fair > 0 then
update messages m set lane = null where m.queue = q.id and m.due is not null and m.lane is not null;
end if;
if q.limited then
update messages m set place = coalesce(m.lane, '')
where m.queue = q.id and m.due is not null and m.state = 2 and m.place is distinct from coalesce(m.lane, '');
end if;
if q.fair > 0 then
update lanes l set ready_at = case when l.is_empty then l.ready_at when l.ready_at is not null then at end,
full_at = rebased(l.full_at, now_at, old.lane_rate, q.lane_rate)
where l.queue = q.id;
insert into arrivals (queue, lane) values (q.id, '');
if old.fair = 0 then  -- it had lanes before, and no receive has put all their messages in line since
insert into arrivals (queue, lane)
select distinct q.id, m.lane from messages m where m.queue = q.id and m.state = 4;
end if;
elsif old.fair > 0 then
delete from lanes l where l.queue = q.id;
end if;
if q.rate is null then
delete from arrivals a where a.queue = q.id and a.lane is null;
end if;
if q.rate is null and q.concurrency is null then
delete from gates where queue = q.id;
else
insert into gates (queue, full_at) values (q.id, 0) on conflict do nothing;
update gates g set full_at = rebased(g.full_at, now_at, old.rate, q.rate) where g.queue = q.id;
end if;
perform wake(q, 1000000, null);
end $$;
CREATE FUNCTION kept_schema.declare_queue(queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean, new_dedup_window double precision, new_temporary boolean, new_synchronous_commit text, new_fair integer DEFAULT NULL::integer, new_limit double precision[] DEFAULT NULL::double precision[], new_lane_limit double precision[] DEFAULT NULL::double precision[]) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
old queues;
q queues;
line_by_key boolean;
begin
for turn in 1..10 loop  -- more than once only if another process removes the queue meanwhile
begin
insert into queues (name, lease, max_length, by_key, dedup_window)
values (queue_name, new_lease, new_max_length, new_by_key, new_dedup_window) on conflict (name) do nothing;
perform lock_queue(queue_named(queue_name));
select * into old from queues where name = queue_name for update;
exit when found;
exception when sqlstate 'TQ404' then
null;
end;
end loop;
line_by_key := new_by_key and coalesce(new_fair, old.fair) = 0;  -- else its lanes keep the order
update queues set lease = new_lease, max_length = new_max_length, by_key = line_by_key,
dedup_window = new_dedup_window, synchronous_commit = new_synchronous_commit
where id = old.id and (lease, max_length, by_key, dedup_window, synchronous_commit)
is distinct from (new_lease, new_max_length, line_by_key, new_dedup_window, new_synchronous_commit);
update queues set temporary = new_temporary, used_at = clock_timestamp()
where id = old.id and (temporary or new_temporary);
select * into q from queues where id = old.id;
if new_max_length is not null and old.max_length is null then
perform recount(q.id);
end if;
if old.by_key and not line_by_key then
update messages set state = 0 where queue = q.id and state = 3 and key is not null;
elsif line_by_key then
perform straighten(q);
end if;
if new_fair is null then
perform declare_limits(
old, new_by_key, old.fair, array[old.rate, old.burst, old.concurrency],
array[old.lane_rate, old.lane_burst, old.lane_concurrency]);
else
perform declare_limits(old, new_by_key, new_fair, new_limit, new_lane_limit);
end if;
end $$;
CREATE FUNCTION kept_schema.delete_queue(queue_name text) RETURNS integer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
delete from consumers where queue = q.id;
perform wake(q, 1000000, null);  -- their receives end
delete from waiters where queue = q.id;
perform delete_rest(q.id);
insert into deleted (queue, deleted_at) values (q.id, clock_timestamp()) on conflict do nothing;
return q.id;
end $$;
CREATE FUNCTION kept_schema.delete_rest(q_id integer) RETURNS void
LANGUAGE sql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
delete from messages where queue = q_id and state = 0;
delete from messages where queue = q_id and due is not null;
delete from messages where queue = q_id and state = 3 and key is not null;
delete from messages where queue = q_id and state = 4;
delete from gates where queue = q_id;
delete from arrivals where queue = q_id;
delete from lanes where queue = q_id;
delete from changes where queue = q_id;
delete from seen where queue = q_id;
delete from uniques where queue = q_id
$$;
CREATE FUNCTION kept_schema.enter_all_lanes(queue_name text, after_rank smallint, after_seq bigint) RETURNS bigint[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
at_once constant integer := 10000;
q queues;
entered integer;
last bigint[];
begin
select * into q from queues where name = queue_name;
if not found then
return null;
end if;
perform keep_ordering(q);
select * into q from queues where id = q.id;  -- it may have changed until the lock was ours
if q.by_lane is distinct from true then
return null;
end if;
with line as materialized (
select m.seq, m.rank, m.key, row_number() over (order by m.rank, m.seq) as place from messages m
where m.queue = q.id and m.state = 0 and (m.rank, m.seq) > (after_rank, after_seq)
order by m.rank, m.seq limit at_once
), moved as (
update messages m set state = 4, lane = m.key where m.seq = any (array(
select f.seq from line l cross join lateral (
select o.seq from messages o
where o.seq = l.seq and o.state < 1 offset 0 for update skip locked  -- with = it might take another index
) f where l.key <> ''))
returning m.lane
), arrived as (
insert into arrivals (queue, lane) select distinct q.id, m.lane from moved m
)
select (select array[l.rank, l.seq] from line l where l.place = at_once), (select count(*) from moved) into last, entered;
if entered > 0 then
perform wake(q, entered, null);
end if;
return last;
end $$;
CREATE FUNCTION kept_schema.enter_lanes(q kept_schema.queues) RETURNS void
LANGUAGE plpgsql
AS $$
begin
if not exists (
select 1 from (
select o.key from messages o where o.queue = q.id and o.state = 0 order by o.rank, o.seq limit 20) f
where f.key <> '') then
return;
end if;
with moved as (
update messages m set state = 4, lane = m.key where m.seq = any (array(
select s.seq from (
select o.seq, o.key from messages o where o.queue = q.id and o.state = 0
order by o.rank, o.seq limit 1000 for update skip locked) s
where s.key <> ''))
returning m.lane
)
insert into arrivals (queue, lane) select distinct q.id, m.lane from moved m;
end $$;
CREATE FUNCTION kept_schema.extend(queue_name text, seqs bigint[], tokens integer[], lease double precision) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.find_strays() RETURNS void
LANGUAGE plpgsql
AS $$
declare
q_id integer := -2147483648;
begin
loop
select a.queue into q_id from arrivals a where a.queue > q_id order by a.queue, a.lane limit 1;
exit when not found;
update queues set limited = true where id = any (array(
select o.id from queues o where o.id = q_id and o.fair = 0 and not o.limited for update skip locked));
end loop;
end $$;
CREATE FUNCTION kept_schema.fold_arrivals(q kept_schema.queues, at timestamp with time zone) RETURNS boolean
LANGUAGE plpgsql
AS $$
declare
touched boolean := false;
next_turn bigint;  -- of a lane that has just had its turn
parked_at timestamptz;
names text[];
given bigint[];
rows tid[];
row_places integer[];
are_ready boolean[];
have_row boolean[];
inserted text[];
locked text[];
done boolean[];
begin
next_turn := coalesce((
select l.turn + q.fair from lanes l
where l.queue = q.id and l.ready_at is null order by l.turn, l.since, l.lane limit 1), 0);
if exists (select 1 from arrivals a where a.queue = q.id and a.lane >= '')
and pg_try_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 2)) then
with recursive seen as (
(select a.lane from arrivals a where a.queue = q.id and a.lane >= '' order by a.lane limit 1)
union all
select (select a.lane from arrivals a where a.queue = q.id and a.lane > s.lane order by a.lane limit 1)
from seen s where s.lane is not null
), found as materialized (
select s.lane, row_number() over () as place from (
select s.lane from seen s where s.lane is not null limit 300) s
), shown as materialized (
select f.lane, f.place, a.id, a.given from found f cross join lateral (
select o.ctid as id, o.given from arrivals o where o.queue = q.id and o.lane = f.lane limit 50) a
)
select (select array_agg(f.lane order by f.place) from found f),
(select array_agg(g.given order by g.place) from (
select s.place, sum(s.given)::bigint as given from shown s group by s.place) g),
(select array_agg(s.id order by s.place) from shown s),
(select array_agg(s.place order by s.place) from shown s)
into names, given, rows, row_places;
select array_agg(n.is_ready order by n.place), array_agg(n.has_row order by n.place) into are_ready, have_row from (
select u.place,
case when u.name = '' then (
select m.seq from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit 1)
else (
select m.seq from messages m where m.queue = q.id and m.lane = u.name and m.state = 4
order by m.rank, m.seq limit 1) end is not null as is_ready,
exists (select 1 from lanes l where l.queue = q.id and l.lane = u.name) as has_row
from unnest(names) with ordinality as u (name, place)
) n;
with made as (
insert into lanes (queue, lane, turn, since)
select q.id, u.name, next_turn, at
from unnest(names, are_ready, have_row) as u (name, is_ready, has_row)
where u.is_ready and not u.has_row order by u.name
on conflict do nothing returning lane
)
select array_agg(m.lane) into inserted from made m;
if true = any (have_row) then
locked := array(
select l.lane from unnest(names, have_row) as u (name, has_row) cross join lateral (
select o.lane from lanes o where o.queue = q.id and o.lane = u.name offset 0 for update skip locked) l
where u.has_row);
with wanted as materialized (
select l.id, l.lane, l.ready_at, l.is_empty, u.is_ready, u.given,
l.full_at - coalesce(u.given / q.lane_rate, 0) as full_at,
case when lane_places(q, u.name) is not null then lane_places(q, u.name) <= (
select count(*) from (
select 1 from messages m where m.queue = q.id and m.place = u.name and m.state = 2 and m.due > at
limit lane_places(q, u.name)) h) end as is_full
from unnest(names, are_ready, given) as u (name, is_ready, given) cross join lateral (
select o.ctid as id, o.lane, o.ready_at, o.is_empty, o.full_at from lanes o
where o.queue = q.id and o.lane = u.name offset 0) l
where u.name = any (locked) and (l.ready_at is not null or u.given > 0)
), planned as materialized (
select w.*, case
when w.ready_at is null then null
when not w.is_ready then w.ready_at
when next_token_at(q.lane_rate, q.lane_burst, w.full_at) > at
then next_token_at(q.lane_rate, q.lane_burst, w.full_at)
when w.is_full then case when w.is_empty then at + interval '1 minute' else w.ready_at end
end as new_ready_at
from wanted w
)
update lanes l set full_at = p.full_at, ready_at = p.new_ready_at, is_empty = p.is_empty and not p.is_ready,
since = case when p.new_ready_at is null and p.ready_at is not null then at else l.since end,
turn = case when p.new_ready_at is null and p.ready_at is not null then next_turn else l.turn end
from planned p where l.ctid = p.id and (p.given > 0 or p.new_ready_at is distinct from p.ready_at);
end if;
done := array(
select coalesce(u.name = any (inserted), false) or coalesce(u.name = any (locked), false) or not (u.is_ready or u.has_row)
from unnest(names, are_ready, have_row) with ordinality as u (name, is_ready, has_row, place) order by u.place);
delete from arrivals a where a.ctid = any (array(
select r.id from unnest(rows, row_places) as r (id, place) where done[r.place]));
touched := coalesce(cardinality(inserted), 0) + coalesce(cardinality(locked), 0) > 0;
end if;
select l.ready_at into parked_at from lanes l
where l.queue = q.id and l.ready_at is not null and not l.is_empty order by l.ready_at limit 1;
if parked_at <= at then
update lanes l set ready_at = null, since = at, turn = next_turn
where l.queue = q.id and l.lane = any (array(
select o.lane from lanes o
where o.queue = q.id and o.ready_at <= at and o.ready_at is not null and not o.is_empty
order by o.ready_at limit 500 for update skip locked));
touched := true;
end if;
return touched;
end $$;
CREATE FUNCTION kept_schema.fold_few(q kept_schema.queues, at timestamp with time zone, names text[], arrived tid[], first_turn bigint) RETURNS text
LANGUAGE plpgsql
AS $$
declare
alone text;
locked text[];
parked text[];
left_to_others text[];
begin
select array_agg(u.name) filter (where l.is_parked is not null), array_agg(u.name) filter (where l.is_parked),
array_agg(u.name) filter (where l.is_parked is null and exists (
select 1 from lanes o where o.queue = q.id and o.lane = u.name))
into locked, parked, left_to_others
from unnest(names) as u (name) left join lateral (
select o.ready_at is not null as is_parked from lanes o
where o.queue = q.id and o.lane = u.name offset 0 for update skip locked) l on true;
if left_to_others is null then
delete from arrivals a where a.ctid = any (arrived);
else
delete from arrivals a where a.ctid = any (array(
select u.id from unnest(names, arrived) as u (name, id) where u.name <> all (left_to_others)));
end if;
if parked is not null then
update lanes l set ready_at = null, is_empty = false, since = at, turn = coalesce(first_turn + q.fair, 0)
where l.queue = q.id and l.lane = any (parked) and l.ready_at is not null and has_ready(q, l.lane)
and (q.lane_concurrency is null or places_held(q, l.lane, at) < q.lane_concurrency);
if found then
first_turn := coalesce(first_turn, -q.fair);
end if;
end if;
for place in 1 .. cardinality(names) loop
if names[place] = names[place - 1] or names[place] = any (locked) or names[place] = any (left_to_others) then
null;
elsif first_turn is null and alone is null and (names[1] = names[cardinality(names)] or has_ready(q, names[place])) then
alone := names[place];
elsif has_ready(q, names[place]) then
insert into lanes (queue, lane, turn, since) values (q.id, names[place], coalesce(first_turn + q.fair, 0), at);
end if;
end loop;
return alone;
end $$;
CREATE FUNCTION kept_schema.has_ready(q kept_schema.queues, name text) RETURNS boolean
LANGUAGE plpgsql
AS $$
begin
if name = '' then
return (select m.seq from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit 1) is not null;
end if;
return (
select m.seq from messages m where m.queue = q.id and m.lane = name and m.state = 4
order by m.rank, m.seq limit 1) is not null;
end $$;
CREATE FUNCTION kept_schema.has_stray(q kept_schema.queues) RETURNS boolean
LANGUAGE plpgsql
AS $$
begin
return has_ready(q, '') and not exists (
select 1 from lanes l where l.queue = q.id and l.lane = '' and not l.is_empty);
end $$;
CREATE TABLE kept_schema.holders (
holder bigint NOT NULL,
seen timestamp with time zone NOT NULL,
pid integer,
started timestamp with time zone
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200');
CREATE FUNCTION kept_schema.is_alive(h kept_schema.holders, at timestamp with time zone) RETURNS boolean
LANGUAGE sql STABLE
AS $$
select h.seen > at - case when h.pid is null then interval '20 seconds' else interval '2 minutes' end
and (h.pid is null or exists (
select 1 from pg_stat_activity a
where a.pid = h.pid and coalesce(a.backend_start = h.started, true)))
$$;
CREATE FUNCTION kept_schema.keep_ordering(q kept_schema.queues) RETURNS void
LANGUAGE sql
AS $$
select pg_advisory_xact_lock_shared(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;
CREATE FUNCTION kept_schema.keep_queues(names text[], kept double precision) RETURNS void
LANGUAGE sql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
update queues set used_at = clock_timestamp() where id = any (array(
select q.id from queues q where q.name = any (names) and q.temporary
and q.used_at < clock_timestamp() - kept * interval '1 second' / 10 order by q.id for update))
$$;
CREATE FUNCTION kept_schema.lane_places(q kept_schema.queues, name text) RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
select case when q.by_lane and name <> '' then 1 else q.lane_concurrency end
$$;
CREATE FUNCTION kept_schema.leave(who bigint) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
delete from holders where holder = who;
delete from waiters w where w.holder = who;
end $$;
CREATE FUNCTION kept_schema.leave_lanes(q kept_schema.queues, most integer) RETURNS integer
LANGUAGE plpgsql
AS $$
declare
back integer;
begin
update messages set state = 0, lane = null where seq = any (array(
select m.seq from messages m where m.queue = q.id and m.state = 4
order by m.lane, m.rank, m.seq limit most for update skip locked));
get diagnostics back = row_count;
if back > 0 or exists (select 1 from arrivals a where a.queue = q.id and a.lane >= '') then
delete from arrivals where ctid = any (array(
select a.ctid from arrivals a where a.queue = q.id and a.lane >= '' limit 1000 for update skip locked));
end if;
return back;
end $$;
CREATE FUNCTION kept_schema.leave_places(q kept_schema.queues, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], within boolean) RETURNS integer
LANGUAGE plpgsql
AS $$
declare
frees_places boolean := q.fair > 0 and (q.by_lane or q.lane_concurrency is not null);
ended integer;
lanes text[];
begin
with held as materialized (
select coalesce(m.place, m.lane, '') as lane, coalesce(s.act > 0 and not s.delay > 0, false) as is_back,
case when s.act = 2 and not s.delay > 0 and m.state = 2 and m.place is not null then 1 else 0 end as given
from unnest(seqs, tokens, acts, delays) as s (seq, token, act, delay) cross join lateral (
select o.lane, o.place, o.state from messages o
where o.seq = s.seq and o.queue = q.id and o.token = s.token offset 0
) m
), arrived as (
insert into arrivals (queue, lane, given)
select q.id, h.lane, sum(h.given) from held h where q.fair > 0
group by h.lane having frees_places or bool_or(h.is_back) order by h.lane
), given as (
insert into arrivals (queue, given)
select q.id, sum(h.given) from held h where q.rate is not null having sum(h.given) > 0
)
select count(*), array_agg(h.lane) into ended, lanes from held h where not h.is_back;
if ended = 0 or (not frees_places and q.concurrency is null) then
return 0;
elsif within then
return ended;  -- who will wait, and for what, is known at the commit
elsif not exists (select 1 from waiters w where w.queue = q.id and w.until > clock_timestamp()) then
return 0;
elsif q.concurrency is null then
return ready_lanes(q, lanes);
end if;
return case when has_ready(q, '') or exists (
select 1 from messages m where m.queue = q.id and m.state = 4) then ended else 0 end;
end $$;
CREATE FUNCTION kept_schema.leave_wrong_lanes(q kept_schema.queues, names text[]) RETURNS void
LANGUAGE plpgsql
AS $$
begin
with moved as (
update messages m set state = 0, lane = null where m.seq = any (array(
select f.seq from unnest(names) as u (name) cross join lateral (
select o.seq, o.key from messages o where o.queue = q.id and o.lane = u.name and o.state = 4
order by o.rank, o.seq limit 20 for update skip locked) f
where u.name <> '' and f.key is distinct from u.name))
returning m.seq
)
insert into arrivals (queue, lane) select q.id, '' where exists (select 1 from moved);
end $$;
CREATE FUNCTION kept_schema.lock_key(in_store text, in_key text) RETURNS double precision
LANGUAGE plpgsql
AS $$
begin
perform pg_advisory_xact_lock(
hashtextextended(concat_ws(chr(1), 'tasuki store', current_schema(), in_store, in_key), 0));
return extract(epoch from clock_timestamp());
end $$;
CREATE FUNCTION kept_schema.lock_keys(q kept_schema.queues, wanted text[]) RETURNS void
LANGUAGE plpgsql
AS $$
declare
next text;
begin
for next in select distinct w.key collate "C" as key from unnest(wanted) as w (key) where w.key is not null order by 1 loop
perform 1 from uniques where queue = q.id and key = next for update;
if not found then
insert into uniques (queue, key, seq, id) values (q.id, next, 0, '')
on conflict (queue, key) do update set seq = uniques.seq;
end if;
end loop;
end $$;
CREATE FUNCTION kept_schema.lock_queue(q kept_schema.queues) RETURNS void
LANGUAGE sql
AS $$
select pg_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;
CREATE FUNCTION kept_schema.lock_waiting(q kept_schema.queues, wanted text[], at timestamp with time zone) RETURNS void
LANGUAGE plpgsql
AS $$
begin
perform count(*) from (
select u.seq from uniques u where u.queue = q.id and u.key = any (wanted) order by u.seq
) s cross join lateral (
select 1 from messages m
where m.seq = s.seq and m.queue = q.id and not (m.state = 2 and m.due > at) offset 0 for update
) l;
end $$;
CREATE FUNCTION kept_schema.move(queue_name text, target text, seqs bigint[], tokens integer[], sizes integer[], ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], lanes text[] DEFAULT NULL::text[]) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.next_token_at(rate double precision, burst integer, full_at double precision) RETURNS timestamp with time zone
LANGUAGE sql IMMUTABLE
AS $$
select case when rate is not null then to_timestamp(least(full_at - (burst - 1) / rate, 1e11)) end
$$;
CREATE FUNCTION kept_schema.occupancies(names text[]) RETURNS TABLE(name text, ready boolean, hidden boolean)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
#variable_conflict use_column
declare
at timestamptz := clock_timestamp();
begin
return query
with asked as materialized (
select n.name, q.id as queue, q.limited from unnest(names) as n (name)
left join lateral (select o.id, o.limited from queues o where o.name = n.name offset 0) q on true
)
select a.name,
case when a.queue is not null then
(
select m.seq from messages m where m.queue = a.queue and m.state = 0
order by m.rank, m.seq limit 1) is not null
or coalesce((
select m.due from messages m where m.queue = a.queue and m.due is not null
order by m.due limit 1) <= at, false)
or (
select m.seq from messages m where m.queue = a.queue and m.key is not null and m.state = 3
order by m.key, m.seq limit 1) is not null
or case when a.limited then (
select m.seq from messages m where m.queue = a.queue and m.state = 4
order by m.lane, m.rank, m.seq limit 1) end is not null
end,
case when a.queue is not null then coalesce((
select m.due from messages m where m.queue = a.queue and m.due is not null
order by m.due desc limit 1) > at, false)
end
from asked a;
end $$;
CREATE FUNCTION kept_schema.opens_at(q_id integer, at timestamp with time zone) RETURNS timestamp with time zone
LANGUAGE plpgsql
AS $$
declare
q queues;
first_at timestamptz;
gate_at timestamptz;
begin
select * into q from queues where id = q_id;
if q.concurrency is not null then
if places_taken(q, at) >= q.concurrency then
return null;
end if;
end if;
if q.rate is not null then
gate_at := next_token_at(q.rate, q.burst,
(select g.full_at from gates g where g.queue = q.id)
- coalesce((select sum(a.given) from arrivals a where a.queue = q.id and a.lane is null), 0) / q.rate);
end if;
if q.fair = 0 then
if has_ready(q, '') or exists (select 1 from messages m where m.queue = q.id and m.state = 4) then
first_at := at;
end if;
elsif exists (select 1 from lanes l where l.queue = q.id and l.ready_at is null)
or exists (select 1 from arrivals a where a.queue = q.id and a.lane >= '') or has_stray(q) then
first_at := at;
else
select l.ready_at into first_at from lanes l
where l.queue = q.id and l.ready_at is not null and not l.is_empty order by l.ready_at limit 1;
end if;
return case when first_at is not null then greatest(first_at, gate_at) end;
end $$;
CREATE FUNCTION kept_schema.pass_on(queue_name text) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
perform wake(q, 1, null) from queues q where q.name = queue_name;
end $$;
CREATE FUNCTION kept_schema.places_held(q kept_schema.queues, name text, at timestamp with time zone) RETURNS integer
LANGUAGE plpgsql
AS $$
begin
return (select count(*) from (
select 1 from messages m where m.queue = q.id and m.place = name and m.state = 2 and m.due > at
limit q.lane_concurrency) h);
end $$;
CREATE FUNCTION kept_schema.places_taken(q kept_schema.queues, at timestamp with time zone) RETURNS integer
LANGUAGE plpgsql
AS $$
begin
return (select count(*) from (
select 1 from messages m where m.queue = q.id and m.place is not null and m.state = 2 and m.due > at
limit q.concurrency) h);
end $$;
CREATE FUNCTION kept_schema.publish(queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], within boolean, lanes text[] DEFAULT NULL::text[]) RETURNS integer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.publish_checked(q kept_schema.queues, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], within boolean, at timestamp with time zone, lanes text[]) RETURNS integer
LANGUAGE plpgsql
AS $$
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
CREATE FUNCTION kept_schema.publish_unique(queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], within boolean, unique_keys text[], spans double precision[], acts smallint[], latests double precision[], lanes text[] DEFAULT NULL::text[]) RETURNS text
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
perform lock_keys(q, unique_keys);
perform lock_waiting(q, unique_keys, at);
at := clock_timestamp();  -- it may have waited
for item in
select * from unnest(ids, bodies, headers, ranks, keys, delays, always, unique_keys, spans, acts, latests, lanes)
with ordinality as s (id, body, headers, rank, key, delay, always, unique_key, span, act, latest, lane, place)
order by s.place
loop
hides_until := case when item.delay > 0 then at + item.delay * interval '1 second' end;
if item.unique_key is not null then
select * into u from uniques where queue = q.id and key = item.unique_key;
select m.seq, m.published_at, m.state, m.due, m.lane into other from messages m where m.seq = u.seq and m.queue = q.id;
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
error = null, failed_at = null, token = m.token + 1, due = hides_until,
state = case when hides_until is not null then 1 when m.state = 3 then 3
when q.fair > 0 and m.lane is not null then 4 else 0 end
where m.seq = other.seq;
update uniques set id = item.id where queue = q.id and key = item.unique_key;
arrived := arrived || coalesce(other.lane, '');  -- with order per key, the next one may be ready now
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
CREATE FUNCTION kept_schema.purge_these(queue_name text, seqs bigint[]) RETURNS integer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.queue_named(queue_name text) RETURNS kept_schema.queues
LANGUAGE plpgsql STABLE
AS $$
declare
q queues;
begin
select * into q from queues where name = queue_name;
if not found then
raise exception using errcode = 'TQ404', message = 'the queue is not there';
end if;
return q;
end $$;
CREATE FUNCTION kept_schema.ready_keys(q kept_schema.queues, keys text[]) RETURNS integer
LANGUAGE plpgsql
AS $$
begin
return (
select count(*) from (select distinct unnest(keys) as key) k where 0 = (
select f.state from messages f
where f.queue = q.id and f.key >= k.key and f.key <= k.key
and f.key is not null and f.state <> 3 order by f.key, f.seq limit 1));
end $$;
CREATE FUNCTION kept_schema.ready_lanes(q kept_schema.queues, names text[]) RETURNS integer
LANGUAGE plpgsql
AS $$
begin
return (select count(*) from (select distinct unnest(names) as name) n where has_ready(q, n.name));
end $$;
CREATE FUNCTION kept_schema.rebased(full_at double precision, now_at double precision, old_rate double precision, new_rate double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE
AS $$
select case
when old_rate is null or new_rate is null then 0
when full_at <= now_at then full_at
else now_at + (full_at - now_at) * old_rate / new_rate end
$$;
CREATE FUNCTION kept_schema.receive(queue_name text, most integer, most_bytes bigint, who bigint, waits boolean, leaves boolean, hears boolean, pace double precision) RETURNS SETOF kept_schema.offer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
q queues;
at timestamptz := clock_timestamp();
lease_end timestamptz;
next_due timestamptz;
back integer := 0;
handed integer;
check_in double precision;
registered boolean := false;
one offer;
begin
select * into q from queues where name = queue_name;
if not found then
q := queue_named(queue_name);  -- which raises
end if;
if q.limited then
if most = 1 and q.fair > 0 then
one := take_one(q.id, pace);
if one.seq is not null then
if leaves then
delete from waiters w where w.queue = q.id and w.holder = who;
end if;
return next one;
return;
end if;
end if;
return query select * from receive_limited(q, most, most_bytes, who, waits, leaves, hears, pace);
return;
end if;
if q.by_key then
perform keep_ordering(q);
q := queue_named(queue_name);  -- it may have changed until the lock was ours
end if;
lease_end := at + q.lease * interval '1 second';
select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
if next_due <= at then
back := surface_due(q, at, greatest(most, 1000));
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
get diagnostics handed = row_count;
if handed > 0 then
if leaves then
delete from waiters w where w.queue = q.id and w.holder = who;
end if;
if back > 0 and exists (select 1 from waiters w where w.queue = q.id and w.until > at) then
select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
perform wake(q, greatest(back - handed, 0),
case when next_due < at + 2 * pace * interval '1 second' then next_due end);
end if;
return;
end if;
if waits then
select c.check_in, c.registered into check_in, registered from check_queues(array[queue_name], who, hears, pace) c;
end if;
return query select null::bigint, null::integer, null::integer, null::text, null::bytea, null::bytea,
null::boolean, check_in, registered;
end $$;
CREATE FUNCTION kept_schema.receive_limited(q kept_schema.queues, most integer, most_bytes bigint, who bigint, waits boolean, leaves boolean, hears boolean, pace double precision) RETURNS SETOF kept_schema.offer
LANGUAGE plpgsql
AS $$
declare
at timestamptz;
now_at double precision;
lease_end timestamptz;
next_due timestamptz;
wanted integer := most;
gate_full_at double precision;
given bigint;
seqs bigint[];
handed integer := 0;
check_in double precision;
registered boolean := false;
begin
perform keep_ordering(q);
q := queue_named(q.name);  -- its options may have changed until the lock was ours
if q.rate is not null or q.concurrency is not null then
select g.full_at into gate_full_at from gates g where g.queue = q.id for update;
if not found then
insert into gates (queue, full_at) values (q.id, 0) on conflict do nothing;
select g.full_at into gate_full_at from gates g where g.queue = q.id for update;
end if;
end if;
at := clock_timestamp();
now_at := extract(epoch from at);
lease_end := at + q.lease * interval '1 second';
if q.rate is not null then
with back as (delete from arrivals a where a.queue = q.id and a.lane is null returning a.given)
select sum(b.given) into given from back b;
gate_full_at := gate_full_at - coalesce(given, 0) / q.rate;
wanted := least(wanted, tokens(q.rate, q.burst, gate_full_at, now_at));
end if;
select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
if next_due <= at then
perform surface_due(q, at, greatest(most, 1000));
end if;
if q.concurrency is not null then
wanted := least(wanted, q.concurrency - places_taken(q, at));
end if;
if q.fair = 0 and leave_lanes(q, 5000) = 5000 then
wanted := 0;  -- all must be in line before one is handed out
end if;
if wanted <= 0 then
null;
elsif q.fair > 0 then
if (random() < 0.02 or not exists (select 1 from lanes l where l.queue = q.id and l.ready_at is null))
and has_stray(q) then
insert into arrivals (queue, lane) values (q.id, '');
end if;
seqs := take_in_turns(q, wanted, most_bytes, q.lease, fold_arrivals(q, at));
return query
select m.seq, m.token, m.attempts + 1, m.id, m.headers, m.body, m.suspect, null::double precision, null::boolean
from unnest(seqs) with ordinality as u (seq, place) cross join lateral (
select o.seq, o.token, o.attempts, o.id, o.headers, o.body, o.suspect from messages o
where o.seq = u.seq offset 0) m
order by u.place;
handed := cardinality(seqs);
elsif q.by_key then
return query select * from take_by_key(q, wanted, most_bytes, lease_end);
get diagnostics handed = row_count;
else
return query
with line as (
select m.seq, m.rank, octet_length(m.body) as size from messages m
where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit wanted for update skip locked
), taken as (
update messages m set state = 2, token = m.token + 1, counted = false, due = lease_end, place = ''
where m.seq = any (array(select s.seq from (
select l.seq, sum(l.size) over (order by l.rank, l.seq) - l.size as before from line l) s
where s.before < most_bytes))
returning m.*
)
select t.seq, t.token, t.attempts + 1, t.id, t.headers, t.body, t.suspect,
null::double precision, null::boolean
from taken t order by t.rank, t.seq;
get diagnostics handed = row_count;
end if;
if q.rate is not null and (handed > 0 or given > 0) then
update gates g set full_at = case when handed > 0
then greatest(gate_full_at, now_at) + handed / q.rate else gate_full_at end
where g.queue = q.id;
end if;
if handed > 0 then
if leaves then
delete from waiters w where w.queue = q.id and w.holder = who;
end if;
if exists (select 1 from waiters w where w.queue = q.id and w.until > at) then
perform wake_for_rest(q, pace);
end if;
return;
end if;
if waits then
if q.fair > 0 then
perform sweep_lanes(at, 100);
end if;
select c.check_in, c.registered into check_in, registered from check_queues(array[q.name], who, hears, pace) c;
if q.fair > 0 and opens_at(q.id, clock_timestamp()) <= clock_timestamp() then
check_in := least(check_in, 0.002 + random() * 0.003);  -- other receives had locked what there is
end if;
end if;
return query select null::bigint, null::integer, null::integer, null::text, null::bytea, null::bytea,
null::boolean, check_in, registered;
end $$;
CREATE FUNCTION kept_schema.recount(q_id integer) RETURNS void
LANGUAGE sql
AS $$
with gone as (delete from changes where queue = q_id)
update queues set total = (select count(*) from messages where queue = q_id), counted_at = clock_timestamp()
where id = q_id
$$;
CREATE FUNCTION kept_schema.remember(consumer_id text, wanted text, what bytea) RETURNS integer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
update inbox set result = what where consumer = consumer_id and key = wanted;
return 1;
end $$;
CREATE FUNCTION kept_schema.room(q kept_schema.queues, wanted integer, within boolean, at timestamp with time zone) RETURNS bigint
LANGUAGE plpgsql
AS $$
begin
if within then
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
CREATE FUNCTION kept_schema.settle(queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[]) RETURNS integer[]
LANGUAGE sql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
select settle(queue_name, seqs, tokens, acts, delays, false);
$$;
CREATE FUNCTION kept_schema.settle(queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], within boolean) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
state = case when item.delay > 0 then 1 when q.fair > 0 and m.lane is not null then 4 else 0 end,
due = case when item.delay > 0 then at + item.delay * interval '1 second' end,
token = m.token + 1,
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
CREATE FUNCTION kept_schema.settle_with_errors(queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[], errors bytea[]) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.settle_within(queue_name text, seqs bigint[], tokens integer[], acts smallint[], delays double precision[]) RETURNS integer
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
if settle(queue_name, seqs, tokens, acts, delays, true) <> '{}' then
raise exception using errcode = 'TQ410', message = 'a delivery has ended already: nothing is committed';
end if;
return cardinality(seqs);
end $$;
CREATE FUNCTION kept_schema.show_cause(queue_name text, cause text, most integer, after integer, newest_first boolean) RETURNS TABLE(seq bigint, id text, headers bytea, body bytea, error bytea, failed_at double precision)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
#variable_conflict use_column
declare
q queues := queue_named(queue_name);
wanted text := show_cause.cause;
begin
perform surface_due(q, clock_timestamp(), 10000);
if newest_first then
return query
with shown as materialized (
select m.published_at, m.seq from messages m
where m.queue = q.id and m.cause = wanted and m.cause is not null and m.state <> 2
order by m.published_at desc, m.seq desc offset after limit most
)
select s.seq, f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
from shown s cross join lateral (
select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
) f order by s.published_at desc, s.seq desc;
return;
end if;
return query
with shown as materialized (
select m.published_at, m.seq from messages m
where m.queue = q.id and m.cause = wanted and m.cause is not null and m.state <> 2
order by m.published_at, m.seq offset after limit most
)
select s.seq, f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
from shown s cross join lateral (
select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
) f order by s.published_at, s.seq;
end $$;
CREATE FUNCTION kept_schema.show_messages(queue_name text, most integer, after integer) RETURNS TABLE(id text, headers bytea, body bytea, error bytea, failed_at double precision)
LANGUAGE sql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
select s.id, s.headers, s.body, s.error, s.failed_at from show_places(queue_name, most, after) s;
$$;
CREATE FUNCTION kept_schema.show_places(queue_name text, most integer, after integer) RETURNS TABLE(seq bigint, id text, headers bytea, body bytea, error bytea, failed_at double precision)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
#variable_conflict use_column
declare
q queues := queue_named(queue_name);
at timestamptz := clock_timestamp();
found integer := 0;
begin
perform surface_due(q, at, 10000);
if not q.limited then
return query
with shown as materialized (
select m.rank, m.seq from messages m
where m.queue = q.id and m.state = 0 order by m.rank, m.seq offset after limit most
)
select s.seq, f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
from shown s cross join lateral (
select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
) f order by s.rank, s.seq;
get diagnostics found = row_count;
if found >= most then
return;
end if;
most := most - found;
after := case when found > 0 then 0 else after - (select count(*) from (
select 1 from messages m where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit after) r) end;
end if;
return query
with line as materialized (
(select 0 as part, m.rank, m.due, ''::text as key, ''::text collate "C" as lane, m.seq from messages m
where q.limited and m.queue = q.id and m.state = 0 order by m.rank, m.seq limit after + most)
union all
(select 0, m.rank, m.due, '', m.lane, m.seq from messages m
where q.limited and m.queue = q.id and m.state = 4 order by m.lane, m.rank, m.seq limit after + most)
union all
(select 1, 0::smallint, m.due, m.key, '', m.seq from messages m
where m.queue = q.id and m.state = 3 and m.key is not null order by m.key, m.seq limit after + most)
union all
(select 2, 0::smallint, m.due, '', '', m.seq from messages m
where m.queue = q.id and m.state = 1 and m.due is not null order by m.due, m.seq limit after + most)
), shown as materialized (
select * from line l order by l.part, l.due, l.key, l.lane, l.rank, l.seq offset after limit most
)
select s.seq, f.id, f.headers, f.body, f.error, extract(epoch from f.failed_at)::double precision
from shown s cross join lateral (
select m.id, m.headers, m.body, m.error, m.failed_at from messages m where m.seq = s.seq offset 0
) f order by s.part, s.due, s.key, s.lane, s.rank, s.seq;
end $$;
CREATE FUNCTION kept_schema.start(queue_name text, seqs bigint[], tokens integer[]) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.store_delete(in_store text, in_key text, expected bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
at double precision := lock_key(in_store, in_key);
is_version bigint;
begin
select e.version into is_version from store_entries e
where e.store = in_store and e.key = in_key and (e.expires is null or e.expires > at);
if coalesce(is_version, 0) <> expected then
return -1 - coalesce(is_version, 0);
end if;
if is_version is null then
return 0;
end if;
delete from store_entries e where e.store = in_store and e.key = in_key;
insert into store_changes (store, key, version, at) values (in_store, in_key, is_version, at);
return 1;
end $$;
CREATE FUNCTION kept_schema.store_get(in_store text, in_key text) RETURNS TABLE(value bytea, version bigint)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
return query select e.value, e.version from store_entries e where e.store = in_store and e.key = in_key
and (e.expires is null or e.expires > extract(epoch from clock_timestamp()));
end $$;
CREATE FUNCTION kept_schema.store_hold(in_store text, in_key text, in_holder text, places bigint, lease double precision) RETURNS double precision
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
at double precision := lock_key(in_store, in_key);
begin
update store_places p set until = at + lease
where p.store = in_store and p.key = in_key and p.holder = in_holder and p.until > at;
if found then
return at + lease;
end if;
delete from store_places p where p.store = in_store and p.key = in_key and p.until <= at;
if (select count(*) from store_places p where p.store = in_store and p.key = in_key) >= places then
return null;
end if;
insert into store_places (store, key, holder, until) values (in_store, in_key, in_holder, at + lease);
return at + lease;
end $$;
CREATE FUNCTION kept_schema.store_list(in_store text, low text, high text, most integer, most_bytes bigint) RETURNS TABLE(key text, value bytea, version bigint)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
at double precision := extract(epoch from clock_timestamp());
count integer := 0;
begin
for key, value, version in select e.key, e.value, e.version from store_entries e
where e.store = in_store and e.key >= low and e.key < high and (e.expires is null or e.expires > at)
order by e.key limit most
loop
most_bytes := most_bytes - octet_length(value);
count := count + 1;
if count > 1 and most_bytes < 0 then
key := null;
value := null;
return next;
return;
end if;
return next;
end loop;
end $$;
CREATE FUNCTION kept_schema.store_put(in_store text, in_key text, new_value bytea, ttl double precision, expected bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
at double precision := lock_key(in_store, in_key);
is_version bigint;
begin
if expected is not null then
select e.version into is_version from store_entries e
where e.store = in_store and e.key = in_key and (e.expires is null or e.expires > at);
if coalesce(is_version, 0) <> expected then
return -coalesce(is_version, 0);
end if;
end if;
insert into store_entries as e (store, key, value, expires) values (in_store, in_key, new_value, at + ttl)
on conflict (store, key) do update set value = excluded.value, version = default, expires = excluded.expires
returning e.version into is_version;
insert into store_changes (store, key, version, at) values (in_store, in_key, is_version, at);
return is_version;
end $$;
CREATE FUNCTION kept_schema.store_put_all(in_store text, keys text[], new_values bytea[], ttl double precision) RETURNS bigint
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
one record;
written bigint := 0;
begin
for one in select distinct on (k collate "C") k as key, v as value from unnest(keys, new_values) with ordinality as u (k, v, n)
order by k collate "C", n desc
loop
perform store_put(in_store, one.key, one.value, ttl, null);
written := written + 1;
end loop;
return written;
end $$;
CREATE FUNCTION kept_schema.store_release(in_store text, in_key text, in_holder text) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
perform lock_key(in_store, in_key);
delete from store_places p where p.store = in_store and p.key = in_key and p.holder = in_holder;
end $$;
CREATE FUNCTION kept_schema.store_sweep(most integer) RETURNS boolean
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
now_at double precision := extract(epoch from clock_timestamp());
gone integer[] := '{}';
count integer;
begin
perform set_config('synchronous_commit', 'off', true);  -- a lost sweep is made again
perform from store_sweeps s where s.id = 1 and s.at not between now_at - 10 and now_at for update skip locked;
if not found then
return false;
end if;
delete from store_entries e where e.ctid = any (array(
select o.ctid from store_entries o where o.expires < now_at - 60 order by o.expires limit most for update skip locked));
get diagnostics count = row_count;
gone := gone || count;
delete from store_changes c where c.ctid = any (array(
select o.ctid from (select d.ctid, d.at from store_changes d order by d.xid limit most) o where o.at < now_at - 60));
get diagnostics count = row_count;
gone := gone || count;
delete from store_buckets b where b.ctid = any (array(
select o.ctid from store_buckets o
where o.level + (now_at - o.at) * o.rate >= o.top limit most for update skip locked));
get diagnostics count = row_count;
gone := gone || count;
delete from store_places p where p.ctid = any (array(
select o.ctid from store_places o where o.until <= now_at limit most for update skip locked));
get diagnostics count = row_count;
gone := gone || count;
update store_sweeps s set at = case when most = any (gone) then 0 else now_at end where s.id = 1;
return most = any (gone);
end $$;
CREATE FUNCTION kept_schema.store_take(in_store text, in_key text, taken bigint, given bigint, new_rate double precision, new_burst bigint, OUT granted bigint, OUT wait double precision) RETURNS record
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
now_at double precision := lock_key(in_store, in_key);
tokens double precision := new_burst;
b record;
begin
select o.level, o.at, o.rate, o.burst into b from store_buckets o where o.store = in_store and o.key = in_key;
if found then
tokens := least(b.level + greatest(now_at - b.at, 0) * b.rate, b.burst, new_burst);
now_at := greatest(now_at, b.at);
end if;
granted := least(greatest(taken, 0), floor(tokens + 1e-9));
wait := case when granted > 0 or taken <= 0 then 0 else greatest(1 - tokens, 0) / new_rate end;
tokens := least(greatest(tokens - granted, 0) + greatest(given, 0), new_burst);
insert into store_buckets as o (store, key, level, at, rate, burst, top)
values (in_store, in_key, tokens, now_at, new_rate, new_burst, new_burst)
on conflict (store, key) do update set level = excluded.level, at = excluded.at, rate = excluded.rate,
burst = excluded.burst, top = greatest(o.top, excluded.top);
end $$;
CREATE FUNCTION kept_schema.store_watch(in_store text, low text[], high text[], since text) RETURNS TABLE(head text, is_all boolean, key text, value bytea, version bigint)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
at double precision := extract(epoch from clock_timestamp());
before double precision := split_part(since, ' ', 1);
server text := concat_ws('/', extract(epoch from pg_postmaster_start_time()), to_regclass('store_changes')::oid);
seen txid_snapshot := nullif(split_part(since, ' ', 3), '');
begin
if since is null or split_part(since, ' ', 2) <> server or at - before not between 0 and 30 then
return query
select concat_ws(' ', at, server, txid_current_snapshot()), true, null::text, null::bytea, null::bigint
union all
select null, null, e.key, e.value, e.version from unnest(low, high) as r (low, high) cross join lateral (
select o.key, o.value, o.version from store_entries o
where o.store = in_store and o.key >= r.low and o.key < r.high and (o.expires is null or o.expires > at)
offset 0
) e;
else
return query
select concat_ws(' ', at, server, txid_current_snapshot()), false, null::text, null::bytea, null::bigint
union all
select null, null, c.key, e.value, coalesce(e.version, c.version) from (
select d.key, max(d.version) as version from store_changes d
where d.xid >= txid_snapshot_xmin(seen) and not txid_visible_in_snapshot(d.xid, seen)
and d.store = in_store
and exists (select from unnest(low, high) as r (low, high) where d.key >= r.low and d.key < r.high)
group by d.key
) c left join store_entries e
on e.store = in_store and e.key = c.key and (e.expires is null or e.expires > at)
union all
select null, null, e.key, null, e.version from store_entries e
where e.expires > before and e.expires <= at and e.store = in_store
and exists (select from unnest(low, high) as r (low, high) where e.key >= r.low and e.key < r.high);
end if;
end $$;
CREATE FUNCTION kept_schema.straighten(q kept_schema.queues) RETURNS void
LANGUAGE plpgsql
AS $$
declare
behind record;
last_key text := '';
last_seq bigint := -1;
begin
loop
select b.key, b.seq into behind from messages b
where b.queue = q.id and b.key >= last_key and b.key is not null and b.state = 3
and (b.key, b.seq) > (last_key, last_seq) order by b.key, b.seq limit 1;
exit when not found;
update messages m set state = 0 where m.seq = behind.seq and behind.seq < coalesce((
select e.seq from messages e
where e.queue = q.id and e.key >= behind.key and e.key <= behind.key
and e.key is not null and e.state <> 3 order by e.key, e.seq limit 1), 9223372036854775807);
last_key := behind.key;
last_seq := 9223372036854775807;  -- one a key
end loop;
end $$;
CREATE FUNCTION kept_schema.surface_due(q kept_schema.queues, at timestamp with time zone, most integer) RETURNS integer
LANGUAGE plpgsql
AS $$
declare
back integer;
begin
if q.fair > 0 then
return surface_in_lanes(q, at, most);
end if;
update messages set state = 0, due = null, suspect = suspect or state = 2 where seq = any (array(
select seq from messages where queue = q.id and due <= at order by due limit most for update skip locked));
get diagnostics back = row_count;
return back;
end $$;
CREATE FUNCTION kept_schema.surface_in_lanes(q kept_schema.queues, at timestamp with time zone, most integer) RETURNS integer
LANGUAGE plpgsql
AS $$
declare
back integer;
begin
with due as (
update messages m set state = case when m.lane is null then 0 else 4 end, due = null,
suspect = m.suspect or m.state = 2
where m.seq = any (array(
select d.seq from messages d where d.queue = q.id and d.due <= at
order by d.due limit most for update skip locked))
returning coalesce(m.lane, '') as lane
), arrived as (
insert into arrivals (queue, lane) select distinct q.id, d.lane from due d
)
select count(*) into back from due;
return back;
end $$;
CREATE FUNCTION kept_schema.sweep_lanes(at timestamp with time zone, most integer) RETURNS void
LANGUAGE plpgsql
AS $$
begin
delete from lanes where ctid = any (array(
select l.ctid from lanes l where l.is_empty and l.full_at <= extract(epoch from at)::double precision
order by l.full_at limit most for update skip locked));
end $$;
CREATE FUNCTION kept_schema.sweep_queue(queue_name text, kept double precision) RETURNS boolean
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
q queues;
begin
select * into q from queues where name = queue_name;
if not found
or not pg_try_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0)) then
return false;
end if;
perform 1 from queues o where o.id = q.id and o.temporary
and o.used_at < clock_timestamp() - kept * interval '1 second' for update skip locked;
if not found then
return false;
end if;
perform delete_queue(queue_name);
return true;
end $$;
CREATE FUNCTION kept_schema.sweep_uniques(at timestamp with time zone) RETURNS void
LANGUAGE plpgsql
AS $$
begin
delete from uniques where ctid = any (array(
select u.ctid from uniques u where u.ctid = any (array(
select s.ctid from uniques s tablesample system (
least(100, 2000.0 / greatest(pg_relation_size('uniques') / current_setting('block_size')::bigint, 1))) limit 500))
and coalesce(u.until <= at, true) and not exists (select 1 from messages m where m.seq = u.seq and m.queue = u.queue)
for update skip locked));
end $$;
CREATE FUNCTION kept_schema.take_by_key(q kept_schema.queues, most integer, most_bytes bigint, until timestamp with time zone) RETURNS SETOF kept_schema.offer
LANGUAGE plpgsql
AS $$
declare
at_once constant integer := 2000;
line no scroll cursor for
select l.seq, l.key, l.size,
case when l.key is not null then (
select e.seq from messages e
where e.queue = q.id and e.key >= l.key and e.key <= l.key
and e.key is not null and e.state <> 3
order by e.key, e.seq limit 1) end as front,
case when l.key is not null then (
select h.seq from messages h
where h.key >= l.key and h.key <= l.key and h.queue >= q.id and h.queue <= q.id
and h.key is not null and h.state = 2 order by h.key, h.queue limit 1) end as held
from (
select m.seq, m.key, octet_length(m.body) as size from messages m
where m.queue = q.id and m.state = 0 order by m.rank, m.seq limit at_once
for no key update skip locked
) l;
space text := 'tasuki ' || current_schema() || ' ' || q.id || ' ';
seen integer;
moved integer;
taken integer;
bytes bigint;
fit bigint[];
fit_keys text[];
behind bigint[];
fronts bigint[];
begin
for turn in 1..20 loop
seen := 0;
moved := 0;
bytes := 0;
fit := '{}';
fit_keys := '{}';
behind := '{}';
fronts := '{}';
for m in line loop
seen := seen + 1;
if m.front < m.seq then
behind := array_append(behind, m.seq);
fronts := array_append(fronts, m.front);
elsif m.key is null
or (m.held is null and pg_try_advisory_xact_lock(hashtextextended(space || m.key, 1))) then
fit := array_append(fit, m.seq);
fit_keys := array_append(fit_keys, m.key);
bytes := bytes + m.size;
exit when cardinality(fit) >= least(most, 100) or bytes >= most_bytes;
end if;
end loop;
if behind <> '{}' then
update messages m set state = 3 where m.seq = any (array(
select b.seq from unnest(behind, fronts) as b (seq, front) cross join lateral (
select 1 from messages e where e.seq = b.front offset 0 for key share skip locked
) a));
get diagnostics moved = row_count;
end if;
return query
with claims as (
update messages m set state = 2, token = m.token + 1, counted = false, due = until,
place = case when q.limited then '' end
where m.seq = any (array(
select f.seq from unnest(fit, fit_keys) as f (seq, key)
where f.key is null or (
f.seq = (
select e.seq from messages e
where e.queue = q.id and e.key >= f.key and e.key <= f.key
and e.key is not null and e.state <> 3
order by e.key, e.seq limit 1)
and (
select h.seq from messages h
where h.key >= f.key and h.key <= f.key and h.queue >= q.id and h.queue <= q.id
and h.key is not null and h.state = 2 order by h.key, h.queue limit 1) is null)))
returning m.*
)
select c.seq, c.token, c.attempts + 1, c.id, c.headers, c.body, c.suspect,
null::double precision, null::boolean
from claims c order by c.rank, c.seq;
get diagnostics taken = row_count;
exit when taken > 0 or (fit = '{}' and (seen < at_once or moved = 0));
end loop;
end $$;
CREATE FUNCTION kept_schema.take_in_turns(q kept_schema.queues, most integer, most_bytes bigint, lease double precision, has_locked boolean) RETURNS bigint[]
LANGUAGE plpgsql
AS $$
declare
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
) c where u.most > 0 and u.name <> '';
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
end if;
select seqs || array_agg(c.seq), places || array_agg(nth), sizes || array_agg(c.size) into seqs, places, sizes
from (
select m.seq, octet_length(m.body)::bigint as size from messages m
where m.queue = q.id and m.state = 0 and (not q.by_lane or coalesce(m.key, '') = '')
order by m.rank, m.seq limit mosts[nth] for update skip locked) c;
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
update messages m set state = 2, token = m.token + 1, counted = false, place = coalesce(m.lane, ''),
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
CREATE FUNCTION kept_schema.take_one(queue_id integer, pace double precision) RETURNS kept_schema.offer
LANGUAGE plpgsql
AS $$
declare
few constant integer := 8;
found_now record;
q queues;
at timestamptz;
one offer;
row_id tid;
name text;
has_more boolean;
free integer := 1000000;
waits_until timestamptz;
begin
if random() < 0.02
or not pg_try_advisory_xact_lock_shared(hashtextextended('tasuki ' || current_schema() || ' ' || queue_id, 0)) then
return null;
end if;
select o as q,  -- its options may have changed until the lock was ours
a.names, a.arrived,
(select l.turn from lanes l
where l.queue = o.id and l.ready_at is null order by l.turn, l.since, l.lane limit 1) as first_turn,
least(
(select m.due from messages m where m.queue = o.id and m.due is not null order by m.due limit 1),
(select l.ready_at from lanes l
where l.queue = o.id and l.ready_at is not null and not l.is_empty order by l.ready_at limit 1)) as due,
(select max(w.until) from waiters w where w.queue = o.id) as watched_until
into found_now
from queues o cross join lateral (
select array_agg(f.lane) as names, array_agg(f.id) as arrived from (
select r.lane, r.ctid as id from arrivals r where r.queue = o.id and r.lane >= ''
order by r.lane limit few) f
) a
where o.id = queue_id;
q := found_now.q;
at := clock_timestamp();
if q.id is null or q.fair = 0 or q.by_lane or q.rate is not null or q.concurrency is not null or q.lane_rate is not null
or found_now.due <= at or cardinality(found_now.names) = few or found_now.names[1] = '' then
return null;
end if;
if found_now.names is not null
and pg_try_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 2)) then
name := fold_few(q, at, found_now.names, found_now.arrived, found_now.first_turn);
end if;
if name is null then
select l.ctid, l.lane into row_id, name from lanes l where l.queue = q.id and l.ready_at is null
order by l.turn, l.since, l.lane limit 1 for update skip locked;
if not found or name = '' then
return null;
end if;
end if;
if q.lane_concurrency is not null then
free := q.lane_concurrency - places_held(q, name, at);
end if;
if free > 0 then
update messages m set state = 2, token = m.token + 1, counted = false, place = name,
due = at + q.lease * interval '1 second'
where m.seq = any (array(
select o.seq from messages o where o.queue = q.id and o.lane = name and o.state = 4
order by o.rank, o.seq limit 1 for update skip locked))
returning m.seq, m.token, m.attempts + 1, m.id, m.headers, m.body, m.suspect, null::double precision, (
select n.seq from messages n where n.queue = q.id and n.lane = name and n.state = 4 and n.seq <> m.seq
order by n.rank, n.seq limit 1) is not null
into one;
end if;
has_more := one.registered;
one.registered := null;
if one.seq is null then
if row_id is null and has_ready(q, name) then
insert into lanes (queue, lane, turn, since) values (q.id, name, 0, at);
end if;
return null;  -- it is full, or others have locked its messages
elsif not has_more then
if row_id is not null then
delete from lanes l where l.ctid = row_id;
end if;
else
waits_until := case when free = 1 then at + interval '1 minute' end;
if row_id is not null then
update lanes l set turn = l.turn + 1, since = at + interval '1 microsecond', ready_at = waits_until where l.ctid = row_id;
else
insert into lanes (queue, lane, turn, since, ready_at) values (q.id, name, 1, at, waits_until);
end if;
end if;
if found_now.watched_until > at then
perform wake_for_rest(q, pace);
end if;
return one;
end $$;
CREATE FUNCTION kept_schema.tokens(rate double precision, burst integer, full_at double precision, now_at double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE
AS $$
select case when rate is not null then greatest(floor(burst - (greatest(full_at - now_at, 0) - 2e-6) * rate), 0) end
$$;
CREATE FUNCTION kept_schema.transfer(queue_name text, target text, seqs bigint[], sought text[], ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], lanes text[] DEFAULT NULL::text[]) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
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
CREATE FUNCTION kept_schema.unused_queues(kept double precision) RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
select q.name from queues q where q.temporary and q.used_at < clock_timestamp() - kept * interval '1 second'
order by q.used_at limit 1000
$$;
CREATE FUNCTION kept_schema.wake(q kept_schema.queues, messages bigint, due timestamp with time zone) RETURNS void
LANGUAGE plpgsql
AS $$
declare
at timestamptz := clock_timestamp();
chosen bigint;
most bigint := messages;
begin
if due is not null and not exists (
select 1 from waiters w where w.queue = q.id and w.until > at and w.wakes_at <= due and w.wakes_at > at) then
most := most + 1;
end if;
for chosen in
delete from waiters w where w.ctid = any (array(
select o.ctid from waiters o where o.queue = q.id and o.until > at and o.hears
order by o.wakes_at is not null, o.until desc limit most for update skip locked))
returning w.holder
loop
perform pg_notify('tasuki:' || to_hex(chosen), q.name);
end loop;
end $$;
CREATE FUNCTION kept_schema.wake_for_rest(q kept_schema.queues, pace double precision) RETURNS void
LANGUAGE plpgsql
AS $$
declare
at timestamptz := clock_timestamp();
next_due timestamptz := opens_at(q.id, at);
begin
perform wake(q, case when next_due <= at then 1 else 0 end, (
select d.due from (select least(case when next_due > at then next_due end, (
select m.due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1)) as due) d
where d.due < at + 2 * pace * interval '1 second'));
end $$;
CREATE FUNCTION kept_schema.wake_later(q kept_schema.queues, messages integer) RETURNS void
LANGUAGE plpgsql
AS $$
declare
chosen bigint;
begin
for chosen in
select w.holder from waiters w where w.queue = q.id and w.hears and w.until > clock_timestamp()
order by random() limit messages
loop
perform pg_notify('tasuki:' || to_hex(chosen), q.name);
end loop;
if not found then
perform pg_notify('tasuki:' || current_schema(), q.name);
end if;
end $$;
CREATE TABLE kept_schema.arrivals (
queue integer NOT NULL,
lane text COLLATE pg_catalog."C",
given integer DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.changes (
queue integer NOT NULL,
change bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.consumers (
queue integer NOT NULL,
holder bigint NOT NULL,
count integer NOT NULL
);
CREATE TABLE kept_schema.deleted (
queue integer NOT NULL,
deleted_at timestamp with time zone NOT NULL
);
CREATE TABLE kept_schema.gates (
queue integer NOT NULL,
full_at double precision NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.inbox (
consumer text NOT NULL COLLATE pg_catalog."C",
key text NOT NULL COLLATE pg_catalog."C",
result bytea,
until timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.lanes (
queue integer NOT NULL,
lane text NOT NULL COLLATE pg_catalog."C",
turn bigint NOT NULL,
since timestamp with time zone NOT NULL,
ready_at timestamp with time zone,
is_empty boolean DEFAULT false NOT NULL,
full_at double precision DEFAULT 0 NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.messages (
seq bigint NOT NULL,
queue integer NOT NULL,
state smallint NOT NULL,
rank smallint NOT NULL,
attempts integer DEFAULT 0 NOT NULL,
token integer DEFAULT 0 NOT NULL,
due timestamp with time zone,
published_at timestamp with time zone NOT NULL,
key text,
id text NOT NULL,
headers bytea,
body bytea NOT NULL,
counted boolean DEFAULT false NOT NULL,
suspect boolean DEFAULT false NOT NULL,
error bytea,
failed_at timestamp with time zone,
lane text COLLATE pg_catalog."C",
place text COLLATE pg_catalog."C",
cause text COLLATE pg_catalog."C"
)
WITH (fillfactor='90', vacuum_truncate=off, autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='100000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='5000', toast.autovacuum_vacuum_scale_factor='0', toast.autovacuum_vacuum_threshold='1000', toast.autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY kept_schema.messages ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE kept_schema.messages ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
SEQUENCE NAME kept_schema.messages_seq_seq
START WITH 1
INCREMENT BY 1
NO MINVALUE
NO MAXVALUE
CACHE 1
);
CREATE TABLE kept_schema.migrations (
version integer NOT NULL,
min_version integer,
done_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE kept_schema.queues ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
SEQUENCE NAME kept_schema.queues_id_seq
START WITH 1
INCREMENT BY 1
NO MINVALUE
NO MAXVALUE
CACHE 1
);
CREATE TABLE kept_schema.seen (
queue integer NOT NULL,
id text NOT NULL,
at timestamp with time zone NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.store_buckets (
store text NOT NULL COLLATE pg_catalog."C",
key text NOT NULL COLLATE pg_catalog."C",
level double precision NOT NULL,
at double precision NOT NULL,
rate double precision NOT NULL,
burst bigint NOT NULL,
top bigint NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.store_changes (
xid bigint DEFAULT txid_current() NOT NULL,
store text NOT NULL COLLATE pg_catalog."C",
key text NOT NULL COLLATE pg_catalog."C",
version bigint NOT NULL,
at double precision NOT NULL
)
WITH (vacuum_truncate=off, autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.store_entries (
store text NOT NULL COLLATE pg_catalog."C",
key text NOT NULL COLLATE pg_catalog."C",
value bytea NOT NULL,
version bigint NOT NULL,
expires double precision
)
WITH (fillfactor='70', vacuum_truncate=off, autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='5000');
ALTER TABLE ONLY kept_schema.store_entries ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE kept_schema.store_entries ALTER COLUMN version ADD GENERATED BY DEFAULT AS IDENTITY (
SEQUENCE NAME kept_schema.store_entries_version_seq
START WITH 1
INCREMENT BY 1
NO MINVALUE
NO MAXVALUE
CACHE 1
);
CREATE TABLE kept_schema.store_places (
store text NOT NULL COLLATE pg_catalog."C",
key text NOT NULL COLLATE pg_catalog."C",
holder text NOT NULL COLLATE pg_catalog."C",
until double precision NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');
CREATE TABLE kept_schema.store_sweeps (
id integer NOT NULL,
at double precision NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200');
CREATE TABLE kept_schema.uniques (
queue integer NOT NULL,
key text NOT NULL COLLATE pg_catalog."C",
seq bigint NOT NULL,
id text NOT NULL,
until timestamp with time zone
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');
CREATE UNLOGGED TABLE kept_schema.waiters (
queue integer NOT NULL,
holder bigint NOT NULL,
until timestamp with time zone NOT NULL,
hears boolean,
wakes_at timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200');
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263133, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:26.345897+00', NULL, '01a231cb-c03f-7000-8278-57053f8542e6', '\x7b2274696d657374616d70223a313739363133313736367d', '\x30', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263134, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:29.521457+00', NULL, '01a231cb-cc85-7000-a47b-5730f9bb0bd7', '\x7b2274696d657374616d70223a313739363133313736397d', '\x31', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263135, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:33.336202+00', NULL, '01a231cb-db7e-7000-9867-ce746d5e72ed', '\x7b2274696d657374616d70223a313739363133313737337d', '\x32', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263136, 2, 0, 9, 0, 0, NULL, '2026-12-01 13:29:36.805405+00', 'k', '01a231cb-e909-7000-8d8b-9a2d3ae94729', '\x7b2274696d657374616d70223a313739363133313737362c22706172746974696f6e5f6b6579223a226b227d', '\x30', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263137, 2, 0, 9, 0, 0, NULL, '2026-12-01 13:29:38.533737+00', 'k', '01a231cb-efd9-7000-a6fe-c8af3a63e167', '\x7b2274696d657374616d70223a313739363133313737382c22706172746974696f6e5f6b6579223a226b227d', '\x31', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263138, 2, 0, 9, 0, 0, NULL, '2026-12-01 13:29:40.309912+00', 'k', '01a231cb-f6cf-7000-aaec-52c584b408c8', '\x7b2274696d657374616d70223a313739363133313738302c22706172746974696f6e5f6b6579223a226b227d', '\x32', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263139, 1, 1, 9, 0, 0, '2026-12-01 13:29:41.726968+00', '2026-12-01 13:29:41.725968+00', NULL, '01a231cb-fc55-7000-8df2-d1b24a63a084', '\x7b2274696d657374616d70223a313739363133313738312c22785f647565223a313739363133313738312e373138323136327d', '\x33', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263140, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:44.600582+00', NULL, '01a231cc-0789-7000-87d1-c013d59591a7', '\x7b2274696d657374616d70223a313739363133313738342c226b696e64223a22c3a9227d', '\x34', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131766263141, 3, 0, 9, 0, 0, NULL, '2026-12-01 13:29:47.386527+00', NULL, '01a231cc-124e-7000-a162-4d68cc0ec3f0', '\x7b2274696d657374616d70223a313739363133313738377d', '\x30', false, false, NULL, NULL, NULL, NULL, NULL);
INSERT INTO kept_schema.migrations VALUES (22, 17, '2026-12-01 13:29:26.261986+00');
INSERT INTO kept_schema.queues OVERRIDING SYSTEM VALUE VALUES (1, 'plain', 30, NULL, false, NULL, 0, '-infinity', false, '2026-12-01 13:29:26.294111+00', NULL, false, NULL, 1, NULL, 0, NULL, 1, NULL, false);
INSERT INTO kept_schema.queues OVERRIDING SYSTEM VALUE VALUES (2, 'keyed', 30, NULL, true, NULL, 0, '-infinity', false, '2026-12-01 13:29:26.301316+00', NULL, false, NULL, 1, NULL, 0, NULL, 1, NULL, false);
INSERT INTO kept_schema.queues OVERRIDING SYSTEM VALUE VALUES (3, 'paused', 30, NULL, false, NULL, 0, '-infinity', false, '2026-12-01 13:29:26.302986+00', NULL, false, NULL, 1, NULL, 0, NULL, 1, NULL, false);
INSERT INTO kept_schema.store_changes VALUES (808, 'state', 'control/pause/queue/paused', 1796131766265044, 1796131789.850157);
INSERT INTO kept_schema.store_changes VALUES (810, 'state', 'audit.next', 1796131766265045, 1796131789.861839);
INSERT INTO kept_schema.store_changes VALUES (811, 'state', 'audit/000', 1796131766265046, 1796131789.869206);
INSERT INTO kept_schema.store_entries VALUES ('state', 'control/pause/queue/paused', '\x7b226174223a313739363133313738392e38333430362c22756e74696c223a6e756c6c2c226163746f72223a22726f6f7440766d222c22726561736f6e223a22227d', 1796131766265044, NULL);
INSERT INTO kept_schema.store_entries VALUES ('state', 'audit.next', '\x31', 1796131766265045, 1798723789.861839);
INSERT INTO kept_schema.store_entries VALUES ('state', 'audit/000', '\x7b2274696d65223a313739363133313738392e3836343437322c226163746f72223a22726f6f7440766d222c2266726f6d223a22636f6d6d616e64206c696e65222c22616374223a227061757365222c22746172676574223a226170703a706175736564222c2266696c746572223a22222c22636f756e74223a6e756c6c2c22726573756c74223a22646f6e65222c226261746368223a22227d', 1796131766265046, 1798723789.869206);
INSERT INTO kept_schema.store_sweeps VALUES (1, 1796131789.833925);
SELECT pg_catalog.setval('kept_schema.messages_seq_seq', 1796131766263141, true);
SELECT pg_catalog.setval('kept_schema.queues_id_seq', 30, true);
SELECT pg_catalog.setval('kept_schema.store_entries_version_seq', 1796131766265046, true);
ALTER TABLE ONLY kept_schema.consumers
ADD CONSTRAINT consumers_pkey PRIMARY KEY (queue, holder);
ALTER TABLE ONLY kept_schema.deleted
ADD CONSTRAINT deleted_pkey PRIMARY KEY (queue);
ALTER TABLE ONLY kept_schema.gates
ADD CONSTRAINT gates_pkey PRIMARY KEY (queue);
ALTER TABLE ONLY kept_schema.holders
ADD CONSTRAINT holders_pkey PRIMARY KEY (holder);
ALTER TABLE ONLY kept_schema.inbox
ADD CONSTRAINT inbox_pkey PRIMARY KEY (consumer, key);
ALTER TABLE ONLY kept_schema.lanes
ADD CONSTRAINT lanes_pkey PRIMARY KEY (queue, lane);
ALTER TABLE ONLY kept_schema.messages
ADD CONSTRAINT messages_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY kept_schema.migrations
ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY kept_schema.queues
ADD CONSTRAINT queues_name_key UNIQUE (name);
ALTER TABLE ONLY kept_schema.queues
ADD CONSTRAINT queues_pkey PRIMARY KEY (id);
ALTER TABLE ONLY kept_schema.seen
ADD CONSTRAINT seen_pkey PRIMARY KEY (queue, id);
ALTER TABLE ONLY kept_schema.store_buckets
ADD CONSTRAINT store_buckets_pkey PRIMARY KEY (store, key);
ALTER TABLE ONLY kept_schema.store_entries
ADD CONSTRAINT store_entries_pkey PRIMARY KEY (store, key);
ALTER TABLE ONLY kept_schema.store_places
ADD CONSTRAINT store_places_pkey PRIMARY KEY (store, key, holder);
ALTER TABLE ONLY kept_schema.store_sweeps
ADD CONSTRAINT store_sweeps_pkey PRIMARY KEY (id);
ALTER TABLE ONLY kept_schema.uniques
ADD CONSTRAINT uniques_pkey PRIMARY KEY (queue, key);
ALTER TABLE ONLY kept_schema.waiters
ADD CONSTRAINT waiters_pkey PRIMARY KEY (queue, holder);
CREATE INDEX arrivals_by_lane ON kept_schema.arrivals USING btree (queue, lane);
CREATE INDEX changes_by_queue ON kept_schema.changes USING btree (queue);
CREATE INDEX inbox_until ON kept_schema.inbox USING btree (until);
CREATE INDEX lanes_empty ON kept_schema.lanes USING btree (full_at) WHERE is_empty;
CREATE INDEX lanes_parked ON kept_schema.lanes USING btree (queue, ready_at) WHERE ((ready_at IS NOT NULL) AND (NOT is_empty));
CREATE INDEX lanes_turns ON kept_schema.lanes USING btree (queue, turn, since, lane) WHERE (ready_at IS NULL);
CREATE INDEX messages_behind ON kept_schema.messages USING btree (queue, key, seq) WHERE ((key IS NOT NULL) AND (state = 3));
CREATE INDEX messages_causes ON kept_schema.messages USING btree (queue, cause, published_at, seq) WHERE ((cause IS NOT NULL) AND (state <> 2));
CREATE INDEX messages_due ON kept_schema.messages USING btree (queue, due, seq) WHERE (due IS NOT NULL);
CREATE INDEX messages_held ON kept_schema.messages USING btree (key, queue) WHERE ((key IS NOT NULL) AND (state = 2));
CREATE INDEX messages_keys ON kept_schema.messages USING btree (queue, key, seq) WHERE ((key IS NOT NULL) AND (state <> 3));
CREATE INDEX messages_lanes ON kept_schema.messages USING btree (queue, lane, rank, seq) WHERE (state = 4);
CREATE INDEX messages_places ON kept_schema.messages USING btree (queue, place) WHERE ((state = 2) AND (place IS NOT NULL));
CREATE INDEX messages_ready ON kept_schema.messages USING btree (queue, rank, seq) WHERE (state = 0);
CREATE INDEX queues_temporary ON kept_schema.queues USING btree (used_at) WHERE temporary;
CREATE INDEX seen_by_age ON kept_schema.seen USING btree (queue, at);
CREATE INDEX store_changes_xid ON kept_schema.store_changes USING btree (xid);
CREATE INDEX store_entries_expires ON kept_schema.store_entries USING btree (expires) WHERE (expires IS NOT NULL);
ALTER TABLE ONLY kept_schema.consumers
ADD CONSTRAINT consumers_holder_fkey FOREIGN KEY (holder) REFERENCES kept_schema.holders(holder) ON DELETE CASCADE;
