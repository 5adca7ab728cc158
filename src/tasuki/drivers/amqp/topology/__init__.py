"""The queues and exchanges at the broker that one queue of ours consists of."""
