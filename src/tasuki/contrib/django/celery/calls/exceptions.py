"""Celery's exceptions that have a meaning here."""

from __future__ import annotations


class SoftTimeLimitExceeded(Exception):  # noqa: N818 - Celery's name
    """The time of ``soft_time_limit`` is over; raised within the function of the task."""


class MaxRetriesExceededError(Exception):
    """``self.retry()`` of a task that had its last retry."""
