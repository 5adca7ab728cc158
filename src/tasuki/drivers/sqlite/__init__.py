"""The SQLite driver: durable queues in one local file, for one or several processes, with no service to run.

==============  =====================================================================================================
durability      ``power`` with ``synchronous: full`` (default): confirmed means committed and synced; many publishes
                share a sync. ``broker`` with ``normal``: survives the processes, not a power loss
processes       any number on one machine; a file on a network share is not supported
place in line   by priority, then by publishing; nack, release and a lost lease put a message back at its own place
order per key   strict: a message waits until all earlier ones of its key are acked, delayed and nacked ones included
attempt         1 plus the nacks, and the recorded starts whose delivery ended without a settlement; committed with them
suspects        rows of a table that is empty unless a worker died; ``start`` is committed when it returns
lease           by CLOCK_BOOTTIME: suspended time counts, a changed wall clock does not; a restart of the machine, a
                close, or the death of the holder (noticed within a second by its file lock) ends it at once
delay           by the wall clock, so that it outlives a restart
duplicates      ids are remembered in the file for ``dedup_window``, by the wall clock
limits          kept by the claim: places are the held messages, of a rate one wall-clock time is stored
lanes           take turns; one that must wait is out of turn until its time or a place comes, and costs a claim nothing
waking          at once within the process; what other processes publish is seen within 1 ms while messages flow, and
                at their ring (Linux: inotify) after that. Where rings cannot be heard, or while other queues of the
                file are busy: within 40 ms after a quiet second
purge, delete   in transactions of some 10 ms, so that other processes go on. A purge removes the messages that waited
                when it began: the numbers of messages are never used again in their queue
temporary       a queue goes with the driver that has declared it; publishing never makes it again
depth           exact, from counters kept in each transaction; ``oldest_age`` looks at what can be received now.
                The cost of looking at a queue (depth, peek) or removing one does not grow with what other queues hold
deleted bodies  stay in free pages of the file (mode 0600) until they are overwritten
full disk       publishes are rejected, while acks use the 1 MiB that was set aside as ballast
stores          written in the same transactions, read by a thread of their own; a watch checks every 0.2 s
==============  =====================================================================================================
"""
