"""Checks of entries that need a state: schedules."""
