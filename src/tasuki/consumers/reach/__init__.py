"""Reach: what a handler can do beyond its own delivery, with the rights of its consumer."""
