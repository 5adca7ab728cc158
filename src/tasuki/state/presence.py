"""Presence: what a worker process says of itself, as one entry of a store; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

PRESENCE = "presence/"
"""Prefix of the keys: one for each worker process, which ends with its time to live."""
TTL = 15.0
"""Seconds after which a worker that gave no sign is gone."""
PERIOD = 5.0
"""Seconds between two checks of what the entry says: a change is written at once, also while a handler runs."""
QUIET = 12.0
"""Seconds between two signs of an idle worker whose entry stays the same; the rest of ``TTL`` is for a busy machine."""
MAX_BYTES = 8 * 1024
"""Largest entry: of long lists the last items are left out."""


class RunningMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message whose handler runs; ``since``: Unix time of the store."""

    id: str
    function: str
    since: float
    key: str = ""
    """Its order key, in a queue that keeps an order per key."""


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
    hidden: int = 0
    """Consumers among them."""

    @property
    def key(self) -> str:
        """The key of its entry: a process that follows with the same number has another."""
        return f"{PRESENCE}{self.host[:200]}:{self.pid}:{self.started:.3f}"

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return sum(consumer.running for consumer in self.consumers)

    def is_late(self, now: float) -> bool:
        """Whether it should have given another sign by this time of the store."""
        return now - self.seen > late_after(self.running)

    @property
    def done(self) -> int:
        """Messages that were handled since it started."""
        return sum(consumer.done for consumer in self.consumers)

    @property
    def failed(self) -> int:
        """Failures of handlers since it started."""
        return sum(consumer.failed for consumer in self.consumers)


def late_after(running: int) -> float:
    """Seconds after its last sign from which a worker is late, by how many handlers it ran then."""
    return 2 * PERIOD if running else (QUIET + TTL) / 2


def next_sign_in(presence: Presence, last: Presence | None, since: float) -> float:
    """Seconds until this entry must be written; 0: now. ``last``: the one that was, this number of seconds ago.

    A worker that runs handlers says so with every check, as one of them may keep the thread from the next one.
    """
    if last is None or presence.running or msgspec.structs.replace(last, seen=presence.seen) != presence:
        return 0.0
    return max(QUIET - since, 0.0)


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Presence)


def encode(presence: Presence) -> bytes:
    """The entry, of ``MAX_BYTES`` at most: of what runs first the shortest are left out, then the last consumers."""
    value = _encoder.encode(presence)
    while len(value) > MAX_BYTES and presence.consumers:
        presence = _shorter(presence)
        value = _encoder.encode(presence)
    return value


def _shorter(presence: Presence) -> Presence:
    most = max(len(consumer.messages) for consumer in presence.consumers)
    if most:
        kept = [_messages_cut(each, most // 2) for each in presence.consumers]
        dropped = sum(map(_messages, presence.consumers)) - sum(map(_messages, kept))
    else:
        kept = list(presence.consumers[: len(presence.consumers) // 2])
        dropped = len(presence.consumers) - len(kept)
    hidden = presence.hidden + len(presence.consumers) - len(kept)
    return msgspec.structs.replace(presence, consumers=kept, left_out=presence.left_out + dropped, hidden=hidden)


def _messages(consumer: PresentConsumer) -> int:
    return len(consumer.messages)


def _messages_cut(consumer: PresentConsumer, most: int) -> PresentConsumer:
    return msgspec.structs.replace(consumer, messages=consumer.messages[:most])


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
    if any(worker.hidden for worker in workers):
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
    return None if not count and any(worker.hidden for worker in workers) else count
