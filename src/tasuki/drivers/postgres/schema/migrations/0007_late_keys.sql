-- The first that stands behind comes forward, for each of these keys. Returns whether there is something to tell of: one
-- that was committed late, by a transaction that began before what is gone now was published, is ready already, and only
-- its key was in use. Of keys of which nothing came forward nothing stands behind, so few rows are looked at.
create or replace function bring_forward(q queues, keys text[]) returns integer language plpgsql as $$
declare
    moved integer;
begin
    update messages m set state = 0 where m.seq = any (array(
        select (select b.seq from messages b where b.queue = q.id and b.key = k.key and b.state = 3
            order by b.seq limit 1)
        from (select distinct unnest(keys) as key) k));
    get diagnostics moved = row_count;
    if moved = 0 and exists (select 1 from messages m where m.queue = q.id and m.key = any (keys) and m.state = 0) then
        return 1;
    end if;
    return moved;
end $$;
