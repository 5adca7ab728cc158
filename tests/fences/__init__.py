"""Leases, fences and version checks above the drivers: each is removed in turn, and tests must notice."""
