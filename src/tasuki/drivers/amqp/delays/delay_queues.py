"""Delay queues: durable queues with a fixed time to live, through which a delayed message passes.

A delay is a sum of fixed times: 5 seconds are 4 s and 1 s, an hour is one hour. Each time has a queue, and the message
lies in the queue of each of its times, one after the other; the broker dead-letters it from one to the next, and from
the last one to its target. No process has to run, and a restart of the broker changes nothing.

A message's routing key is its target. Its hops stand in the header BCC, which RabbitMQ takes for more routing keys and
keeps for each dead-lettering: ``tasuki.delayed:3>7`` leads from the fourth time's queue to the eighth's. Direct
exchanges look these keys up; a topic exchange, with a word for each time in one key, cost three times the CPU of the
whole hop.

The shortest time comes first. So messages that are due together, and were published one by one, make their many short
hops when they were published, and only one when they are due.

RabbitMQ moves the expired messages of one queue slowly (its dead-letter worker keeps 32 in flight), so each time has up
to ``SHARDS`` queues side by side, and a burst spreads over them; see docs/adr/0014-amqp-delay-queues.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zlib import crc32

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.limits import LONGEST_DELAY, STEP, TIMES
from tasuki.drivers.amqp.protocol.tables import encode_texts
from tasuki.drivers.amqp.topology.queue_arguments import DELIVERY_LIMIT, GIVEN_UP, given_up, whole_name

NAME = "tasuki.delayed"
"""Exchange behind the last delay queue; it routes to the targets."""
SHARDS = 8
"""Queues side by side for one time."""
_MARKS = 1024
"""Into how many shares the names of queues are divided; a share has one mark."""
_SECOND = round(1 / STEP)
_ROUNDED_UP = ((60.0, _SECOND), (10.0, _SECOND // 2), (0.0, 1))
"""From how many seconds on a delay is rounded up to how many steps: that saves hops."""


class Hop(NamedTuple):
    """One hop: from a time's queue (-1: from the publisher) to the next time's queue (None: to the target)."""

    before: int
    after: int | None


class Way(NamedTuple):
    """The delay queues that a message passes, as indexes into ``TIMES``."""

    times: tuple[int, ...]
    header: bytes
    """The field of the header table with all its hops."""

    def links(self) -> list[Hop]:
        """All hops."""
        return _links(self.times)


def way(delay: float) -> Way:
    """The way for a delay: never shorter, and less than a second longer."""
    steps = max(math.ceil(min(delay, LONGEST_DELAY) / STEP - 1e-9), 1)
    grain = next(grain for least, grain in _ROUNDED_UP if delay >= least)
    return _way(-(-steps // grain) * grain)


@lru_cache(4096)
def _way(steps: int) -> Way:
    times: list[int] = []
    for index in reversed(range(len(TIMES))):
        if TIMES[index] <= steps:
            times.insert(0, index)
            steps -= TIMES[index]
    assert not steps, "the times make up every delay"
    return Way(tuple(times), encode_texts(b"BCC", [_key(hop) for hop in _links(times)]))


def _links(times: Sequence[int]) -> list[Hop]:
    return [Hop(before, after) for before, after in pairwise((-1, *times, None))]  # type: ignore[arg-type]


def _key(hop: Hop) -> str:
    return f"{NAME}:{hop.before}>{'' if hop.after is None else hop.after}"


def entry(shard: int) -> str:
    """Exchange that a publisher uses."""
    return f"{NAME}.in.{shard}"


def queue_name(time: int, shard: int) -> str:
    """Queue of a time, and the exchange that the broker dead-letters its messages to."""
    tenths = TIMES[time]
    shown = f"{tenths // _SECOND}s" if tenths % _SECOND == 0 else f"{tenths * round(STEP * 1000)}ms"
    return f"{NAME}.{shown}.{shard}"


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

    It keeps a message whose target was deleted: the broker would try again for ever, and thirty-two such messages would
    block a delay queue.
    """
    return [
        given_up(),
        commands.Exchange.Declare(exchange=GIVEN_UP, exchange_type="fanout", durable=True),
        commands.Queue.Bind(queue=GIVEN_UP, exchange=GIVEN_UP),
        _exchange(NAME, {"alternate-exchange": GIVEN_UP}),
    ]


def entry_exchange(shard: int) -> Method:
    """Make the exchange for publishers."""
    return _exchange(entry(shard))


def delay_queue(time: int, shard: int) -> list[Method]:
    """Make a delay queue, and its dead-letter exchange."""
    name = queue_name(time, shard)
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-message-ttl": TIMES[time] * round(STEP * 1000),
        "x-dead-letter-exchange": name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,  # a sweep counts as a delivery, and 20 would end a delay early
    }
    return [_exchange(name), commands.Queue.Declare(queue=name, durable=True, arguments=arguments)]


def link(hop: Hop, shard: int) -> Method:
    """Route a message over one hop."""
    source, key = entry(shard) if hop.before < 0 else queue_name(hop.before, shard), _key(hop)
    if hop.after is None:
        return commands.Exchange.Bind(destination=NAME, source=source, routing_key=key)
    return commands.Queue.Bind(queue=queue_name(hop.after, shard), exchange=source, routing_key=key)


def _exchange(name: str, arguments: dict[str, Any] | None = None) -> Method:
    return commands.Exchange.Declare(exchange=name, exchange_type="direct", durable=True, arguments=arguments or {})
