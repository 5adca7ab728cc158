"""The history of the last hour of an app's queues: written by each process, read by desks and programs."""
