"""Retries: how often, when and after which errors a task is tried again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.units import Duration, parse_duration

_LONGEST = 90.0
"""Seconds: the longest delay, unless the first one is longer."""

Errors = tuple[type[BaseException] | str, ...]
"""Exception classes (subclasses count), or names of classes or kinds of errors."""


@dataclass(frozen=True, slots=True)
class Retries:
    """The retry rules of a task.

    Args:
        attempts: before its message goes to the dead-letter queue; None: as many as the queue says.
        on: the only errors that get another attempt; none: all of them.
        never: errors that get no other attempt.
        backoff: the first delay; each later one is twice as long.
        max_delay: the longest delay; default 90 s, or ``backoff`` if that is longer.
    """

    attempts: int | None = None
    on: Errors = ()
    never: Errors = ()
    backoff: Duration = 1.0
    max_delay: Duration | None = None

    def __post_init__(self) -> None:
        for field, errors in (("on", self.on), ("never", self.never)):
            _check(field, errors)

    def fields(self) -> Mapping[str, Any]:
        """The same as the field ``retry`` of a task. Raises ValueError: not a duration."""
        longest = max(_LONGEST, parse_duration(self.backoff)) if self.max_delay is None else self.max_delay
        fields = {
            "max_attempts": self.attempts,
            "on": [_name(error) for error in self.on],
            "never": [_name(error) for error in self.never],
            "initial_delay": self.backoff,
            "max_delay": longest,
        }
        return {name: value for name, value in fields.items() if value is not None}


def _check(field: str, errors: object) -> None:
    """Refuse anything but a tuple of errors: a text would be one error for each of its letters. Raises TypeError."""
    if not isinstance(errors, Collection) or isinstance(errors, str):
        shown = errors.__qualname__ if isinstance(errors, type) else repr(errors)
        raise TypeError(f"Retries({field}={shown}) must be a tuple of errors: {field}=({shown},)")
    for error in errors:
        if not isinstance(error, str) and not (isinstance(error, type) and issubclass(error, BaseException)):
            raise TypeError(f"Retries({field}=…) takes exception classes or their names, not {error!r}")


def _name(error: type[BaseException] | str) -> str:
    return error if isinstance(error, str) else f"{error.__module__}.{error.__qualname__}"
