"""Contracts of state: stores, what handlers and applications use of them, and jobs."""
