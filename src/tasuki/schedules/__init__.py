"""Schedules: which messages are due at which moments. Without I/O: times in, ticks out."""
