"""Delay queues: durable queues with a fixed time to live, through which a delayed message passes.

A delay of at most a minute takes one hop: the message lies in the queue of the shortest time that is not below its
delay, and its own time to live (the property ``expiration``) ends its wait there. The broker looks at the head of a
queue only, so a message also waits for those before it. They came earlier and wait no longer than the queue's time, so
it is late by at most the difference between this time and the next shorter one.

A longer delay is a sum: its whole minutes are made up of fixed times, each with a queue, and the rest comes first, as
the broker drops the message's own time to live with its first hop. The broker dead-letters it from one queue to the
next, the shortest time first, and from the last one to its target. No process has to run, and a restart of the broker
changes nothing.

A message's routing key is its target. Its hops stand in the header BCC, which RabbitMQ takes for more routing keys and
keeps for each dead-lettering: ``tasuki.delayed:15s>120s`` leads from the queue of 15 seconds to the queue of two
minutes. Direct exchanges look these keys up; a topic exchange, with a word for each time in one key, cost three times
the CPU of the whole hop.

RabbitMQ moves the expired messages of one queue slowly (its dead-letter worker keeps 32 in flight), so each time has up
to ``SHARDS`` queues side by side, and a burst spreads over them; see docs/adr/0014-amqp-delay-queues.md and
docs/adr/0051-amqp-one-hop-below-a-minute.md.
"""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zlib import crc32

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.limits import LONGEST_DELAY, MINUTE, SECOND, STEP, TIMES
from tasuki.drivers.amqp.protocol.connection import Connection, are_there
from tasuki.drivers.amqp.protocol.frames import decode_properties, encode_texts
from tasuki.drivers.amqp.topology.queue_arguments import DELIVERY_LIMIT, GIVEN_UP, given_up, returned_name, whole_name

NAME = "tasuki.delayed"
"""Exchange behind the last delay queue; it routes to the targets."""
SHARDS = 8
"""Queues side by side for one time; as many again for messages of high priority."""
HIGH = 5
"""The lowest priority that RabbitMQ 4.0 to 4.2 put before others in a quorum queue: as long as the first message of
high priority has time left, they look at no other one, so that one that is due earlier would wait for it."""


_MARKS = 1024
"""Into how many shares the names of queues are divided; a share has one mark."""
_MS = round(STEP * 1000)
_FIXED = bisect_left(TIMES, MINUTE)
"""The first of the times that make up whole minutes."""


class Hop(NamedTuple):
    """One hop: from a time's queue (None: from the publisher) to the next time's queue (None: to the target)."""

    before: int | None
    after: int | None


class Way(NamedTuple):
    """The delay queues that a message passes, as indexes into ``TIMES``."""

    times: tuple[int, ...]
    wait: int
    """Milliseconds in the first of them, at most its time; in each other one its time."""


def way(delay: float) -> Way:
    """The way for a delay: never shorter; above a minute it waits for whole seconds, which saves hops."""
    wait = max(math.ceil(min(delay, LONGEST_DELAY) * 1000 - 1e-6), 1)
    if wait > MINUTE * _MS:
        wait = -(-wait // 1000) * 1000
    times: list[int] = []
    for index in reversed(range(_FIXED, len(TIMES))):
        if TIMES[index] * _MS <= wait:
            times.insert(0, index)
            wait -= TIMES[index] * _MS
    if wait:
        times.insert(0, bisect_left(TIMES, wait / _MS))
    return Way(tuple(times), wait or TIMES[times[0]] * _MS)


def hops(times: tuple[int, ...]) -> list[Hop]:
    """All hops of the messages that pass these queues."""
    return [Hop(before, after) for before, after in pairwise((None, *times, None))]


@lru_cache(4096)
def header(times: tuple[int, ...]) -> bytes:
    """The field of the header table with these hops."""
    return encode_texts(b"BCC", [_key(hop) for hop in hops(times)])


def _key(hop: Hop) -> str:
    return f"{NAME}:{_shown(hop.before)}>{_shown(hop.after)}"


def _shown(time: int | None) -> str:
    if time is None:
        return ""
    steps = TIMES[time]
    return f"{steps // SECOND}s" if steps % SECOND == 0 else f"{steps * _MS}ms"


def entry(shard: int) -> str:
    """Exchange that a publisher uses."""
    return f"{NAME}.in.{shard}"


def queue_name(time: int, shard: int) -> str:
    """Queue of a time, and the exchange that the broker dead-letters its messages to."""
    return f"{NAME}.{_shown(time)}.{shard}"


def target_binding(queue: str) -> Method:
    """Route delayed messages to their target."""
    return commands.Queue.Bind(queue=queue, exchange=NAME, routing_key=queue)


def mark(queue: str, *, passive: bool = False) -> Method:
    """Make the exchange that says that messages of a queue, or of one of few others, may be delayed; or look for it.

    It stays: another process may delay a message of a queue that was deleted and made again.
    """
    name = f"{NAME}.to.{crc32(whole_name(queue).encode()) % _MARKS}"
    return commands.Exchange.Declare(exchange=name, exchange_type="direct", durable=True, passive=passive)


def last_exchange() -> list[Method]:
    """Make the exchange behind the delay queues.

    It keeps a message whose target was deleted: the broker would try again forever, and thirty-two such messages would
    block a delay queue.
    """
    return [
        given_up(),
        commands.Exchange.Declare(exchange=GIVEN_UP, exchange_type="fanout", durable=True),
        commands.Queue.Bind(queue=GIVEN_UP, exchange=GIVEN_UP),
        _exchange(NAME, {"alternate-exchange": GIVEN_UP}),
    ]


def entry_exchange(shard: int, *, passive: bool = False) -> Method:
    """Make the exchange for publishers, or look for it."""
    return commands.Exchange.Declare(exchange=entry(shard), exchange_type="direct", durable=True, passive=passive)


def delay_queue(time: int, shard: int) -> list[Method]:
    """Make a delay queue, and its dead-letter exchange."""
    name = queue_name(time, shard)
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-message-ttl": TIMES[time] * _MS,
        "x-dead-letter-exchange": name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,  # a sweep counts as a delivery, and 20 would end a delay early
    }
    return [_exchange(name), commands.Queue.Declare(queue=name, durable=True, arguments=arguments)]


def link(hop: Hop, shard: int) -> Method:
    """Route a message over one hop."""
    source, key = entry(shard) if hop.before is None else queue_name(hop.before, shard), _key(hop)
    if hop.after is None:
        return commands.Exchange.Bind(destination=NAME, source=source, routing_key=key)
    return commands.Queue.Bind(queue=queue_name(hop.after, shard), exchange=source, routing_key=key)


def _exchange(name: str, arguments: dict[str, Any] | None = None) -> Method:
    return commands.Exchange.Declare(exchange=name, exchange_type="direct", durable=True, arguments=arguments or {})


_SHARE = 256
"""Messages of one delay queue that are due in the same second; the next ones go to its next shard."""
_MOST_SECONDS = 10_000
_AT_ONCE = 50
"""Queues, exchanges and bindings that are made together; each stays noted if a later one fails."""


class Delayed(NamedTuple):
    """A delayed message's target, way and shard."""

    target: str
    way: Way
    shard: int

    @property
    def exchange(self) -> str:
        """Exchange to publish it to."""
        return entry(self.shard)

    def mark(self, properties: bytes) -> bytes:
        """Add its way to its properties."""
        found = decode_properties(properties)
        found.table += header(self.way.times)
        found.texts["expiration"] = b"%d" % self.way.wait
        return found.encode()


class Delaying:
    """Chooses shards, and makes the delay queues and bindings that are not there yet.

    Few messages stay in the first shard, which keeps them in order; many that are due together spread over all.
    """

    def __init__(self) -> None:
        self._due: dict[tuple[int, int], int] = {}
        """How many messages this process has put off until each second, by their last delay queue."""
        self._made: set[tuple[object, ...]] = set()
        self._making = asyncio.Lock()

    def place(self, target: str, delay: float, priority: int = 0) -> Delayed:
        """Choose the way of one message."""
        chosen = way(delay)
        due = (int(time.monotonic() + delay), chosen.times[-1])
        number = self._due.get(due, 0)
        if not number and len(self._due) >= _MOST_SECONDS:
            self._forget_past()
        self._due[due] = number + 1
        first = SHARDS if priority >= HIGH else 0
        return Delayed(target, chosen, first + number // _SHARE % SHARDS)

    def _forget_past(self) -> None:
        now = int(time.monotonic())
        self._due = {due: number for due, number in self._due.items() if due[0] >= now}
        if len(self._due) >= _MOST_SECONDS:
            self._due = {}  # delays over so many seconds are no burst

    def forget(self) -> None:
        """Make everything again: the broker has lost some of it."""
        self._made = set()

    async def check(self, connection: Connection) -> None:
        """Make everything again if the broker has lost all. Raises ClosedError or LateError.

        Not in any case: while a node of a cluster is frozen, the broker answers no change of bindings.
        """
        last_exchange = commands.Exchange.Declare(exchange=NAME, passive=True)
        if self._made and not await are_there(connection, last_exchange):
            self.forget()

    def forget_target(self, queue: str) -> None:
        """Bind a queue again for its next delayed message."""
        self._made -= {("target", queue), ("target", returned_name(queue))}

    async def prepare(self, connection: Connection, messages: Sequence[Delayed]) -> None:
        """Make the delay queues that these messages pass. Raises ClosedError or LateError."""
        if self._is_made(messages):
            return
        async with self._making:
            missing = {key: methods for key, methods in self._needed(messages) if key not in self._made}
            left = list(missing)
            if not left:
                return
            async with connection.borrow() as channel:
                while left:
                    some, left = left[:_AT_ONCE], left[_AT_ONCE:]
                    await channel.ask(*(method for key in some for method in missing[key]))
                    self._made.update(some)

    def _is_made(self, messages: Sequence[Delayed]) -> bool:
        made = self._made
        return all((each.shard, each.way.times) in made and ("target", each.target) in made for each in messages)

    def _needed(self, messages: Sequence[Delayed]) -> Iterator[tuple[tuple[object, ...], list[Method]]]:
        """What these messages need, each with its key, in the order in which it can be made."""
        yield ("last",), last_exchange()
        for queue in {each.target for each in messages}:
            yield ("target", queue), [mark(queue), target_binding(queue)]
        for shard, times in {(each.shard, each.way.times) for each in messages}:
            for lower in range(shard - shard % SHARDS, shard + 1):  # a sweep looks for them from the first one up
                yield ("entry", lower), [entry_exchange(lower)]
                for index in times:
                    yield ("time", index, lower), delay_queue(index, lower)
            for hop in hops(times):
                yield (shard, *hop), [link(hop, shard)]
            yield (shard, times), []
