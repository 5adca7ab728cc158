"""Schedules: compute which messages are due at which moments. Times in, ticks out."""
