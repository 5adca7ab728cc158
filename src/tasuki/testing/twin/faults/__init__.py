"""Faults that a test can cause in a twin."""
