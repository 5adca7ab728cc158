"""Following: the window of a consumer that states no prefetch holds 50 to 100 ms of its work.

A window of ten costs a fast handler a request for each few messages; one of a thousand keeps a slow handler's messages
from other workers. So the window starts small and follows the speed at which messages are handled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tasuki.consumers.fetching.window import DeliveryWindow
from tasuki.contracts.driver import Received

if TYPE_CHECKING:
    from tasuki.observe.metrics import ConsumerMetrics
    from tasuki.tracing.tracing import Accept

MOST = 1000
"""Most messages that it lets a consumer hold."""

_LEAST_WORK, _WORK, _MOST_WORK = 0.05, 0.075, 0.1
"""Seconds of work in a window that stays as it is, and in one that is changed."""

_MOST_BYTES = 16 * 1024 * 1024
"""Of the bodies in a window that grows."""

_SAMPLE = 0.01
"""Seconds over which the speed is measured at least; after ``_PERIOD`` without a receive it starts again."""

_SLOW_SAMPLE = 0.1
"""The same for a smaller window: a process that stood for a moment is no slow handler."""

_PERIOD = 0.5
"""Seconds between two checks of a window that has grown: its handlers may have become slow."""

_MOST_WAIT = 1.0
"""Seconds of work in a window that is too large by far, so that messages are released."""

_REGAINED = MOST // 100
"""What the largest window regains with each check; a release halves it, so that few messages are released."""


def followed(window: int, handled: int, seconds: float) -> int:
    """The window of a consumer that has ``handled`` this many messages in these ``seconds``; at most twice as large."""
    if not handled:
        return 1
    if _LEAST_WORK <= window * seconds / handled <= _MOST_WORK:
        return window
    return min(max(int(_WORK * handled / seconds), 1), 2 * window)


class Following:
    """Changes the window of one run.

    Args:
        window: its ``prefetch`` is the least that it has.
        metrics: count the messages that are received, and those that go back.
        unstarted: how many messages wait for a worker.
        release: releases this many of them, the newest ones.
    """

    def __init__(
        self,
        window: DeliveryWindow,
        metrics: ConsumerMetrics,
        monotonic: Callable[[], float],
        unstarted: Callable[[], int],
        release: Callable[[int], None],
    ) -> None:
        self._window, self._metrics, self._monotonic = window, metrics, monotonic
        self._unstarted, self._release = unstarted, release
        self._least, self._most = window.prefetch, MOST
        self._since, self._started = monotonic(), self._all_started
        self._checked = self._started
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _all_started(self) -> int:
        return self._metrics.delivered - self._metrics.unstarted - self._unstarted()

    def restart(self) -> None:
        """The window was set for another number of workers: that is the least from here on."""
        self._least = self._window.prefetch

    def around_accept(self, accept: Accept) -> Accept:
        """``accept``, and then the window for the next messages."""

        def accepted(received: list[Received], asked_at: float) -> None:
            accept(received, asked_at)
            self._follow(received)

        return accepted

    def _follow(self, batch: Sequence[Received]) -> None:
        now = self._monotonic()
        if (seconds := now - self._since) >= _SAMPLE:
            started, window = self._all_started, self._window.prefetch
            count = started - self._started
            if count and seconds <= _PERIOD:
                window = followed(window, count, seconds)
            if window < self._window.prefetch and seconds < _SLOW_SAMPLE:
                window = self._window.prefetch
            else:
                self._since, self._started = now, started
            size = sum(len(each.body) for each in batch) or 1
            self._window.prefetch = max(min(window, self._most, _MOST_BYTES * len(batch) // size), self._least)
        if self._timer is None and self._window.prefetch > self._least:
            self._watch()

    def _watch(self) -> None:
        self._checked = self._all_started
        self._timer = asyncio.get_running_loop().call_later(_PERIOD, self._check)

    def _check(self) -> None:
        """Release messages that this consumer will not handle soon."""
        self._timer = None
        if not (waiting := self._unstarted()):
            return  # nothing is kept from other workers
        count, window = self._all_started - self._checked, self._window.prefetch
        self._most = min(self._most + _REGAINED, MOST)
        if max(window, waiting) * _PERIOD > _MOST_WAIT * count:
            self._window.prefetch = window = max(followed(window, count, _PERIOD), self._least)
            if (surplus := waiting - window) > 0:
                self._most = max(self._most // 2, self._least)
                self._release(surplus)
        if max(window, waiting) > self._least:  # a request that is under way brings back the released ones
            self._watch()

    def close(self) -> None:
        """End the checks."""
        if self._timer is not None:
            self._timer.cancel()
