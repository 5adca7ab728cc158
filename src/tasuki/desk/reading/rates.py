"""Rates: what the counters of the workers gained between two snapshots; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.state.presence import PERIOD, Presence

_Key = tuple[str, str, str]
"""Worker, driver, queue at the broker."""
_Counts = dict[_Key, tuple[float, int, int]]
"""By the time of the worker's sign: messages done, and failures."""


class Rates:
    """A worker renews its counters with each sign: its gain is over the time between two signs, not two snapshots."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, _Counts]] = []

    def note(self, workers: Sequence[Presence], at: float) -> None:
        """Keep the counters of a snapshot taken at this time (monotonic)."""
        counts: _Counts = {}
        for worker in workers:
            for consumer in worker.consumers:
                key = (worker.key, consumer.driver, consumer.queue)
                _, done, failed = counts.get(key, (0.0, 0, 0))
                counts[key] = (worker.seen, done + consumer.done, failed + consumer.failed)
        self._samples = [(when, each) for when, each in self._samples if at - when < 4 * PERIOD]
        self._samples.append((at, counts))

    def of(self, driver: str, queue: str) -> tuple[float | None, float | None]:
        """Messages done, and failures, a second, of a queue at its broker; None: not known yet."""
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        if last - first < PERIOD:
            return None, None
        done = failed = 0.0
        for key, (seen, is_done, has_failed) in now.items():
            if key[1:] != (driver, queue) or key not in before:
                continue
            since, was_done, had_failed = before[key]
            if seen > since:
                done += max(is_done - was_done, 0) / (seen - since)
                failed += max(has_failed - had_failed, 0) / (seen - since)
            elif last - first < 2 * PERIOD:  # its next sign may come yet; after that time nothing has changed
                return None, None
        return done, failed
