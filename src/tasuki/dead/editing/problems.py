"""Problems of an edited message, each with its place; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tasuki.errors import PublishError

BODY = "body"


class Problem(NamedTuple):
    """Why an edited message cannot be sent."""

    field: str
    """``body``, ``to``, ``header.`` and a name, or empty: of the message as a whole."""
    text: str
    line: int = 0
    """Of the text of the body, from 1; 0: no line of its own."""

    def __str__(self) -> str:
        """On one line."""
        place = f"{self.field}, line {self.line}" if self.line else self.field
        return f"{place}: {self.text}" if place else self.text


class EditError(PublishError):
    """An edited message that must not be sent; nothing was changed. ``problems`` has all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))
