"""Waits: how long messages wait from when they are due until their handlers start."""

from __future__ import annotations

from typing import Protocol

from tasuki.clock import Clock
from tasuki.message import DEAD_LETTER_TIME, DUE, TIMESTAMP, HeaderValue

_PERIOD = 1.0
"""Seconds after which the wall clock is compared with the monotonic one again."""


class Started(Protocol):
    """A delivery, for its wait."""

    id: str
    headers: dict[str, HeaderValue]
    attempt: int


class Waits:
    """The wait of messages that start for the first time; later attempts wait for their retry.

    A message is due when it was published, or at the end of its delay. Its id says when it was published, to the
    millisecond; of an id that the publisher has chosen, the header ``timestamp`` says so, to the second. A message that
    its handler has postponed counts from its first time: no broker says when it was due again.
    """

    __slots__ = ("_ahead", "_base", "_clock", "_compare_at", "_prefix")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = 0.0
        """What the wall clock is ahead of the monotonic one."""
        self._compare_at = float("-inf")
        self._prefix: str | None = None
        self._base = 0.0
        """Of messages whose ids begin with the prefix: what they have waited is so much more than the monotonic time.

        Of one millisecond there are many messages.
        """

    def wall(self, moment: float) -> float:
        """The Unix seconds of a monotonic time."""
        return moment + self._ahead

    def of(self, message: Started, started: float) -> float:
        """Seconds that a message has waited whose handler started for the first time, at this monotonic time."""
        if started > self._compare_at:
            self._compare_at, self._prefix = started + _PERIOD, None
            self._ahead = self._clock.time() - self._clock.monotonic()
        headers = message.headers
        if DUE in headers or DEAD_LETTER_TIME in headers:
            wait = started + self._ahead - _known(message)
        else:
            prefix = message.id[:15]
            if prefix == self._prefix:
                wait = started + self._base
            elif (born := _born(message.id)) is not None:
                self._prefix, self._base = prefix, self._ahead - born
                wait = started + self._base
            else:  # ids of a publisher's may begin alike
                wait = started + self._ahead - published_at(message)
        return wait if wait > 0 else 0.0  # the clock of another machine may be ahead of ours


def published_at(message: Started) -> float:
    """Unix seconds of its publish, of its id if that is a UUIDv7."""
    born = _born(message.id)
    return _number(message.headers.get(TIMESTAMP, 0.0)) if born is None else born


def _born(id: str) -> float | None:
    """Unix seconds at which a UUIDv7 was made; None: it is none."""
    if len(id) == 36 and id[14] == "7" and id[8] == id[13] == id[18] == id[23] == "-":
        try:
            return int(id[:8] + id[9:13], 16) / 1000
        except ValueError:
            pass
    return None


def _known(message: Started) -> float:
    """When it became a dead letter, or was due after its delay."""
    headers = message.headers
    return _number(headers[DEAD_LETTER_TIME] if DEAD_LETTER_TIME in headers else headers[DUE])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
