"""Slot: a stored message, with all that its queue knows of it."""

from __future__ import annotations

from operator import attrgetter

import msgspec

from tasuki.contracts.values import Waiting
from tasuki.drivers.toolkit.results import shown
from tasuki.message import HeaderValue


class Slot(msgspec.Struct, gc=False):
    """A stored message and its place in line; ``due`` is 0.0 unless it is hidden until then."""

    id: str
    body: bytes
    headers: dict[str, HeaderValue]
    number: int
    published_at: float
    priority: int = 0
    key: str | None = None
    due: float = 0.0
    failures: int = 0
    """Nacks, and recorded starts that ended without a settlement."""
    started: bool = False
    """Whether the failures contain the start of the delivery that is open."""
    suspect: bool = False
    deaths: int = 0
    """How many of the failures are starts that ended without a settlement."""
    failure: tuple[str, float] | None = None
    """The last error that a nack gave, and when (Unix seconds)."""
    unique: str | None = None
    """The key of which it was to be the only message."""
    lane: str = ""
    receipt: int = 0
    """Of a message with ``unique`` that a receiver holds."""

    def lose(self) -> None:
        """Its delivery ends without a settlement."""
        self.deaths += self.started
        self.started, self.suspect = False, True

    def replace(self, id: str, body: bytes, headers: dict[str, HeaderValue]) -> None:
        """Become another message at the same place, without a failure."""
        self.id, self.body, self.headers = id, body, headers
        self.failures = self.deaths = 0
        self.suspect, self.failure = False, None

    def shown(self, now: float) -> Waiting:
        """The message as ``peek`` shows it at a monotonic time."""
        error = self.failure or ()
        delay = self.due - now if self.due else 0.0
        headers = self.headers.copy()
        return shown(self.id, self.body, headers, str(self.number), *error, delay=delay, failures=self.failures)


by_number = attrgetter("number")
