"""Pull: one pull request that stands at the server, and until when the server must say something of it; no I/O."""

from __future__ import annotations

import json
from math import inf
from typing import Any

from tasuki.drivers.nats.protocol.api import SECOND

_SHARE = 0.06


def paced(least: float, queues: int) -> float:
    """Seconds between two requests of a queue: 17 a second for all of them, or fewer."""
    return max(least, queues * _SHARE)


SLICE = 0.5
"""Seconds that a request waits at the server, at least, and between two signs that a longer one stands, at least."""
LONGEST = 60.0
"""Seconds that a request waits at most."""
OVERDUE = 1.0
"""Seconds after its end, or its next sign, for which one is waited for; its consumer is looked for then."""
PER_QUIET = 8
"""How many times as long a request may wait as the queue has had no message."""


def longest(quiet: float, sign: float) -> float:
    """Seconds that a request may wait, by those without a message; one that is too short for signs waits no longer."""
    most = max(SLICE, min(quiet * PER_QUIET, LONGEST))
    return most if most > 2 * sign else min(most, sign)


class Pull:
    """For ``wanted`` messages of a lane.

    ``no_wait`` with ``expires`` waits for the first message, and ends with the last one that is there. The server says
    now and again that a long one stands, from the leader of the consumer: one that lost its leader is silent.

    Args:
        token: tells it from earlier ones.
        wanted: messages.
        expires: seconds that it waits; 0: not at all.
        sign: seconds between two signs.
        now: the loop's time.
    """

    __slots__ = ("_silence", "content", "ends_at", "got", "overdue_at", "token", "wanted")

    def __init__(self, token: str, wanted: int, expires: float, sign: float, now: float) -> None:
        self.token = token
        self.wanted = wanted
        self.got = 0
        self.ends_at = now + expires
        is_signed = expires > 2 * sign  # the server takes no rarer signs
        self._silence = (sign if is_signed else expires) + OVERDUE if expires > 0 else inf
        self.overdue_at = now + self._silence
        fields: dict[str, Any] = {"batch": wanted, "no_wait": True}
        if expires > 0:
            fields["expires"] = int(expires * SECOND)
        if is_signed:
            fields["idle_heartbeat"] = int(sign * SECOND)
        self.content = json.dumps(fields).encode()
        """Of the request."""

    def stands(self, now: float) -> None:
        """The server said so."""
        self.overdue_at = now + self._silence
