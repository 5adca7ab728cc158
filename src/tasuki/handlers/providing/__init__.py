"""Providers: functions that make what handlers are given by the annotations of their parameters."""
