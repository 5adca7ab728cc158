-- Ends deliveries of one queue and stores messages in another, each with its own: of move i the next sizes[i] messages.
-- seqs must rise. Returns for each move 0: done, 1: stale, 2: no room. First the messages, as their queue is locked for
-- them where it is bounded, and a deletion locks in that order too.
create or replace function move(
    queue_name text, target text, seqs bigint[], tokens integer[], sizes integer[],
    ids text[], bodies bytea[], headers bytea[], ranks smallint[], keys text[], delays double precision[], always boolean[]
) returns integer[] language plpgsql as $$
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

do $$
begin
    execute format('alter function %s set search_path from current', (
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.proname = 'move'));
end $$;
