-- The plans of the functions that processes call are made once and must hold at any size of the tables, also of one that was
-- never analyzed: reach rows through their index, one after the other.
do $$
declare
    called regprocedure;
begin
    for called in select p.oid::regprocedure from pg_proc p
        where p.pronamespace = current_schema()::regnamespace and p.prokind = 'f'
        and p.proname in (
            'declare_queue', 'change_step', 'publish', 'publish_unique', 'receive', 'check_queues', 'pass_on', 'start', 'extend', 'settle', 'settle_with_errors', 'settle_within', 'hold_within', 'claim', 'remember', 'move',
            'count_messages', 'occupancies', 'show_places', 'count_causes', 'show_cause', 'clear_queue', 'purge_these', 'transfer', 'delete_rest', 'delete_queue',
            'beat', 'leave', 'keep_queues', 'unused_queues', 'sweep_queue',
            'store_get', 'store_put', 'store_put_all', 'store_delete', 'store_list', 'store_watch', 'store_follow', 'store_take', 'store_hold', 'store_release',
            'store_sweep')
    loop
        execute format('alter function %s set search_path from current set plan_cache_mode = force_generic_plan set jit = off '
            'set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off '
            'set enable_sort = off', called);
    end loop;
end $$;
