"""Recorder: turns the counters of the metrics into minutes; no I/O, no work on a message's path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import sub

from tasuki.observe.history import MOST, OF_A_STEP, STEPS, Point, Queues, sparse
from tasuki.observe.metrics import ConsumerMetrics, Histogram, QueueMetrics

Name = tuple[str, str]
"""Driver, and queue at the broker."""

Gauges = Callable[[Name], tuple[int, int]]
"""Of a queue: ready messages (-1: not known), and handlers that run."""


_QUEUES = 10_000
"""Queues of which minutes are kept."""


class _Counters:
    """The counters of a queue in this process, and what they were at the last step and at the last minute."""

    __slots__ = ("consumers", "minute", "queue", "step", "steps")

    def __init__(self, queue: QueueMetrics, consumers: Sequence[ConsumerMetrics]) -> None:
        self.queue = queue
        self.consumers = consumers
        self.step = (0, 0, 0)
        self.minute = _NOTHING
        self.steps: list[int] | None = None

    def now(self) -> tuple[int, int, int]:
        done = failed = 0
        for each in self.consumers:
            done += each.acked
            failed += each.failed
        return self.queue.published, done, failed

    def totals(self) -> _Totals:
        waits = [each.wait_seconds.counts for each in self.consumers]
        runs = [each.handler_seconds.counts for each in self.consumers]
        return _Totals(sum(each.dead_lettered for each in self.consumers), _added(waits), _added(runs))


class _Totals:
    __slots__ = ("dead", "run", "wait")

    def __init__(self, dead: int, wait: list[int], run: list[int]) -> None:
        self.dead, self.wait, self.run = dead, wait, run


_NOTHING = _Totals(0, [], [])


class Recorder:
    """One per app; ``watch`` names the counters, ``step`` and ``close`` end a step and a minute."""

    def __init__(self) -> None:
        self._counters: dict[Name, _Counters] = {}
        self._changed: set[Name] = set()
        """The queues with a step of this minute."""

    def watch(self, queues: Mapping[Name, tuple[QueueMetrics, Sequence[ConsumerMetrics]]]) -> None:
        """Count these from now on; of a queue that goes on after a reload, what it gains from here."""
        before, self._counters = self._counters, {}
        for name, (queue, consumers) in list(queues.items())[:_QUEUES]:
            counters = self._counters[name] = _Counters(queue, consumers)
            known = before.get(name)
            if known is None:
                continue
            counters.steps = known.steps
            if known.consumers == list(consumers) or known.consumers == consumers:
                counters.step, counters.minute = known.step, known.minute
            else:  # some began again at nothing
                counters.step, counters.minute = counters.now(), counters.totals()
        self._changed &= self._counters.keys()

    def step(self, number: int) -> None:
        """End a step, which has this number in its minute."""
        for name, counters in self._counters.items():
            now = counters.now()
            if now == counters.step:
                continue
            if counters.steps is None:
                counters.steps = [0] * (STEPS * OF_A_STEP)
                self._changed.add(name)
            at = min(number, STEPS - 1) * OF_A_STEP
            for offset, (is_now, was) in enumerate(zip(now, counters.step, strict=True)):
                counters.steps[at + offset] += is_now - was if is_now >= was else is_now
            counters.step = now

    def close(self, gauges: Gauges) -> Queues:
        """End a minute: the queues that did something in it."""
        found: Queues = {}
        for name in self._changed:
            counters = self._counters[name]
            totals, before, steps = counters.totals(), counters.minute, counters.steps or []
            ready, busy = gauges(name)
            published, done, failed = (min(sum(steps[at::OF_A_STEP]), MOST) for at in range(OF_A_STEP))
            found.setdefault(name[0], {})[name[1]] = Point(
                published=published,
                done=done,
                failed=failed,
                dead=min(max(totals.dead - before.dead, 0), MOST),
                ready=ready,
                busy=busy,
                wait=sparse(_gained(totals.wait, before.wait)),
                run=sparse(_gained(totals.run, before.run)),
                steps=[min(each, MOST) for each in steps],
                wait_range=_range(each.wait_seconds for each in counters.consumers),
                run_range=_range(each.handler_seconds for each in counters.consumers),
            )
            counters.minute, counters.steps = totals, None
        self._changed.clear()
        return found


def _range(histograms: Iterable[Histogram]) -> Sequence[int]:
    """Of all values since the last minute, in microseconds."""
    found = [taken for each in histograms if (taken := each.take_range()) is not None]
    if not found:
        return ()
    ends = min(least for least, _ in found), max(most for _, most in found)
    return tuple(min(round(end * 1_000_000), 2**53) for end in ends)


def _added(counts: Iterable[list[int]]) -> list[int]:
    total: list[int] = []
    for each in counts:
        total = [mine + theirs for mine, theirs in zip(total, each, strict=True)] if total else list(each)
    return total


def _gained(now: list[int], before: list[int]) -> list[int]:
    if not before:
        return now
    return [max(gain, 0) for gain in map(sub, now, before)]
