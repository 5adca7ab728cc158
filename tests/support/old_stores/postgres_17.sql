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
synchronous_commit text
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
select n.name, (select q.id from queues q where q.name = n.name) as queue from unnest(names) as n (name)
), seen as materialized (
select a.*, a.queue is null or (
select m.seq from messages m where m.queue = a.queue and m.state = 0 order by m.rank, m.seq limit 1
) is not null as is_ready,
(select m.due from messages m where m.queue = a.queue and m.due is not null order by m.due limit 1) as due
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
select t.name, t.is_ready or coalesce(t.due <= at, false),
least(
t.rest + case when t.rest < turn / 2 then t.cycle else 0 end,
case when t.watched > at then extract(epoch from t.watched - at)::double precision
when t.watched is not null then 0.05 end),
t.noted_until is null
from planned t;
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
perform surface_due(q.id, at, 100000);
with shown as (
select m.seq from messages m where m.queue = q.id and m.state = 0
limit most for update skip locked
), late as (
select m.seq from messages m where m.queue = q.id and m.state = 1 and m.due is not null
limit most for update skip locked
), behind as (
select m.seq from messages m where m.queue = q.id and m.state = 3 and m.key is not null
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
perform bring_forward(q, keys);
end if;
return gone;
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
ready := ready + lines + behind;
is_estimate := greatest(dues, lines, behind) >= most;
if is_estimate then
blocks := greatest(pg_relation_size('messages') / current_setting('block_size')::bigint, 1);
share := least(400.0 / blocks, 1);
select greatest(ready, count(*) filter (where m.state in (0, 3) or m.due <= at) / share),
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
CREATE FUNCTION kept_schema.declare_queue(queue_name text, new_lease double precision, new_max_length bigint, new_by_key boolean, new_dedup_window double precision, new_temporary boolean, new_synchronous_commit text) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
old queues;
q queues;
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
update queues set lease = new_lease, max_length = new_max_length, by_key = new_by_key,
dedup_window = new_dedup_window, synchronous_commit = new_synchronous_commit
where id = old.id and (lease, max_length, by_key, dedup_window, synchronous_commit)
is distinct from (new_lease, new_max_length, new_by_key, new_dedup_window, new_synchronous_commit);
update queues set temporary = new_temporary, used_at = clock_timestamp()
where id = old.id and (temporary or new_temporary);
select * into q from queues where id = old.id;
if new_max_length is not null and old.max_length is null then
perform recount(q.id);
end if;
if old.by_key and not new_by_key then
update messages set state = 0 where queue = q.id and state = 3 and key is not null;
elsif new_by_key then
perform straighten(q);
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
delete from changes where queue = q_id;
delete from seen where queue = q_id
$$;
CREATE FUNCTION kept_schema.extend(queue_name text, seqs bigint[], tokens integer[], lease double precision) RETURNS integer[]
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
update messages m set due = clock_timestamp() + extend.lease * interval '1 second' where m.seq = any (held);
return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
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
CREATE FUNCTION kept_schema.leave(who bigint) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
delete from holders where holder = who;
delete from waiters w where w.holder = who;
end $$;
CREATE FUNCTION kept_schema.lock_queue(q kept_schema.queues) RETURNS void
LANGUAGE sql
AS $$
select pg_advisory_xact_lock(hashtextextended('tasuki ' || current_schema() || ' ' || q.id, 0))
$$;
CREATE FUNCTION kept_schema.move(queue_name text, target text, seqs bigint[], tokens integer[], sizes integer[], ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[]) RETURNS integer[]
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
declare
answers integer[] := '{}';
first integer := 1;
last integer;
begin
begin
if publish(target, ids, bodies, headers, ranks, keys, delays, always, false) < cardinality(ids) then
raise exception using errcode = 'TQ507';
end if;
if settle(queue_name, seqs, tokens, null, null) <> '{}' then
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
delays[first:last], always[first:last]);
first := last + 1;
end loop;
return answers;
end $$;
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
select n.name, (select q.id from queues q where q.name = n.name) as queue from unnest(names) as n (name)
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
end,
case when a.queue is not null then coalesce((
select m.due from messages m where m.queue = a.queue and m.due is not null
order by m.due desc limit 1) > at, false)
end
from asked a;
end $$;
CREATE FUNCTION kept_schema.pass_on(queue_name text) RETURNS void
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
begin
perform wake(q, 1, null) from queues q where q.name = queue_name;
end $$;
CREATE FUNCTION kept_schema.peek(queue_name text, most integer, after integer) RETURNS TABLE(id text, headers bytea, body bytea)
LANGUAGE plpgsql
SET search_path TO 'kept_schema', 'pg_temp'
AS $$
#variable_conflict use_column
declare
q queues := queue_named(queue_name);
at timestamptz := clock_timestamp();
begin
perform surface_due(q.id, at, 10000);
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
CREATE FUNCTION kept_schema.publish(queue_name text, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], within boolean) RETURNS integer
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
if q.max_length is null and q.dedup_window is null then
insert into messages (queue, state, rank, due, published_at, key, id, headers, body)
select q.id, case when m.delay > 0 then 1 else 0 end, coalesce(m.rank, 9),
case when m.delay > 0 then at + m.delay * interval '1 second' end, at, m.key, m.id, m.headers, m.body
from unnest(ids, bodies, headers, ranks, keys, delays) as m (id, body, headers, rank, key, delay);
else
kept := publish_checked(q, ids, bodies, headers, ranks, keys, delays, always, within, at);
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
CREATE FUNCTION kept_schema.publish_checked(q kept_schema.queues, ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[], within boolean, at timestamp with time zone) RETURNS integer
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
CREATE FUNCTION kept_schema.purge_these(queue_name text, seqs bigint[]) RETURNS integer
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
with free as (
select f.seq from (select s.seq from unnest(seqs) as s (seq) order by s.seq) s cross join lateral (
select m.seq from messages m
where m.seq = s.seq and m.queue = q.id and not (m.state = 2 and m.due > at) offset 0 for update
) f
), done as (
delete from messages m where m.seq = any (array(select f.seq from free f)) returning m.key
)
select count(*), array_agg(distinct d.key) filter (where d.key is not null) into gone, keys from done d;
if q.max_length is not null and gone > 0 then
insert into changes (queue, change) values (q.id, -gone);
end if;
if q.by_key and keys is not null then
perform wake(q, bring_forward(q, keys), null);
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
begin
select * into q from queues where name = queue_name;
if not found then
q := queue_named(queue_name);  -- which raises
end if;
if q.by_key then
perform keep_ordering(q);
q := queue_named(queue_name);  -- it may have changed until the lock was ours
end if;
lease_end := at + q.lease * interval '1 second';
select m.due into next_due from messages m where m.queue = q.id and m.due is not null order by m.due limit 1;
if next_due <= at then
back := surface_due(q.id, at, greatest(most, 1000));
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
CREATE FUNCTION kept_schema.recount(q_id integer) RETURNS void
LANGUAGE sql
AS $$
with gone as (delete from changes where queue = q_id)
update queues set total = (select count(*) from messages where queue = q_id), counted_at = clock_timestamp()
where id = q_id
$$;
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
state = case when item.delay > 0 then 1 else 0 end,
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
if (back > 0 or soonest is not null or keys is not null)
and exists (select 1 from waiters where queue = q.id and until > at) then
perform wake(q, back + ready_keys(q, keys), at + soonest * interval '1 second');
end if;
if coalesce(cardinality(places), 0) = cardinality(seqs) then
return '{}';
end if;
return array(select generate_series(1, cardinality(seqs)) except select unnest(places));
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
CREATE FUNCTION kept_schema.surface_due(q_id integer, at timestamp with time zone, most integer) RETURNS integer
LANGUAGE plpgsql
AS $$
declare
back integer;
begin
update messages set state = 0, due = null, suspect = suspect or state = 2 where seq = any (array(
select seq from messages where queue = q_id and due <= at order by due limit most for update skip locked));
get diagnostics back = row_count;
return back;
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
update messages m set state = 2, token = m.token + 1, counted = false, due = until
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
suspect boolean DEFAULT false NOT NULL
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
CREATE UNLOGGED TABLE kept_schema.waiters (
queue integer NOT NULL,
holder bigint NOT NULL,
until timestamp with time zone NOT NULL,
hears boolean,
wakes_at timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='200');
INSERT INTO kept_schema.holders VALUES (449232007007959680, '2026-12-01 13:29:18.642872+00', 7722, '2026-12-01 13:29:18.62087+00');
INSERT INTO kept_schema.holders VALUES (6170596800031493635, '2026-12-01 13:29:19.804097+00', 7736, '2026-12-01 13:29:19.776214+00');
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409495, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:11.461595+00', NULL, '01a231cb-860a-7000-accd-0385b28a90b0', '\x7b2274696d657374616d70223a313739363133313735317d', '\x30', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409496, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:13.185616+00', NULL, '01a231cb-8cce-7000-a9a4-3b7128ef1ab4', '\x7b2274696d657374616d70223a313739363133313735337d', '\x31', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409497, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:14.930599+00', NULL, '01a231cb-9399-7000-a50a-ab546244b7b4', '\x7b2274696d657374616d70223a313739363133313735347d', '\x32', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409498, 2, 0, 9, 0, 0, NULL, '2026-12-01 13:29:16.289441+00', 'k', '01a231cb-98fd-7000-815e-274d43801292', '\x7b2274696d657374616d70223a313739363133313735362c22706172746974696f6e5f6b6579223a226b227d', '\x30', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409499, 2, 0, 9, 0, 0, NULL, '2026-12-01 13:29:18.083223+00', 'k', '01a231cb-9ff6-7000-84a9-3feeec3ae66b', '\x7b2274696d657374616d70223a313739363133313735382c22706172746974696f6e5f6b6579223a226b227d', '\x31', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409500, 2, 0, 9, 0, 0, NULL, '2026-12-01 13:29:18.642231+00', 'k', '01a231cb-a22b-7000-8987-015a5402dee9', '\x7b2274696d657374616d70223a313739363133313735382c22706172746974696f6e5f6b6579223a226b227d', '\x32', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409501, 1, 1, 9, 0, 0, '2026-12-01 13:29:19.245791+00', '2026-12-01 13:29:19.244791+00', NULL, '01a231cb-a47a-7000-af4d-2cf0c43c34c7', '\x7b2274696d657374616d70223a313739363133313735397d', '\x33', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409502, 1, 0, 9, 0, 0, NULL, '2026-12-01 13:29:19.80134+00', NULL, '01a231cb-a6aa-7000-bd90-cf9c62e881f9', '\x7b2274696d657374616d70223a313739363133313735392c226b696e64223a22c3a9227d', '\x34', false, false);
INSERT INTO kept_schema.messages OVERRIDING SYSTEM VALUE VALUES (1796131751409503, 3, 0, 9, 0, 0, NULL, '2026-12-01 13:29:21.242458+00', NULL, '01a231cb-ac4c-7000-ac5b-bbf4928ce7bf', '\x7b2274696d657374616d70223a313739363133313736317d', '\x30', false, false);
INSERT INTO kept_schema.migrations VALUES (17, 17, '2026-12-01 13:29:11.405166+00');
INSERT INTO kept_schema.queues OVERRIDING SYSTEM VALUE VALUES (1, 'plain', 30, NULL, false, NULL, 0, '-infinity', false, '2026-12-01 13:29:11.413178+00', NULL);
INSERT INTO kept_schema.queues OVERRIDING SYSTEM VALUE VALUES (2, 'keyed', 30, NULL, true, NULL, 0, '-infinity', false, '2026-12-01 13:29:11.421406+00', NULL);
INSERT INTO kept_schema.queues OVERRIDING SYSTEM VALUE VALUES (3, 'paused', 30, NULL, false, NULL, 0, '-infinity', false, '2026-12-01 13:29:11.422399+00', NULL);
SELECT pg_catalog.setval('kept_schema.messages_seq_seq', 1796131751409503, true);
SELECT pg_catalog.setval('kept_schema.queues_id_seq', 30, true);
ALTER TABLE ONLY kept_schema.consumers
ADD CONSTRAINT consumers_pkey PRIMARY KEY (queue, holder);
ALTER TABLE ONLY kept_schema.deleted
ADD CONSTRAINT deleted_pkey PRIMARY KEY (queue);
ALTER TABLE ONLY kept_schema.holders
ADD CONSTRAINT holders_pkey PRIMARY KEY (holder);
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
ALTER TABLE ONLY kept_schema.waiters
ADD CONSTRAINT waiters_pkey PRIMARY KEY (queue, holder);
CREATE INDEX changes_by_queue ON kept_schema.changes USING btree (queue);
CREATE INDEX messages_behind ON kept_schema.messages USING btree (queue, key, seq) WHERE ((key IS NOT NULL) AND (state = 3));
CREATE INDEX messages_due ON kept_schema.messages USING btree (queue, due, seq) WHERE (due IS NOT NULL);
CREATE INDEX messages_held ON kept_schema.messages USING btree (key, queue) WHERE ((key IS NOT NULL) AND (state = 2));
CREATE INDEX messages_keys ON kept_schema.messages USING btree (queue, key, seq) WHERE ((key IS NOT NULL) AND (state <> 3));
CREATE INDEX messages_ready ON kept_schema.messages USING btree (queue, rank, seq) WHERE (state = 0);
CREATE INDEX queues_temporary ON kept_schema.queues USING btree (used_at) WHERE temporary;
CREATE INDEX seen_by_age ON kept_schema.seen USING btree (queue, at);
ALTER TABLE ONLY kept_schema.consumers
ADD CONSTRAINT consumers_holder_fkey FOREIGN KEY (holder) REFERENCES kept_schema.holders(holder) ON DELETE CASCADE;
