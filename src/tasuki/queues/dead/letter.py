"""Letter: a message of a dead-letter queue with the facts of its headers; and names for letters with one id.

A mark is a hash of the message, so it names the same letter on every broker, and after a receive too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2s

from tasuki.message import (
    ATTEMPTS,
    CAUSE,
    CONSUMER,
    DEAD_LETTER_REASON,
    DEAD_LETTER_TIME,
    ERROR_TYPE,
    LAST_ERROR,
    LAST_ERROR_TIME,
    LAST_TRACEBACK,
    MESSAGE_TYPE,
    ORIGINAL_QUEUE,
    PLACE,
    Message,
)
from tasuki.queues.dead.attempts import AttemptRecord, records_in, round_of
from tasuki.queues.dead.cause import Origin, cause_of, origin_in

_MARKED = re.compile(r"(.*)~[0-9a-f]{8}", re.DOTALL)

_SHOWN_ONLY = (LAST_ERROR, LAST_ERROR_TIME)
"""Headers that ``peek`` may show in another way than a receive (38)."""


def name_of(message: Message) -> str:
    """The id with the mark, as in ``01989f…~3f2a90c1``."""
    held = sorted((name, value) for name, value in message.headers.items() if name not in _SHOWN_ONLY)
    digest = blake2s(repr(held).encode("utf-8", "replace"), digest_size=4)
    digest.update(message.body)
    return f"{message.id}~{digest.hexdigest()}"


def id_of(name: str) -> str:
    """The id in a name."""
    found = _MARKED.fullmatch(name)
    return name if found is None else found[1]


class Names(Collection[str]):
    """Names of letters, as someone gives them; each means one letter at most."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self.marked = frozenset(id for name in self._names if (id := id_of(name)) != name)
        """The ids of those that have a mark."""
        self.ids = sorted(self._names | self.marked)
        """The ids that their letters may have, for a search."""

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def of(self, message: Message) -> str:
        """The name among them that means a letter; empty: none does."""
        if message.id in self.marked and (name := name_of(message)) in self._names:
            return name
        return message.id if message.id in self._names else ""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Missing texts are empty, a missing ``at`` (Unix seconds) or ``attempts`` is None."""

    message: Message
    dead: str
    """The id of the dead-letter queue that it is in."""
    queue: str
    """The id of the queue that it came from."""
    reason: str
    type: str
    place: str
    cause: str
    error: str
    task: str
    at: float | None
    attempts: int | None
    redriven: int = 0
    """How many times it was redriven before it died again."""
    consumer: str = ""
    """The id of the consumer that gave it up."""

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.message.id

    @property
    def attempt_records(self) -> list[AttemptRecord]:
        """Its last failed attempts, oldest first, as far as it carries them."""
        return records_in(self.message)


def letter_in(message: Message, dead: str) -> Letter:
    """The letter that a message of a dead-letter queue is; what an older one lacks comes from its error's text."""
    headers = message.headers
    reason, error = _text(message, DEAD_LETTER_REASON), text_in(message)
    cause = _text(message, CAUSE)
    if cause:
        origin = Origin(_text(message, ERROR_TYPE), _text(message, PLACE))
    else:
        origin = origin_in(error, _text(message, LAST_TRACEBACK))
        cause = cause_of(reason, origin.type, origin.place, error)
    at, attempts = headers.get(DEAD_LETTER_TIME), headers.get(ATTEMPTS)
    return Letter(
        message,
        dead,
        _text(message, ORIGINAL_QUEUE),
        reason,
        origin.type,
        origin.place,
        cause,
        error,
        _text(message, MESSAGE_TYPE),
        at if isinstance(at, int | float) and not isinstance(at, bool) else None,
        attempts if isinstance(attempts, int) and not isinstance(attempts, bool) else None,
        round_of(message),
        _text(message, CONSUMER),
    )


def text_in(message: Message) -> str:
    """The error that a message of a dead-letter queue says; empty: none."""
    return _text(message, LAST_ERROR)


def _text(message: Message, header: str) -> str:
    value = message.headers.get(header, "")
    return value if isinstance(value, str) else str(value)
