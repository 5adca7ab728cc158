"""Receiving: who waits for messages, and how a waiting receiver is woken."""
