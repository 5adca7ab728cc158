-- Notes a heartbeat, and removes processes without one. pid_now: the listening connection, or null. Returns whether the
-- process was known.
create or replace function beat(who bigint, pid_now integer) returns boolean language plpgsql as $$
declare
    was_known boolean := exists (select 1 from holders h where h.holder = who);
    at timestamptz := clock_timestamp();
    started_now timestamptz := (select a.backend_start from pg_stat_activity a where a.pid = pid_now);
    q_id integer;
begin
    lock table queues in access share mode;  -- first, as the verbs do: a change of the schema locks it first too
    perform set_config('synchronous_commit', 'off', true);  -- the next one comes soon
    insert into holders (holder, seen, pid, started) values (who, at, pid_now, started_now)
    on conflict (holder) do update set seen = excluded.seen, pid = excluded.pid, started = excluded.started, gone_at = null;
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
    perform find_orphans();
    perform change_step(o.name) from queues o where o.change_at is not null;
    -- No other function adds up the changes of a queue to which all messages are published in transactions of callers.
    for q_id in select c.queue from changes c group by c.queue having count(*) > 1000 loop
        perform 1 from queues q where q.id = q_id for update skip locked;
        if found then
            with gone as (delete from changes c where c.queue = q_id returning c.change)
            update queues q set total = q.total + (select sum(g.change) from gone g) where q.id = q_id;
        end if;
    end loop;
    return was_known;
end $$;

create or replace function leave(who bigint) returns void language plpgsql as $$
begin
    delete from holders where holder = who;
    delete from waiters w where w.holder = who;
    delete from store_watchers w where w.holder = who;
end $$;

-- Notes that the process of these temporary queues runs. Writes nothing over a recent note.
create or replace function keep_queues(names text[], kept double precision) returns void language sql as $$
    update queues set used_at = clock_timestamp() where id = any (array(
        select q.id from queues q where q.name = any (names) and q.temporary
        and q.used_at < clock_timestamp() - kept * interval '1 second' / 10 order by q.id for update))
$$;

-- Temporary queues whose process was not noted for this many seconds.
create or replace function unused_queues(kept double precision) returns setof text language sql stable as $$
    select q.name from queues q where q.temporary and q.used_at < clock_timestamp() - kept * interval '1 second'
    order by q.used_at limit 1000
$$;

-- Removes a queue that is still unused; another process may be about to do the same, or to declare it.
create or replace function sweep_queue(queue_name text, kept double precision) returns boolean language plpgsql as $$
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
