"""The AMQP driver: durable queues at RabbitMQ 3.13 or 4, for any number of processes and machines.

==============  =====================================================================================================
durability      ``power``: quorum queues by default, and confirmed means that the broker has synced it. ``broker`` with
                ``queue_type: classic``, ``process`` if that is not durable
publishing      on its own connection, mandatory and with confirms; an unroutable message, a full queue and a
                broker that is low on memory are errors, message by message
consuming       on other connections, as many as the queues need for their channels: the broker pushes only as many
                messages as the receives ask for; half a second after the last receive the consumers end, and the
                client returns its unused messages
held            bound to the connection, which runs in its own thread: a handler that blocks the loop loses
                nothing. A dead process releases its messages at once, a frozen one after two heartbeats
place in line   by publishing; by priority first where the queue ``requires: [priority]`` (a lane each); a returned
                message, released or put off, is first of its priority (``<queue>.returned``)
attempt         ours, in a header of the message, and the broker's count of returns; a release is not counted
delay           through durable queues that all share (``tasuki.delayed.*``), one hop up to a minute; outlives a
                restart of the broker
depth           ready: exact; in flight and delayed: of this process
given up        a message that the broker itself would delete goes to ``tasuki.undeliverable``
order per key   lanes of keys (``<queue>.k0`` …) that give one message at a time to one process; a nacked message
                stays there until its delay is over
purge, delete   all parts of a queue, and its messages in the delay queues, all of which are searched
temporary       one classic queue, which the broker removes after ten minutes without a use; its process uses it
not possible    max_length, dedup, peek: see docs/how-to/amqp.md
headers         in the header table, with their types; those that AMQP has a property for in the property too
==============  =====================================================================================================
"""
