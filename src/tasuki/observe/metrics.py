"""Metrics as plain numbers: counted on the hot path without labels or locks, exported only on request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from tasuki.clock import Clock
from tasuki.message import DEAD_LETTER_TIME, DUE, TIMESTAMP, TRACEPARENT, HeaderValue

_PERIOD = 1.0
"""Seconds after which the wall clock is compared with the monotonic one again."""


class Started(Protocol):
    """A delivery, for its wait."""

    id: str
    headers: dict[str, HeaderValue]
    attempt: int


class Waits:
    """The wait of messages that start for the first time; later attempts wait for their retry.

    A message is due when it was published, or at the end of its delay. Its id says when it was published, to the
    millisecond; of an id that the publisher has chosen, the header ``timestamp`` says so, to the second. A message that
    its handler has postponed counts from its first time: no broker says when it was due again.
    """

    __slots__ = ("_ahead", "_base", "_clock", "_compare_at", "_prefix")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = 0.0
        """What the wall clock is ahead of the monotonic one."""
        self._compare_at = float("-inf")
        self._prefix: str | None = None
        self._base = 0.0
        """Of messages whose ids begin with the prefix: what they have waited is so much more than the monotonic time.

        Of one millisecond there are many messages.
        """

    def wall(self, moment: float) -> float:
        """The Unix seconds of a monotonic time."""
        return moment + self._ahead

    def of(self, message: Started, started: float) -> float:
        """Seconds that a message has waited whose handler started for the first time, at this monotonic time."""
        if started > self._compare_at:
            self._compare_at, self._prefix = started + _PERIOD, None
            self._ahead = self._clock.time() - self._clock.monotonic()
        headers = message.headers
        if DUE in headers or DEAD_LETTER_TIME in headers:
            wait = started + self._ahead - _known(message)
        else:
            prefix = message.id[:15]
            if prefix == self._prefix:
                wait = started + self._base
            elif (born := _born(message.id)) is not None:
                self._prefix, self._base = prefix, self._ahead - born
                wait = started + self._base
            else:  # ids of a publisher's may begin alike
                wait = started + self._ahead - published_at(message)
        return wait if wait > 0 else 0.0  # the clock of another machine may be ahead of ours


def published_at(message: Started) -> float:
    """Unix seconds of its publish, of its id if that is a UUIDv7."""
    born = _born(message.id)
    return _number(message.headers.get(TIMESTAMP, 0.0)) if born is None else born


def _born(id: str) -> float | None:
    """Unix seconds at which a UUIDv7 was made; None: it is none."""
    if len(id) == 36 and id[14] == "7" and id[8] == id[13] == id[18] == id[23] == "-":
        try:
            return int(id[:8] + id[9:13], 16) / 1000
        except ValueError:
            pass
    return None


def _known(message: Started) -> float:
    """When it became a dead letter, or was due after its delay."""
    headers = message.headers
    return _number(headers[DEAD_LETTER_TIME] if DEAD_LETTER_TIME in headers else headers[DUE])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


BUCKETS = (
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
    120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0,
)  # fmt: skip
"""Upper bounds in seconds, each at most twice the one before."""

MAX_ERRORS = 20
"""Error types that a consumer counts apart; the failures of further types count as ``OTHER``."""

OTHER = "other"

_TRACEPARENT = 55
"""Characters of a traceparent."""

_SAMPLED = frozenset("13579bdf")
"""How the flags of a traceparent end, if its trace is recorded."""


class Histogram:
    """Counts of observed seconds per bucket; ``counts`` has one more item than ``bounds``, for greater values.

    ``also`` gets each value too, for those who keep their own histograms; None: nothing does. ``exemplars``: of a
    bucket the id of the last trace that was sampled, its value, and when that was in Unix seconds. ``least`` and
    ``most``: of the values since ``take_range`` was called last.
    """

    __slots__ = ("also", "bounds", "counts", "exemplars", "least", "most", "sum")

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.least, self.most = inf, -1.0
        self.also: Callable[[float], object] | None = None
        self.exemplars: dict[int, tuple[str, float, float]] = {}

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds) if seconds > self.bounds[0] else 0] += 1
        self.sum += seconds
        self.most = max(self.most, seconds)
        self.least = min(self.least, seconds)
        if self.also is not None:
            self.also(seconds)

    def take_range(self) -> tuple[float, float] | None:
        """The least and the most of the values since the last call; None: there was none."""
        least, most, self.least, self.most = self.least, self.most, inf, -1.0
        return (least, most) if most >= 0 else None

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


@dataclass(slots=True, eq=False, kw_only=True)
class QueueMetrics:
    """Counts of the publishing side of one queue, since the process started."""

    queue: str
    driver: str
    publish_seconds: Histogram = field(default_factory=Histogram)
    """The time that the broker took for a batch."""
    published: int = 0
    rejected: int = 0
    unknown: int = 0
    suppressed: int = 0
    """Unique messages for which another one was kept."""
    late_replies: int = 0
    """Replies to requests here that came after their requests had timed out."""

    refused_at: float = float("-inf")
    """Monotonic time at which its broker last had no room for a message."""
    refusal: str = ""
    """What the broker said then; empty: a message was stored since, as far as this process knows."""
    _published_then: int = 0

    former: dict[str, ConsumerMetrics] = field(default_factory=dict)
    """Of consumers that a reload has removed, by id: what they counted for the queue stays."""

    def leave(self, consumer: ConsumerMetrics) -> None:
        """A consumer is removed, or another one takes its id; it may still count while it drains."""
        before = self.former.get(consumer.consumer)
        if before is not None and before is not consumer:
            consumer.expired += before.expired
            consumer.limit_waits += before.limit_waits
            for reason, count in before.dead.items():
                consumer.dead[reason] = consumer.dead.get(reason, 0) + count
        self.former[consumer.consumer] = consumer

    def refuse(self, why: str, now: float) -> None:
        """The broker has no room for any message."""
        self.refused_at, self.refusal, self._published_then = now, why, self.published

    def refusal_of(self, now: float, recent: float) -> str:
        """Why the broker has no room, if it said so in the ``recent`` seconds and stored nothing since; else empty."""
        is_over = self.published != self._published_then or now - self.refused_at > recent
        return "" if is_over else self.refusal

    def confirm(self, outcome: str) -> None:
        """Count a confirmed message, or one for which another one was ``kept``."""
        if outcome == "kept":
            self.suppressed += 1
        else:
            self.published += 1


@dataclass(slots=True, eq=False)
class ScheduleMetrics:
    """Counts of the ticks of one schedule that this process handled."""

    published: int = 0
    skipped: int = 0
    """Ticks without a message: the last one still runs, another worker published it, or the queue refuses it."""
    late: int = 0
    """Ticks that were published, but late."""
    last_success: float | None = None
    """When it last published, in Unix seconds."""


@dataclass(slots=True, eq=False)
class ProcessMetrics:
    """The facts of a process itself."""

    loop_lag: float = 0.0
    """Seconds that the event loop took to answer last."""
    loop_blocked: float = 0.0
    """Seconds for which handlers have blocked it."""
    acts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Acts at the desk, by act and result: done, failed or denied."""

    def act(self, act: str, result: str) -> None:
        """Count an act at the desk."""
        counts = self.acts.setdefault(act, {})
        counts[result] = counts.get(result, 0) + 1


PROCESS = ProcessMetrics()
"""Of this process."""


Ran = Callable[[Started, float, float], None]
"""Counts a handler that has run: its message, and the monotonic times of its start and end."""


@dataclass(slots=True, eq=False, kw_only=True)
class ConsumerMetrics:
    """Counts of the deliveries of one consumer, since the process started."""

    consumer: str
    queue: str
    driver: str
    handler_seconds: Histogram = field(default_factory=Histogram)
    wait_seconds: Histogram = field(default_factory=Histogram)
    """From when a message was due until its handler started; counted once ``measure`` was called."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failures by the type of the error."""
    dead: dict[str, int] = field(default_factory=dict)
    """Dead letters by their reason."""
    waits: Waits | None = None
    ran: Ran = field(init=False)
    delivered: int = 0
    redelivered: int = 0
    acked: int = 0
    nacked: int = 0
    released: int = 0
    snoozed: int = 0
    """Releases that a handler requested, by Snooze, a sleep or a wait; they do not count as released."""
    unstarted: int = 0
    """Releases of messages whose handlers had not started, at a stop or a pause."""
    replied: int = 0
    requesters_gone: int = 0
    result_errors: int = 0
    dead_lettered: int = 0
    expired: int = 0
    dropped: int = 0
    cancelled: int = 0
    """Cancelled messages that were settled; they do not count as acked."""
    failed: int = 0
    timed_out: int = 0
    stale: int = 0
    lease_lost: int = 0
    limit_waits: int = 0
    """Requests for messages that had to wait for a token or a place of the queue's limit."""
    attempts_dropped: int = 0
    """Records of failed attempts that were too many, or that the store has not taken."""
    reconnects: int = 0
    """Times that the broker has answered again after receives that failed."""

    def __post_init__(self) -> None:
        self.ran = _counting(self.handler_seconds)

    def measure(self, clock: Clock) -> None:
        """Count waits too from now on; without it they cost nothing."""
        if self.waits is None:
            self.waits = Waits(clock)
            self.ran = _measuring(self.handler_seconds, self.wait_seconds, self.waits)

    def ran_batch(self, messages: Iterable[Started], started: float, ended: float) -> None:
        """Count one run of a handler for a whole batch, and the wait of each message."""
        self.handler_seconds.observe(ended - started)
        if self.waits is not None:
            for message in messages:
                if message.attempt == 1:
                    self.wait_seconds.observe(self.waits.of(message, started))

    def fail(self, error: BaseException | None, times: int = 1) -> None:
        """Count failures, by the type of the error; None: the handler said so without one."""
        self.failed += times
        name = "false" if error is None else type(error).__qualname__
        if name not in self.errors and len(self.errors) >= MAX_ERRORS:
            name = OTHER
        self.errors[name] = self.errors.get(name, 0) + times

    def ack(self, reason: str) -> None:
        """Count an ack; the reason of its verdict says whether the message was cancelled."""
        if reason == "cancelled":
            self.cancelled += 1
        else:
            self.acked += 1

    def release(self, delay: float) -> None:
        """Count a release; with a delay a handler has requested it."""
        if delay > 0:
            self.snoozed += 1
        else:
            self.released += 1

    def bury(self, reason: str) -> None:
        """Count a dead letter."""
        self.dead_lettered += 1
        self.dead[reason] = self.dead.get(reason, 0) + 1

    def counters(self) -> dict[str, int]:
        """All plain counters by name, sorted."""
        return {name: value for name in sorted(self.__slots__) if isinstance(value := getattr(self, name), int)}

    def as_dict(self) -> dict[str, int | float | str]:
        """All counters by name, sorted, with the histogram as ``handler_count`` and ``handler_seconds``."""
        names: dict[str, int | float | str] = {"consumer": self.consumer, "driver": self.driver, "queue": self.queue}
        runs = self.handler_seconds
        counted = dict(sorted({**names, **self.counters()}.items()))
        return {**counted, "handler_count": runs.count, "handler_seconds": runs.sum}


def _counting(runs: Histogram) -> Ran:
    """As ``Histogram.observe``, without another call: it is on the path of every message."""
    bounds, counts, least = runs.bounds, runs.counts, runs.bounds[0]

    def ran(message: Started, started: float, ended: float) -> None:
        seconds = ended - started
        counts[bisect_left(bounds, seconds) if seconds > least else 0] += 1
        runs.sum += seconds
        if seconds > runs.most:  # noqa: PLR1730 - a call costs more
            runs.most = seconds
        if seconds < runs.least:  # noqa: PLR1730
            runs.least = seconds
        if runs.also is not None:
            runs.also(seconds)

    return ran


def _measuring(runs: Histogram, waited: Histogram, waits: Waits) -> Ran:
    """The same, and the wait and the trace of the message."""
    bounds, counts, least, wait_of, wait_counts = runs.bounds, runs.counts, runs.bounds[0], waits.of, waited.counts

    def ran(message: Started, started: float, ended: float) -> None:
        seconds = ended - started
        counts[bisect_left(bounds, seconds) if seconds > least else 0] += 1
        runs.sum += seconds
        if seconds > runs.most:  # noqa: PLR1730 - a call costs more
            runs.most = seconds
        if seconds < runs.least:  # noqa: PLR1730
            runs.least = seconds
        if runs.also is not None:
            runs.also(seconds)
        if message.attempt == 1:
            wait = wait_of(message, started)
            wait_counts[bisect_left(bounds, wait) if wait > least else 0] += 1  # of the same bounds
            waited.sum += wait
            if wait > waited.most:  # noqa: PLR1730
                waited.most = wait
            if wait < waited.least:  # noqa: PLR1730
                waited.least = wait
            if waited.also is not None:
                waited.also(wait)
        if TRACEPARENT in message.headers and (trace := _sampled(message)) is not None:
            runs.exemplars[bisect_left(bounds, seconds)] = trace, seconds, round(waits.wall(ended), 3)

    return ran


def _sampled(message: Started) -> str | None:
    """The id of its trace, if that is recorded."""
    text = str(message.headers[TRACEPARENT])
    return text[3:35] if len(text) >= _TRACEPARENT and text[54] in _SAMPLED and text[35] == "-" else None


def quantile(
    bounds: Sequence[float], counts: Sequence[int], share: float, least: float = 0.0, most: float | None = None
) -> float | None:
    """The value below which this share of the counted values lies, within its bucket in proportion; None: no value.

    ``least`` and ``most`` of the values, where they are known, narrow the first and the last bucket. Without ``most`` a
    value beyond the last bound counts as that bound.
    """
    wanted, below = sum(counts) * share, 0
    if not any(counts):
        return None
    highest = bounds[-1] if most is None else most
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            low = max(bounds[number - 1] if number else 0.0, least)
            high = min(bounds[number] if number < len(bounds) else inf, highest)
            return low + (high - low) * (wanted - below) / count if high > low else high
        below += count
    return highest
