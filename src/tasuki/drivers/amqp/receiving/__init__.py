"""Receiving: consumers at the broker, and the messages that it has pushed."""
