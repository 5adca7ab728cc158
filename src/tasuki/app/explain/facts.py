"""Facts about one message, its queue and its workers at one moment; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tasuki.contracts.driver import Depth, Limit
from tasuki.message import Message
from tasuki.observe.events import (
    DEAD_LETTERED,
    ENDED,
    LEASE_RENEWED,
    LIMITED,
    RECEIVED,
    RELEASED,
    SETTLED,
    STALE,
    STARTED,
    SUSPENDED,
)
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.state.job_records import JobRecord
from tasuki.state.job_status import Known
from tasuki.state.pauses import Pause
from tasuki.state.worker_record import PresentConsumer

Stage = Literal["received", "suspended", "started", "ended", "settled", "released"]
_STAGES: Mapping[str, Stage] = {
    RECEIVED: "received",
    SUSPENDED: "suspended",
    STARTED: "started",
    ENDED: "ended",
    SETTLED: "settled",
    STALE: "released",
    RELEASED: "released",
}
_LEFT: frozenset[Stage] = frozenset({"settled", "released"})
"""Stages after which a worker does not have the message any more."""
RATE_SECONDS = 60.0
"""The current rate is measured over the last minute."""

Events = Sequence[Mapping[str, Any]]
"""As :func:`tasuki.observe.events.as_dicts` makes them."""


@dataclass(frozen=True, slots=True)
class Life:
    """The last report of a worker's flight recorder on the message; ``at``: Unix time of that worker."""

    worker: str
    stage: Stage
    at: float
    settlement: str = ""
    """Of ``settled``: ``ack`` or ``nack``."""
    moved_to: str = ""
    """The dead-letter queue that it was moved to before it was settled; empty: it was not."""
    renewed: float | None = None
    """When that consumer last renewed leases."""


@dataclass(frozen=True, slots=True)
class AtWork:
    """A consumer of the queue in one worker process, and its events."""

    worker: str
    """``host:pid``."""
    seen: float
    """Unix time of its last sign."""
    consumer: PresentConsumer
    events: Events = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """A consumer entry of the queue; ``denied``: why it may not consume, empty if it may."""

    id: str
    denied: str = ""
    pause: Pause | None = None
    """Its own, or its scale of 0."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the rule knows; times are Unix seconds."""

    now: float
    id: str
    queue: str
    driver: str = ""
    can_look: bool = True
    """Whether the broker shows waiting messages."""
    is_missing: bool = False
    """Whether the broker does not have the queue."""
    message: Message | None = None
    """The message while it waits, and ``place``, its number among those that wait."""
    place: int = 0
    delay: float | None = None
    """Seconds until it is ready; None: its broker does not say."""
    searched: int = 0
    """How many waiting messages were looked through."""
    is_bounded: bool = False
    """Whether more of them wait than were looked through."""
    before: str = ""
    """Id of the nearest waiting message before it that has its order key."""
    key: str = ""
    """Its order key, in a queue that keeps an order per key."""
    depth: Depth | None = None
    letter: Message | None = None
    """Its dead letter, and ``dead_letters``, the queue it is in."""
    dead_letters: str = ""
    unseen_letters: str = ""
    """The queue of its dead letters, if its broker does not show them."""
    attempts: Sequence[AttemptRecord] = ()
    """Its failed attempts, as far as they are known, oldest first."""
    known: Known | None = None
    """What status knows of it; None: the queue has no state."""
    is_cancelled: bool = False
    sleeps: Sequence[tuple[str, float]] = ()
    """Name and end of each sleep and wait_for of its handler."""
    pause: Pause | None = None
    consumers: Sequence[Declared] = ()
    knows_workers: bool = True
    workers: Sequence[AtWork] = ()
    limit: Limit | None = None
    """Over the whole queue."""
    lane_limit: str = ""
    """The limit of its lane in words; empty: there is none."""
    lane: str = ""
    lease: float = 30.0
    lives: Sequence[Life] = field(default=())

    @property
    def record(self) -> JobRecord | None:
        """Of its job, in a queue that keeps one."""
        return None if self.known is None else self.known.record

    @property
    def is_with_worker(self) -> bool:
        """Whether a worker tells that it has the message."""
        return bool(self.lives) and self.lives[0].stage not in _LEFT

    @property
    def unexplained(self) -> int:
        """How many messages of the queue are held, beyond those that its workers report."""
        held = 0 if self.depth is None else self.depth.in_flight or 0
        return max(held - len(_held_by_workers(self.workers)), 0)


def _held_by_workers(workers: Iterable[AtWork]) -> set[str]:
    """Ids of the messages that these workers have: running, fetched, or about to be settled."""
    has: set[str] = set()
    for work in workers:
        last = {event["message"]: _STAGES[event["kind"]] for event in work.events if event["kind"] in _STAGES}
        has |= {id for id, stage in last.items() if stage not in _LEFT}
        has |= {message.id for message in work.consumer.messages}
    return has


def lives_of(id: str, workers: Iterable[AtWork]) -> list[Life]:
    """Each worker's report on a message, the newest first."""
    found = [life for each in workers if (life := _life_in(id, each)) is not None]
    return sorted(found, key=lambda life: life.at, reverse=True)


def _life_in(id: str, work: AtWork) -> Life | None:
    of_message = [event for event in work.events if event["message"] == id]
    own = [event for event in of_message if event["kind"] in _STAGES]
    if not own:
        return None
    last = own[-1]
    moved_to = ""
    for event in of_message:
        if event["kind"] in (RECEIVED, DEAD_LETTERED):  # the last arrival is what counts
            moved_to = str(event["value"] or "")
    renewals = [event["at"] for event in work.events if event["kind"] == LEASE_RENEWED]
    renewed = renewals[-1] if renewals and renewals[-1] >= own[0]["at"] else None
    settlement = str(last["value"]) if last["kind"] == SETTLED else ""
    return Life(work.worker, _STAGES[last["kind"]], last["at"], settlement, moved_to, renewed)


def rate_of(facts: Facts) -> float | None:
    """Messages that left the queue a second, over the last minute; None: the workers do not tell."""
    since = facts.now - RATE_SECONDS
    done = [
        event["at"]
        for work in facts.workers
        for event in work.events
        if event["kind"] == SETTLED and event["value"] != "nack" and event["at"] >= since
    ]
    return len(done) / max(facts.now - min(done), 1.0) if done else None


def next_token(facts: Facts) -> float | None:
    """Seconds until the queue's rate allows the next message, as the workers report it.

    None: the rate is not used up.
    """
    limit = facts.limit
    if limit is None or limit.rate is None:
        return None
    released = {
        (event["message"], event["attempt"])
        for work in facts.workers
        for event in work.events
        if event["kind"] == RELEASED
    }
    given = sorted(
        event["at"]
        for work in facts.workers
        for event in work.events
        if event["kind"] == RECEIVED and (event["message"], event["attempt"]) not in released
    )
    used = 0.0
    for at in given:  # the time at which all of the burst is free again
        used = max(used, at) + 1 / limit.rate
    wait = used - (limit.burst - 1) / limit.rate - facts.now
    return wait if wait > 0 else None


def is_held_back(facts: Facts) -> bool:
    """Whether the newest event of a consumer says that its workers wait for the limit that they keep."""
    newest = [events[-1] for work in facts.workers if (events := [each for each in work.events if not each["message"]])]
    return any(event["kind"] == LIMITED for event in newest)
