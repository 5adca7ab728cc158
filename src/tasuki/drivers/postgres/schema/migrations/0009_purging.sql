-- A purge removes the messages that its caller saw when it began, by their numbers: what is published meanwhile stays.

-- Removes those of these messages that are not held now; returns how many.
create or replace function purge_these(queue_name text, seqs bigint[]) returns integer language plpgsql as $$
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
        if bring_forward(q, keys) > 0 then
            perform pg_notify(q.channel, '');
        end if;
    end if;
    return gone;
end $$;

-- Removes a queue with all that it holds; returns its number. Of several that do so at once, one finds it.
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
    delete from consumers where queue = q.id;
    delete from waiters where queue = q.id;
    perform delete_rest(q.id);
    insert into deleted (queue, deleted_at) values (q.id, clock_timestamp()) on conflict do nothing;
    perform pg_notify(q.channel, '');
    return q.id;
end $$;

-- Many temporary queues may have been deleted within minutes: their rest is removed in parts.
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
        select o.queue from deleted o where o.deleted_at < at - interval '10 minutes' limit 2000 for update skip locked))
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

do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in ('purge_these', 'delete_queue', 'beat')
    loop
        execute format('alter function %s set search_path from current', name);
        execute format('alter function %s set plan_cache_mode = force_generic_plan', name);
        execute format('alter function %s set enable_seqscan = off', name);
        execute format('alter function %s set enable_bitmapscan = off', name);
        execute format('alter function %s set enable_hashjoin = off', name);
        execute format('alter function %s set enable_mergejoin = off', name);
        execute format('alter function %s set jit = off', name);
    end loop;
end $$;
