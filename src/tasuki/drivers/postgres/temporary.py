"""Temporary queues: keeps the ones of this process, and removes the ones of dead processes.

By the server's clock. A queue is removed when it was found without a sign twice, some time apart: after an outage of
the server those that are alive speak up in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

KEPT = 600.0
"""Seconds for which a temporary queue is kept without a sign: much longer than a living process says nothing."""
ROUNDS = 12
"""Looks at what may be removed, in that time, at most."""

KEEP = "SELECT {}.keep_queues($1, $2)"
SWEEP = "SELECT {}.sweep_queue($1, $2)"

Ask = Callable[..., Awaitable[list[Any]]]
"""A statement with ``{}`` for the schema, and its arguments → rows."""


class Temporary:
    """For one session; each call is part of its beat."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._suspects: frozenset[str] = frozenset()

    async def beat(self, ask: Ask, ours: Collection[str], found: Iterable[str]) -> None:
        """Keep ours; remove other processes' queues that were unused at the last check, and still are.

        ``found``: the queues that are without a sign now.
        """
        if ours:
            await ask(KEEP, sorted(ours), KEPT)
        now = asyncio.get_running_loop().time()
        if self._looked_at is not None and now - self._looked_at < KEPT / ROUNDS:
            return
        self._looked_at = now
        unused = frozenset(found)
        for name in sorted(unused & self._suspects):
            await ask(SWEEP, name, KEPT)
        self._suspects = unused
