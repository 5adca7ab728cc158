"""The PostgreSQL driver: durable queues in a schema of a database, for any number of processes.

==============  =====================================================================================================
durability      of the database's commits: ``power`` as installed, ``node`` with a synchronous standby, ``broker``
                with ``fsync`` or ``full_page_writes`` off, ``process`` with ``synchronous_commit`` off, which the
                driver or a queue may set for itself
place in line   by priority, then by publishing; nack, release and a lost lease put a message back at its own place
order per key   strict: a message waits until all earlier ones of its key are acked, delayed and nacked ones included
attempt         counted when handed out and committed with it; a release gives the count back
lease, delay    by the server's clock; a dead process has its leases for 10 s, as its listening backend is gone
waking          by NOTIFY, to as many waiting processes as there are messages; an empty queue is looked into every
                ``poll_interval`` all the same, in turns by all that wait there
pooler          a transaction pooler (pgbouncer) is noticed: no state of a session is used, and queues are polled,
                unless ``listen_url`` leads around it
limits, lanes   a receive locks the queue's gate, or the lanes that it serves; publishes and settlements leave arrivals,
                so no transaction of a caller's holds up a lane; an empty lane leaves no row once its rate has recovered
depth           exact up to some thousands, counted when asked; an estimate beyond, and says so
max_length      exact; publishes in callers' transactions may exceed it by their uncommitted messages
transactions    a message can be published within a transaction of the caller's: it is there if and when that commits
temporary       removed by the beat of any process when its own gave no sign of it for ten minutes
stores          a function a verb, by the server's clock; a poll every 0.4 s serves all watches of a store
tables          made by the first process that declares a queue or opens a store
==============  =====================================================================================================
"""
