"""The history of queues: the counters of a process become minutes of few bytes, which are added over all processes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import sub
from typing import Annotated, NamedTuple

import msgspec

from tasuki.observe.metrics import BUCKETS, ConsumerMetrics, Histogram, QueueMetrics, quantile

MINUTE = 60.0
"""Seconds of a point."""

STEP = 5.0
"""Seconds of a step within a minute."""

STEPS = 12

MINUTES = 60
"""Points that are kept: an hour."""

OF_A_STEP = 3
"""Numbers of a step: published, done, failed."""

MOST = 2**26

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""More than a million a second; a point with more is none of ours."""

Range = Annotated[Sequence[Annotated[int, msgspec.Meta(ge=0, le=2**53)]], msgspec.Meta(max_length=2)]
"""The least and the most of some times, in microseconds."""

Counts = Annotated[Sequence[Count], msgspec.Meta(max_length=256)]


class Point(msgspec.Struct, array_like=True, gc=False):
    """One queue in one minute. Points of several processes are added."""

    published: Count = 0
    done: Count = 0
    failed: Count = 0
    dead: Count = 0
    """Messages that became dead letters."""
    ready: Annotated[int, msgspec.Meta(ge=-1, le=2**53)] = -1
    """Ready messages at the end of the minute; -1: not known."""
    busy: Count = 0
    """Handlers that ran at the end of the minute."""
    wait: Counts = ()
    """Waits of messages until their handlers started: bucket, count, bucket, count …"""
    run: Counts = ()
    """Times that handlers took, likewise."""
    steps: Counts = ()
    """Published, done and failed of each step of the minute; empty: nothing of them."""
    wait_range: Range = ()
    """The least and the most of the waits; empty: there was none."""
    run_range: Range = ()
    """Of the times of handlers, likewise."""


Queues = dict[str, dict[str, Point]]
"""Driver → queue at the broker → its point."""


class Minute(msgspec.Struct, array_like=True, gc=False):
    """The active queues of one process in one minute."""

    minute: int
    """Unix time in whole minutes."""
    host: str
    pid: int
    buckets: int
    """Buckets of the histograms; a version of Tasuki with other ones is not understood."""
    queues: Queues
    consumes: bool = False
    """Whether the process has consumers that run: a worker."""
    has_ended: bool = False
    """Whether it is the last minute of a process that closed in order."""


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Minute)


def encode(minute: Minute, most: int) -> Iterator[bytes]:
    """The minute in values of at most about this many bytes; a thousand queues are about 60 KiB."""
    value = _encoder.encode(minute)
    pairs = [(driver, queue) for driver, queues in minute.queues.items() for queue in queues]
    if len(value) <= most or len(pairs) < 2:
        yield value
        return
    middle = len(pairs) // 2
    for part in (pairs[:middle], pairs[middle:]):
        queues: Queues = {}
        for driver, queue in part:
            queues.setdefault(driver, {})[queue] = minute.queues[driver][queue]
        yield from encode(msgspec.structs.replace(minute, queues=queues), most)


def decode(value: bytes) -> Minute | None:
    """The minute of a value; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def sparse(counts: Sequence[int]) -> list[int]:
    """The buckets that counted something, each with its count."""
    return [number for bucket, count in enumerate(counts) if count for number in (bucket, min(count, MOST))]


_PLAIN = ("published", "done", "failed", "dead", "ready", "busy")

_READY = _PLAIN.index("ready")

_WIDTH = len(BUCKETS) + 1

_MOST, _WIDEST = 2**32 - 1, 2**64 - 1

RING = MINUTES + 4
"""Minutes that are kept: the last one that all processes have written is some minutes old."""

_FINE, _FINE_RING = 5, 9
"""Minutes of which the steps are shown and kept."""


class Times(NamedTuple):
    """The 50th, 95th and 99th percentile in seconds; None: there was no value."""

    p50: float | None
    p95: float | None
    p99: float | None


class Span(NamedTuple):
    """A queue over some minutes; ``at``: Unix time of its start."""

    at: float
    seconds: float
    published: int
    done: int
    failed: int
    dead: int
    ready: int | None
    """At its end, where it is known."""
    wait: Times
    run: Times


class Hour:
    """One queue, of 60 minutes: nineteen kilobytes."""

    __slots__ = ("_fine", "_plain", "_ranges", "_run", "_wait")

    def __init__(self) -> None:
        self._plain = array("I", bytes(4 * len(_PLAIN) * RING))
        self._wait = array("I", bytes(4 * _WIDTH * RING))
        self._run = array("I", bytes(4 * _WIDTH * RING))
        self._ranges = array("Q", bytes(8 * 4 * RING))
        """Of each minute the least and the most wait, and run, each in microseconds plus one; 0: unknown."""
        self._fine = array("I", bytes(4 * OF_A_STEP * STEPS * _FINE_RING))

    def add(self, minute: int, point: Point, *, is_new: bool = True) -> None:
        """Add the point of one process; ``is_new``: with its steps, which are kept for some minutes only."""
        slot, plain = minute % RING, self._plain
        numbers = (point.published, point.done, point.failed, point.dead, 0, point.busy)
        for column, number in enumerate(numbers):
            if number:
                _raise(plain, column * RING + slot, number)
        ready = _READY * RING + slot
        plain[ready] = min(max(plain[ready], point.ready + 1), _MOST)  # all processes see the same
        for counts, given in ((self._wait, point.wait), (self._run, point.run)):
            for at in range(0, len(given) - 1, 2):
                if (bucket := given[at]) < _WIDTH:
                    _raise(counts, slot * _WIDTH + bucket, given[at + 1])
        self._add_range(4 * slot, point.wait_range)
        self._add_range(4 * slot + 2, point.run_range)
        if is_new:
            start = (minute % _FINE_RING) * STEPS * OF_A_STEP
            for offset, count in enumerate(point.steps[: STEPS * OF_A_STEP]):
                if count:
                    _raise(self._fine, start + offset, count)

    def _add_range(self, at: int, ends: Sequence[int]) -> None:
        if len(ends) == 2:
            least, most = self._ranges[at : at + 2]
            self._ranges[at], self._ranges[at + 1] = min(least or _WIDEST, ends[0] + 1), max(most, ends[1] + 1)

    def clear(self, minute: int) -> None:
        """Forget the minute that had the place of this one, or the known part of this one."""
        slot = minute % RING
        for column in range(len(_PLAIN)):
            self._plain[column * RING + slot] = 0
        for counts in (self._wait, self._run):
            counts[slot * _WIDTH : (slot + 1) * _WIDTH] = _EMPTY
        self._ranges[4 * slot : 4 * slot + 4] = array("Q", bytes(8 * 4))
        size = STEPS * OF_A_STEP
        start = (minute % _FINE_RING) * size
        self._fine[start : start + size] = array("I", bytes(4 * size))

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened."""
        return not any(self._plain)

    def numbers(self, name: str, newest: int) -> list[int]:
        """Of each minute up to the newest one: ``published``, ``done``, ``failed``, ``dead`` or ``busy``."""
        start, plain = _PLAIN.index(name) * RING, self._plain
        return [plain[start + minute % RING] for minute in range(newest - MINUTES + 1, newest + 1)]

    def counts(self, name: str, newest: int) -> list[Sequence[int]]:
        """Of each minute up to the newest one: how many waits or runs (``wait``, ``run``) each bucket counted."""
        counts = self._wait if name == "wait" else self._run
        slots = [minute % RING * _WIDTH for minute in range(newest - MINUTES + 1, newest + 1)]
        return [counts[slot : slot + _WIDTH] for slot in slots]

    def steps(self, newest: int) -> list[tuple[int, int, int]]:
        """Published, done and failed in each step of the last five minutes."""
        found = []
        for minute in range(newest - _FINE + 1, newest + 1):
            start = (minute % _FINE_RING) * STEPS * OF_A_STEP
            numbers = self._fine[start : start + STEPS * OF_A_STEP]
            found += list(zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True))
        return found

    def span(self, first: int, last: int) -> Span:
        """These minutes together, both included."""
        slots = [minute % RING for minute in range(first, last + 1)]
        sums = [sum(self._plain[column * RING + slot] for slot in slots) for column in range(4)]
        ready = self._plain[_READY * RING + last % RING]
        published, done, failed, dead = sums
        return Span(
            first * MINUTE, len(slots) * MINUTE, published, done, failed, dead, ready - 1 if ready else None,
            _times(self._wait, slots, self._ends(0, slots)), _times(self._run, slots, self._ends(2, slots)),
        )  # fmt: skip

    def _ends(self, offset: int, slots: Sequence[int]) -> tuple[float, float | None]:
        """The least and the most of the waits (0) or runs (2) of these minutes, in seconds; None: unknown."""
        known = [each for slot in slots if (each := self._ranges[4 * slot + offset : 4 * slot + offset + 2])[1]]
        if not known:
            return 0.0, None
        return (min(each[0] for each in known) - 1) / 1e6, (max(each[1] for each in known) - 1) / 1e6


def _raise(counts: array[int], at: int, count: int) -> None:
    try:
        counts[at] += count
    except OverflowError:
        counts[at] = _MOST


_EMPTY = array("I", bytes(4 * _WIDTH))


def _times(counts: array[int], slots: Sequence[int], ends: tuple[float, float | None]) -> Times:
    total = [0] * _WIDTH
    for slot in slots:
        part = counts[slot * _WIDTH : (slot + 1) * _WIDTH]
        if any(part):
            total = [mine + theirs for mine, theirs in zip(total, part, strict=True)]
    if not any(total):
        return Times(None, None, None)
    return Times(*(quantile(BUCKETS, total, share, *ends) for share in (0.5, 0.95, 0.99)))


class Process(NamedTuple):
    """A process that wrote minutes; ``last``: the newest of them."""

    host: str
    pid: int
    last: int
    consumes: bool
    has_ended: bool


class Hours:
    """All queues of one store."""

    def __init__(self) -> None:
        self.newest = 0
        """The minute up to which it goes; 0: nothing was added."""
        self._hours: dict[tuple[str, str], Hour] = {}
        self._processes: dict[tuple[str, int], Process] = {}

    def begin(self, first: int, newest: int) -> None:
        """Make room up to ``newest``, and forget the minutes from ``first`` on: they are about to be added again."""
        start = max(min(first, self.newest + 1), newest - RING + 1)
        for name, hour in list(self._hours.items()):
            for minute in range(start, newest + 1):
                hour.clear(minute)
            if hour.is_empty:
                del self._hours[name]
        self.newest = newest
        self._processes = {key: each for key, each in self._processes.items() if each.last > newest - MINUTES}

    def add(self, minute: Minute) -> None:
        """Add one process's minute; much older and future ones are left out."""
        if not self.newest - RING < minute.minute <= self.newest:
            return
        known = self._processes.get((minute.host, minute.pid))
        if known is None or known.last <= minute.minute:
            self._processes[minute.host, minute.pid] = Process(
                minute.host, minute.pid, minute.minute, minute.consumes, minute.has_ended
            )
        if minute.buckets != _WIDTH:
            return
        for driver, queues in minute.queues.items():
            for queue, point in queues.items():
                hour = self._hours.get((driver, queue))
                if hour is None:
                    hour = self._hours[driver, queue] = Hour()
                hour.add(minute.minute, point, is_new=minute.minute > self.newest - _FINE_RING)

    def of(self, driver: str, queue: str) -> Hour | None:
        """A queue by the id of its driver and its name at the broker; None: nothing happened in the hour."""
        return self._hours.get((driver, queue))

    @property
    def processes(self) -> Iterable[Process]:
        """Those that did something in the hour."""
        return self._processes.values()

    def __len__(self) -> int:
        return len(self._hours)


def five_minutes(hour: Hour, newest: int) -> list[Span]:
    """The hour in twelve parts, the newest first."""
    return [hour.span(last - 4, last) for last in range(newest, newest - MINUTES, -5)]


def added(columns: Iterable[Sequence[int]]) -> list[int]:
    """Numbers of several queues, minute by minute."""
    total = [0] * MINUTES
    for column in columns:
        total = [mine + theirs for mine, theirs in zip(total, column, strict=True)]
    return total


def step_at(seconds: float) -> int:
    """The number, within its minute, of the step with this Unix time."""
    return int(seconds % MINUTE // STEP)


def next_step_in(seconds: float) -> float:
    """Seconds from this Unix time until the next step: all processes end their minutes with the minute."""
    return STEP - seconds % STEP


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


class MinuteRecorder:
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
