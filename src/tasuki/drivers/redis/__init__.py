"""The Redis driver: queues at Redis or Valkey, alone, behind Sentinels or in a cluster.

==============  =====================================================================================================
durability      what the server's configuration gives: ``power`` with ``appendfsync always``, ``broker`` with another
                append-only log, else ``process``; ``power`` for a queue with ``wait_fsync``. A failover may lose what
                the replica had not got yet, unless the queue has ``wait_replicas``
processes       any number on any machines
place in line   by priority, then by publishing; nack, release and a lost lease put a message back at its own place
order per key   strict: a message waits until all earlier ones of its key are acked, delayed and nacked ones included
attempt         counted when handed out, by the server; a release gives the count back
lease           by the server's clock; a close ends it at once; a dead process keeps it for 10 s, as its channel
                has no subscriber then; one that did not listen, to its end
delay           by the server's clock
waking          at once, also by other processes; one process for each message; all that wait share checks, one
                in 1½ ``claim_interval``
depth           exact; ``oldest_age`` looks at what can be received now
limits          kept by the scripts that hand out; held messages are counted, a rate is one number a queue or lane
lanes           an index of the ready messages by lane; a lane that must wait costs a receive nothing
at the server   each queue has at most eighteen keys in one hash slot; an empty one keeps its options only
temporary       the server removes it after ten minutes without use; the process that declared it uses it
full memory     publishes are rejected, everything else goes on, moves to a dead-letter queue included
store           scripts over five keys in one hash slot; changes are published, and expiries known by their time
==============  =====================================================================================================
"""
