"""Rates: what the counters of the workers gained between two snapshots; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.state.presence import PERIOD, Presence

_Key = tuple[str, str, str]
"""Worker, driver, queue at the broker."""
_Counts = dict[_Key, tuple[int, int]]


class Rates:
    """A worker renews its counters every few seconds, so two snapshots are compared that are further apart."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, _Counts]] = []

    def note(self, workers: Sequence[Presence], at: float) -> None:
        """Keep the counters of a snapshot taken at this time (monotonic)."""
        counts: _Counts = {}
        for worker in workers:
            for consumer in worker.consumers:
                key = (worker.key, consumer.driver, consumer.queue)
                done, failed = counts.get(key, (0, 0))
                counts[key] = (done + consumer.done, failed + consumer.failed)
        self._samples = [(when, each) for when, each in self._samples if at - when < 4 * PERIOD]
        self._samples.append((at, counts))

    def of(self, driver: str, queue: str) -> tuple[float | None, float | None]:
        """Messages done, and failures, a second, of a queue at its broker; None: not known yet."""
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        if last - first < PERIOD:
            return None, None
        done = failed = 0
        for key, (is_done, has_failed) in now.items():
            if key[1:] == (driver, queue) and key in before:
                done += max(is_done - before[key][0], 0)
                failed += max(has_failed - before[key][1], 0)
        return done / (last - first), failed / (last - first)
