"""A driver for MariaDB: durable queues in tables of a database, for any number of processes.

==============  =====================================================================================================
durability      as InnoDB's commits: ``power`` as it comes, ``broker`` with ``innodb_flush_log_at_trx_commit`` 2,
                ``process`` with 0
place in line   by priority, then by publishing; nack, release and a lost lease put a message back at its own place
order per key   strict: a message waits until all earlier ones of its key are acked, delayed and nacked ones included
lease, delay    by the server's clock; nothing sweeps: the next receive takes what has become due
waking          within a process at once; MariaDB has no notifications, so one statement every ``poll_interval`` checks
                all queues that a process waits for
temporary       kept while the connection lives that holds the named lock of its process
==============  =====================================================================================================
"""
