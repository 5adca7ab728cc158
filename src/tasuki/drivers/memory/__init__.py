"""The memory driver: queues inside this process, under their bounds, for development, tests and short-lived work.

==============  =====================================================================================================
durability      ``memory``: gone with the process; a closed driver keeps its messages and opens again with them
place in line   by priority, then by publishing; nack, release and close put a message back at its own place
order per key   strict: a message waits until all earlier ones of its key are acked, delayed and nacked ones included
attempt         deliveries so far; a close counts as a delivery that failed, a release as none
lease           none: a delivery is bound to the open driver, ``extend`` only says which receipts are not held
isolation       headers are copied on the way in and on the way out
limits, lanes   a lane rests until its time or its place; of lanes with equal turns, the first to come is first
duplicates      ids are remembered from the publish on, for ``dedup_window``
depth           exact; ``ready`` counts what waits behind its key, ``oldest_age`` looks at what can be received now
threads         one event loop at a time; only ``extend`` may be called from another thread
==============  =====================================================================================================
"""
