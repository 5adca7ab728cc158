"""The metrics of an app: snapshots of this process, and the depths of its queues."""
