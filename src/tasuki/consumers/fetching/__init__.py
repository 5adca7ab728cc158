"""Fetching: how much to ask the broker for, and the leases of what it gave."""
