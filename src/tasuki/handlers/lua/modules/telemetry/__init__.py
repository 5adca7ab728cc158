"""Modules whose output is read outside the project: logs, metrics."""
