"""Pulse: notices a dead connection without a close: a machine without power, a network that is cut.

A server answers a PING at once, whatever its streams do. So a connection on which something was sent and nothing came
is asked, and given up when it does not answer either. Time is counted in beats of the event loop: a process that
was suspended or blocked gives its own silence no blame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BEAT = 0.5
"""Seconds between two checks."""
SILENCE = 4.0
"""Seconds of silence after which a connection is given up, if it is not still busy with what we send."""


class Pulse:
    """Of one connection.

    Args:
        timeout: seconds within which the server must answer in any case.
        ask: sends a PING.
        is_sending: whether the socket still has something of ours.
        give_up: called once when it is dead.
    """

    def __init__(
        self,
        timeout: float,
        *,
        ask: Callable[[], None],
        is_sending: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        self._most = timeout
        self._usual = min(timeout, SILENCE)
        self._ask = ask
        self._is_sending = is_sending
        self._give_up = give_up
        self._beats = 0
        self.is_awaited = False
        """Whether something was sent since anything came."""
        self._wait()

    def heard(self) -> None:
        """Something came."""
        self.is_awaited = False
        self._beats = 0

    def cancel(self) -> None:
        """No more of this connection."""
        self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _beat(self) -> None:
        self._beats = self._beats + 1 if self.is_awaited else 0
        if self._beats * BEAT > (self._most if self._is_sending() else self._usual):
            self._give_up()
            return
        if self._beats == 1:
            self._ask()
        self._wait()
