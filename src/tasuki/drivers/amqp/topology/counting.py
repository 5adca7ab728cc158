"""Counting: how many messages are ready in queues of the broker.

RabbitMQ gives the leader of a quorum queue 250 ms to answer, and reports 0 if that takes longer
(``rabbit_quorum_queue:stat/1``), as on a busy machine. So a late 0 is asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.existing import passively

IN_TIME = 0.2
_MOST_TRIES = 5


async def ready(channel: Channel, queues: Sequence[str]) -> list[int]:
    """The number of ready messages of each queue. Raises ClosedError or LateError."""
    numbers, is_in_time = await _ask(channel, queues)
    if is_in_time:
        return numbers
    return [number or await _ready(channel, queue) for queue, number in zip(queues, numbers, strict=True)]


async def _ready(channel: Channel, queue: str) -> int:
    for _ in range(_MOST_TRIES):
        (number,), is_in_time = await _ask(channel, [queue])
        if is_in_time or number:
            break
    return number


async def _ask(channel: Channel, queues: Sequence[str]) -> tuple[list[int], bool]:
    """The numbers, and whether each 0 is one that a leader has answered."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    found = await channel.ask(*map(passively, queues))
    return [int(answer.message_count) for answer in found], loop.time() - asked_at < IN_TIME
