"""Presence: a worker process's own entry in a store; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tasuki.moments import Moment
from tasuki.units import format_duration

PRESENCE = "presence/"
"""Prefix of the keys: one for each worker process."""

TTL = 15.0
"""Seconds after its last sign from which a worker is gone."""

KEPT = 900.0
"""Seconds for which the entry of a worker that has not stopped in order is kept after its last sign."""

PERIOD = 5.0
"""Seconds between two checks of what the entry says: a change is written at once, also while a handler runs."""

QUIET = 12.0
"""Seconds between two signs of an idle worker whose entry stays the same; the rest of ``TTL`` is for a busy machine."""

MAX_BYTES = 256 * 1024
"""Largest entry: of more consumers the last ones are left out, and their sums stay."""

MESSAGES = 8 * 1024
"""Bytes of an entry for running messages; the ones that run longest are named."""


class RunningMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message whose handler runs; ``since``: Unix time of the store."""

    id: str
    function: str
    since: Moment
    key: str = ""
    """Its order key, in a queue that keeps an order per key."""
    bound: float = 0.0
    """Seconds: without ``handler_timeout`` it has run for longer than that, which is long for its consumer; 0: not."""
    is_lost: bool = False
    """Its lease is lost: another worker may run the message too."""


class PresentConsumer(msgspec.Struct, frozen=True):
    """A consumer of a worker process; counts are since the process started."""

    id: str
    queue: str
    """The queue's name at the broker."""
    driver: str
    concurrency: int
    running: int = 0
    done: int = 0
    failed: int = 0
    messages: Sequence[RunningMessage] = ()
    """The handlers that run now, the longest first."""
    held: int = 0
    """Messages of the queue that the process holds, where the broker does not count them; the first of its consumers of
    the queue says it."""


class Unlisted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The consumers for which an entry has no room: their number and sums."""

    consumers: int = 0
    concurrency: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0


class WorkerHealth(msgspec.Struct, frozen=True):
    """The health of a worker, as its probes report it: status, and name and text of the worst check."""

    status: str
    """``ok``, ``warning``, ``not_ready`` or ``not_live``."""
    check: str = ""
    text: str = ""


class Presence(msgspec.Struct, frozen=True):
    """A worker process; times are Unix times of the store."""

    host: str
    pid: int
    version: str
    started: float
    seen: float
    consumers: Sequence[PresentConsumer] = ()
    left_out: int = 0
    """Consumers and running messages for which the entry had no room."""
    unlisted: Unlisted = Unlisted()
    """The consumers among them."""
    health: WorkerHealth | None = None
    """None: it does not observe itself, or its version does not say it."""
    process: str = ""
    """Of each process another: containers may share the name of a host and the number of a process."""
    overlap: int = 0
    """Places that count more than once in its consumers, as they share workers."""

    @property
    def key(self) -> str:
        """The key of its entry: a process that follows with the same number has another."""
        return f"{PRESENCE}{self.host[:200]}:{self.pid}:{self.started:.3f}"

    @property
    def name(self) -> str:
        """``host:pid``."""
        return f"{self.host}:{self.pid}"

    def is_process(self, other: Presence) -> bool:
        """Whether both are entries of one process, perhaps in two stores."""
        return self.process == other.process and self.name == other.name

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return sum(consumer.running for consumer in self.consumers) + self.unlisted.running

    @property
    def concurrency(self) -> int:
        """Handlers that may run at the same time."""
        return sum(consumer.concurrency for consumer in self.consumers) + self.unlisted.concurrency - self.overlap

    @property
    def done(self) -> int:
        """Messages that were handled since it started."""
        return sum(consumer.done for consumer in self.consumers) + self.unlisted.done

    @property
    def failed(self) -> int:
        """Failures of handlers since it started."""
        return sum(consumer.failed for consumer in self.consumers) + self.unlisted.failed

    def is_late(self, now: float) -> bool:
        """Whether it should have given another sign by this time of the store."""
        return now - self.seen > late_after(self.running)

    def condition(self, now: float) -> str:
        """``silent`` where it is late, else its status of health; ``unknown``: nothing observes it."""
        if self.is_late(now):
            return "silent"
        return "unknown" if self.health is None else self.health.status

    @property
    def trouble(self) -> str:
        """Its worst check, with its name; empty: all are ok, or it is not observed."""
        health = self.health
        return "" if health is None or not health.check else f"{health.check}: {health.text}"

    def alarm(self, now: float) -> str:
        """Its trouble as a sentence; empty: nothing that a queue of it would notice."""
        if self.is_gone(now):
            silent = format_duration(round(now - self.seen))
            return f"{self.name} has been silent for {silent}: killed, frozen or cut off from its store"
        is_not_live = self.health is not None and self.health.status == "not_live"
        return f"{self.name} is not live: {self.trouble}" if is_not_live else ""

    def is_gone(self, now: float) -> bool:
        """Whether it is lost: killed, frozen, or cut off from the store. A process that stops removes its entry."""
        return now - self.seen > TTL


def worker_id(key: str) -> str:
    """A worker in addresses: its key without what all keys begin with."""
    return key.removeprefix(PRESENCE)


def late_after(running: int) -> float:
    """Seconds after its last sign from which a worker is late, by how many handlers it ran then."""
    return 2 * PERIOD if running else (QUIET + TTL) / 2


def next_sign_in(presence: Presence, last: Presence | None, since: float) -> float:
    """Seconds until this entry must be written; 0: now. ``last``: the one that was, this number of seconds ago.

    A worker that runs handlers says so with every check, as one of them may keep the thread from the next one. A
    warning of health waits for the next sign: a busy machine makes all its idle workers warn.
    """
    if last is None or presence.running or _news(last) != _news(presence):
        return 0.0
    return max(QUIET - since, 0.0)


def _news(presence: Presence) -> Presence:
    """The entry without its time and its warnings, which are no reason to write it."""
    health = presence.health
    is_grave = health is not None and health.status in ("not_ready", "not_live")
    return msgspec.structs.replace(presence, seen=0.0, health=health if is_grave else None)


def as_of_sign(presence: Presence, now: float) -> Presence:
    """The same without the running messages that may have ended since: they had run for less than the sign is old."""
    latest = 2 * presence.seen - now
    consumers = [
        msgspec.structs.replace(each, messages=[one for one in each.messages if one.since <= latest])
        if each.messages
        else each
        for each in presence.consumers
    ]
    return msgspec.structs.replace(presence, consumers=consumers)


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Presence)


def encode(presence: Presence, most: int = MAX_BYTES) -> bytes:
    """The entry, of ``most`` bytes at most, with ``MESSAGES`` bytes of running messages at most."""
    value = _encoder.encode(presence)
    return value if len(value) <= min(MESSAGES, most) else _encoder.encode(_cut(presence, most))


def _cut(presence: Presence, most: int) -> Presence:
    bare = [msgspec.structs.replace(each, messages=()) for each in presence.consumers]
    head = msgspec.structs.replace(presence, consumers=(), left_out=2**31, unlisted=_sums(presence.consumers))
    room = max(most - len(_encoder.encode(head)) - _ROOM, 0)
    fits = _fitting(bare, room)
    kept, hidden = presence.consumers[:fits], presence.consumers[fits:]
    room -= sum(map(_size, bare[:fits]))
    named = _longest(kept, min(MESSAGES, room))
    unnamed = sum(len(each.messages) for each in presence.consumers) - len(named)
    consumers = [
        msgspec.structs.replace(each, messages=[one for at, one in enumerate(each.messages) if (number, at) in named])
        for number, each in enumerate(kept)
    ]
    left_out = presence.left_out + len(hidden) + unnamed
    return msgspec.structs.replace(presence, consumers=consumers, left_out=left_out, unlisted=_sums(hidden))


_ROOM = 256
"""Bytes for names of fields and brackets."""


def _size(value: object) -> int:
    return len(_encoder.encode(value)) + 1


def _fitting(consumers: Sequence[PresentConsumer], room: int) -> int:
    """How many of them there is room for."""
    for number, each in enumerate(consumers):
        room -= _size(each)
        if room < 0:
            return number
    return len(consumers)


def _longest(consumers: Sequence[PresentConsumer], room: int) -> set[tuple[int, int]]:
    """The messages that run longest, as far as there is room: each by the places of its consumer and of itself."""
    found: set[tuple[int, int]] = set()
    every = [(one, (number, at)) for number, each in enumerate(consumers) for at, one in enumerate(each.messages)]
    for message, place in sorted(every, key=lambda pair: pair[0].since):
        room -= _size(message)
        if room < 0:
            break
        found.add(place)
    return found


def _sums(consumers: Sequence[PresentConsumer]) -> Unlisted:
    """``Unlisted`` for these consumers."""
    return Unlisted(
        len(consumers),
        sum(each.concurrency for each in consumers),
        sum(each.running for each in consumers),
        sum(each.done for each in consumers),
        sum(each.failed for each in consumers),
    )


def decode(value: bytes) -> Presence | None:
    """The worker behind an entry; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def held_of(workers: Sequence[Presence], queue: str, driver: str) -> int | None:
    """How many messages of a queue these worker processes hold; None: an entry had no room for all consumers.

    ``queue``: its name at the broker; ``driver``: the id of its entry.
    """
    if any(worker.unlisted.consumers for worker in workers):
        return None
    consumers = (consumer for worker in workers for consumer in worker.consumers)
    return sum(each.held for each in consumers if each.queue == queue and each.driver == driver)


def consumers_of(workers: Sequence[Presence], queue: str, driver: str | None = None) -> int | None:
    """How many consumers these worker processes have at a queue, as far as they are listed.

    None: none is listed, but an entry had no room for all consumers of its worker.

    Args:
        workers: the processes.
        queue: its name at the broker.
        driver: the id of its entry, where drivers share the store, and may have queues of one name; None: they do not.
    """
    count = sum(
        consumer.queue == queue and driver in (None, consumer.driver)
        for worker in workers
        for consumer in worker.consumers
    )
    return None if not count and any(worker.unlisted.consumers for worker in workers) else count
