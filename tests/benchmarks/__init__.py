"""Measurements: ``make bench``. Timings never belong in tests."""
