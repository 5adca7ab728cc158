"""Keeps services running: dependency order, restart with growing backoff, bounded start and stop."""
