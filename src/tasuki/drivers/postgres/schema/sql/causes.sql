-- Why dead letters died: for people and their tools, through an index of the letters that say it (docs/adr/0042).

-- The cause that a message's headers say, as Tasuki writes it; null: none. JSON has no quotation mark inside a text without a
-- backslash before it, so the pattern fits nothing but the header. Almost all messages end at the first condition.
create or replace function cause_in(headers bytea) returns text language sql immutable as $$
    select case when position('"x_cause":"'::bytea in headers) > 0 then
        substring(encode(headers, 'escape') from '[{,]"x_cause":"([0-9a-f]{12})"') end
$$;

-- The waiting messages of a queue by their causes: a row for each of the most largest groups and the causes in also, with its newest message,
-- the ids of the newest ones, and how many came in each of the parts of the last span seconds; then one without a cause, for all other groups, and with the messages that
-- have no cause.
create or replace function count_causes(
    queue_name text, most integer, also text[], span double precision, parts integer, newest integer
) returns table (
    cause text, number bigint, first_at double precision, last_at double precision, recent bigint[],
    ids text[], headers bytea, error bytea, failed_at double precision, unmarked bigint
) language plpgsql as $$
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

-- Shows waiting messages of one cause in the order in which they were stored, or from the newest back.
create or replace function show_cause(queue_name text, cause text, most integer, after integer, newest_first boolean)
returns table (seq bigint, id text, headers bytea, body bytea, error bytea, failed_at double precision) language plpgsql as $$
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
