"""Question: which waiting messages are meant, by an id or in the language of policies; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasuki.errors import TasukiError
from tasuki.message import ATTEMPTS, LAST_ERROR, MESSAGE_TYPE, PARTITION_KEY, PRIORITY, HeaderValue, Message
from tasuki.observe.metrics import published_at
from tasuki.observe.redact import masked
from tasuki.queues.queue import Queue
from tasuki.security.compare import ComparisonError
from tasuki.security.expression import Expression, parse_expression
from tasuki.security.expression_nodes import Node

LONGEST = 1000
"""Characters of a question."""
MORE = "…"
"""Stands for the rest of an id."""
_ID = re.compile(r"[^\s=<>!&|()\"'?]{1,512}")
_SHORT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}")
"""The part of a UUIDv7 that pages show."""


class _Subject(NamedTuple):
    message: Message
    queue: Queue
    now: float

    def header(self, name: str) -> Any:
        return masked(self.message.headers.get(name), name)

    def age(self) -> float | None:
        at = published_at(_Published(self.message.id, self.message.headers))
        return max(self.now - at, 0.0) if at else None

    def body(self) -> Any:
        try:
            return masked(self.queue.decode(self.message))
        except TasukiError as error:
            raise ComparisonError(f"the body cannot be decoded: {error}") from error


@dataclass
class _Published:
    """A message, as far as its age asks."""

    id: str
    headers: dict[str, HeaderValue]
    attempt: int = 1


NAMES: Mapping[str, Node] = {
    "id": lambda subject: subject.message.id,
    "queue": lambda subject: subject.queue.id,
    "type": lambda subject: subject.header(MESSAGE_TYPE),
    "key": lambda subject: subject.header(PARTITION_KEY),
    "priority": lambda subject: subject.header(PRIORITY),
    "attempts": lambda subject: subject.header(ATTEMPTS) or 0,
    "error": lambda subject: subject.header(LAST_ERROR),
    "age": lambda subject: subject.age(),
    "headers": lambda subject: masked(subject.message.headers),
    "body": lambda subject: subject.body(),
}
"""What a question may name; ``age``: seconds since the publish."""


class Question:
    """One text that people type.

    Raises:
        ValueError: it is no id, and cannot be read as an expression; says where.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()[:LONGEST]
        is_id = _ID.fullmatch(self.text) is not None
        self._ends: tuple[str, str] | None = _shown_ends(self.text) if is_id else None
        self.id = self.text if is_id and self._ends is None else ""
        """The id that is meant; empty: only its ends are known, or it is an expression."""
        self._expression: Expression | None = None if is_id else parse_expression(self.text, NAMES)
        self.unclear = 0
        """Messages that could not be judged: a value of theirs is of another type."""
        self.problem = ""
        """Why the last of these could not be judged."""

    def means(self, id: str) -> bool:
        """Whether the text is this id, as a whole or as a screen shows it."""
        if self._ends is None:
            return id == self.id
        start, end = self._ends
        return id.startswith(start) and id.endswith(end)

    def takes(self, message: Message, queue: Queue, now: float) -> bool:
        """Whether a message is meant. A secret value is compared as its mask: it cannot be guessed letter by letter."""
        if self._expression is None:
            return self.means(message.id)
        try:
            return self._expression.holds(_Subject(message, queue, now))
        except ComparisonError as error:
            self.unclear += 1
            self.problem = str(error)
            return False


def _shown_ends(text: str) -> tuple[str, str] | None:
    """How an id starts and ends that a screen shows in part; None: the text is a whole id."""
    start, more, end = text.partition(MORE)
    return (start, end) if (more and (start or end)) or _SHORT.fullmatch(text) else None
