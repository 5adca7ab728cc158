"""Fetching: how many messages to request, and the leases of received ones."""
