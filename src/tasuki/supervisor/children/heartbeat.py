"""Heartbeat: the parent asks each child every two seconds, and reports a child that has not answered for 30 s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tasuki.supervisor.children.asking import Children, SignOfLife

QUESTION = "stop_timeout"
"""The question of the heartbeat; its answer is how long the child may take to stop, in seconds."""


class Limits(NamedTuple):
    """Seconds."""

    silent: float = 30.0
    """Silence after which a child counts as frozen."""
    starting: float = 300.0
    """The same before its first answer: the largest projects are imported in less."""
    look: float = 2.0
    """Between two questions."""


class SilenceRule:
    """Which children are frozen. No I/O.

    Silence counts only while this process has looked without a gap: if all processes were suspended, the children
    answer as soon as they run again.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._looked_at = self._watched_since = float("-inf")

    def frozen(self, now: float, heard: Mapping[int, SignOfLife]) -> dict[int, float]:
        """The seconds of silence of each frozen child, by its number; ``now`` is a time of the loop."""
        if now - self._looked_at > self._limits.silent / 4:
            self._watched_since = now
        self._looked_at = now
        silences = {number: now - max(sign.at, self._watched_since) for number, sign in heard.items()}
        return {number: silence for number, silence in silences.items() if silence >= self._limit(heard[number])}

    def _limit(self, sign: SignOfLife) -> float:
        return self._limits.starting if sign.is_first else self._limits.silent


class Heartbeat:
    """Asks the children for a sign of life; ``on_frozen`` is called with the number of a frozen child and its silence.

    A child that is still there two seconds later is reported again.
    """

    def __init__(
        self, children: Children, on_frozen: Callable[[int, float], object], limits: Limits | None = None
    ) -> None:
        self._children = children
        self._on_frozen = on_frozen
        self._limits = limits or Limits()
        self._rule = SilenceRule(self._limits)

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._children.ask(QUESTION, timeout=min(self._limits.look, 1.0))
            for number, silence in self._rule.frozen(loop.time(), self._children.heard()).items():
                self._on_frozen(number, silence)
            await asyncio.sleep(self._limits.look)

    def stop_timeout(self, number: int) -> float:
        """How long a child may take to stop, by its last answer; 0.0 if it has given none."""
        return float(self._children.last(number, QUESTION) or 0.0)
