"""Heartbeat: the parent asks each child every two seconds, and reports a child that has not answered for 30 s.

A child that computes is not frozen: its handler may run C code that holds Python's lock and so stops all threads.
Such a child gets as much time as a starting one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from tasuki.supervisor.children.asking import Children, SignOfLife

QUESTION = "stop_timeout"
"""The question of the heartbeat; its answer is how long the child may take to stop, in seconds."""


class SilenceLimits(NamedTuple):
    """Seconds."""

    silent: float = 30.0
    """Silence after which a child counts as frozen that has used no processor time meanwhile."""
    busy: float = 300.0
    """The same for one that computes, and before its first answer: the largest projects are imported in less."""
    look: float = 2.0
    """Between two questions."""


class _Use(NamedTuple):
    seconds: float
    """Processor time of a child."""
    at: float
    """Time of the loop at which it was found to have used more than before."""


class SilenceRule:
    """Which children are frozen. No I/O.

    Silence counts only while this process has looked without a gap: if all processes were suspended, the children
    answer as soon as they run again.
    """

    def __init__(self, limits: SilenceLimits) -> None:
        self._limits = limits
        self._looked_at = self._watched_since = float("-inf")
        self._used: dict[int, _Use] = {}

    def frozen(
        self, now: float, heard: Mapping[int, SignOfLife], used: Mapping[int, float] = MappingProxyType({})
    ) -> dict[int, float]:
        """The seconds of silence of each frozen child, by its number.

        Args:
            now: a time of the loop.
            heard: the last sign of life of each child.
            used: seconds of processor time that each has used so far.
        """
        if now - self._looked_at > self._limits.silent / 4:
            self._watched_since = now
        self._looked_at = now
        silences = {number: now - max(sign.at, self._watched_since) for number, sign in heard.items()}
        self._used = {number: self._use(number, now, used.get(number, 0.0)) for number in heard}
        return {number: silence for number, silence in silences.items() if self._is_frozen(number, silence, now, heard)}

    def _use(self, number: int, now: float, seconds: float) -> _Use:
        last = self._used.get(number)
        return last if last is not None and seconds == last.seconds else _Use(seconds, now)

    def _is_frozen(self, number: int, silence: float, now: float, heard: Mapping[int, SignOfLife]) -> bool:
        is_idle = now - self._used[number].at >= self._limits.silent
        return silence >= (self._limits.silent if is_idle and not heard[number].is_first else self._limits.busy)


class Heartbeat:
    """Asks the children for a sign of life; ``on_frozen`` is called with the number of a frozen child and its silence.

    A child that is still there two seconds later is reported again. ``used`` gives the seconds of processor time that
    each child has used, by its number.
    """

    def __init__(
        self,
        children: Children,
        on_frozen: Callable[[int, float], object],
        used: Callable[[], Mapping[int, float]],
        limits: SilenceLimits | None = None,
    ) -> None:
        self._children = children
        self._on_frozen = on_frozen
        self._used = used
        self._limits = limits or SilenceLimits()
        self._rule = SilenceRule(self._limits)

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._children.ask(QUESTION, timeout=min(self._limits.look, 1.0))
            for number, silence in self._rule.frozen(loop.time(), self._children.heard(), self._used()).items():
                self._on_frozen(number, silence)
            await asyncio.sleep(self._limits.look)

    def stop_timeout(self, number: int) -> float:
        """How long a child may take to stop, by its last answer; 0.0 if it has given none."""
        return float(self._children.last(number, QUESTION) or 0.0)
