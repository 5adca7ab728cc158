"""Delays: messages wait in delay queues at the broker."""
