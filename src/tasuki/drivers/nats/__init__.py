"""The NATS driver: queues as JetStream work-queue streams.

==============  =====================================================================================================
durability      ``broker`` by default (the server syncs every two minutes); ``power`` where it syncs each write
                (``sync_interval: always``, looked up or stated by the operator), ``node`` with three replicas as well
a queue         one stream ``<prefix>+<queue>`` that discards new messages when full; one durable pull consumer a lane
place in line   the stream's order; returned messages are delivered before all new ones, in order within a settle
priority        a lane for each level, asked from the highest down; only where the queue was declared for it
order per key   a fixed number of partitions, each a lane with at most one delivery at a time; strict, also past nacks
unique          each key has its own subject, on which the server stores a message only while there is no other; a
                lane of its own, which the first unique message makes, without priority and order per key
delay           a nack with delay is the server's own; a first delay is delivered once and put off until its time
attempt         1 plus the failures in the records: nacks, and starts that were recorded and ended with nothing
suspect         delivered more often than the records tell: the last delivery ended without a settlement
lease           renewed by ``+WPI`` over a second connection, in a separate thread. ``ack_wait`` is 10 s at most: a
                process that receives a message again before its lease ends asks the others, see ``records.receivers``
stale           decided here: the server takes an ack of any delivery, even of one that ended long ago. A settlement
                after the lease reads in the records whether another process has the message; an ack whose delivery the
                server has forgotten is carried out at the stream
options         stand in the stream; the server tells all processes when they change
depth           total, delayed and consumers exact; messages returned by other processes count as in flight until
                they are delivered again
temporary       removed by any process that receives when its own gave no sign of it for ten minutes
threads         one event loop at a time; only ``extend`` may be called from another thread
store           a stream each, with the last message of each subject; reads and conditional writes
==============  =====================================================================================================
"""
