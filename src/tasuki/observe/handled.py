"""The message that a handler runs for, and the filter that adds it to the records of all loggers."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Protocol

_OURS = "tasuki"
"""Loggers of this name and below it say themselves what their records are about."""


class Handled(Protocol):
    """The message or the batch of a running handler."""

    ended: bool
    """Whether its handler has returned: what that has left running is about nothing that is known."""

    def log_fields(self) -> dict[str, Any]:
        """The fields of each record about it."""


HANDLED: ContextVar[Handled | None] = ContextVar("tasuki_handled", default=None)
"""What the handler of this context has; its tasks and threads inherit it. None: no handler runs here."""


class LogFields(logging.Filter):
    """Adds ``consumer``, ``queue``, ``message_id``, ``attempt`` and ``trace`` to each record within a handler.

    Give it to a handler of ``logging``, not to a logger, which filters only its own records. Fields that a record has
    already stay. ``tasuki run`` logs with it; add it to a set-up of your own: ``handler.addFilter(LogFields())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; every record passes."""
        handled = HANDLED.get()
        if handled is not None and not handled.ended and record.name.partition(".")[0] != _OURS:
            for name, value in handled.log_fields().items():
                record.__dict__.setdefault(name, value)
        return True
