-- The plans of these functions are made once and must hold at any size of the tables, also of one that was never
-- analyzed: reach rows through their index, one after the other.
do $$
declare
    name text;
begin
    for name in select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prolang <> 0 and p.prokind = 'f'
        and p.proname in ('declare_queue', 'publish', 'claim', 'settle', 'extend', 'depth', 'peek', 'purge', 'newest',
            'delete_queue', 'delete_rest', 'beat', 'attach', 'leave')
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
