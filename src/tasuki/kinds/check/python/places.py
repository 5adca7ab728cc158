"""Problems of Python functions, with the place of the function in its source."""

from __future__ import annotations

from typing import Any

from tasuki.errors import ConfigError, InvalidEntryError, Position
from tasuki.handlers.signature import place_of
from tasuki.registry.entry import Entry


def problem_at(entry: Entry, function: Any, text: str) -> ConfigError:
    """The error of an entry at the place of its function.

    ``text``: the problem, and after the first ``; `` the remedy; it may begin with the place of the function.
    """
    file, line = place_of(function)
    problem, _, hint = text.removeprefix(f"{file}:{line}: ").partition("; ")
    place = Position(file, line) if file else entry.position()
    return InvalidEntryError(problem, position=place, entry=entry.id, hint=hint)
