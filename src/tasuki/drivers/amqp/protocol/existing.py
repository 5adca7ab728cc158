"""Existing: which queues and exchanges the broker has, and how many messages are ready in its queues."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection


def passively(queue: str) -> commands.Queue.Declare:
    """Ask for the counts of a queue."""
    return commands.Queue.Declare(queue=queue, passive=True)


async def up_to_missing(connection: Connection, declarations: Iterable[Method]) -> list[Any]:
    """The answers to passive declarations, made one after the other, before the first that is refused.

    Raises ClosedError or LateError.
    """
    answers: list[Any] = []
    try:
        async with connection.borrow() as channel:
            for declaration in declarations:
                answers += await channel.ask(declaration)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
    return answers


async def are_there(connection: Connection, *declarations: Method) -> bool:
    """Whether none of some passive declarations is refused. Raises ClosedError or LateError."""
    try:
        async with connection.borrow() as channel:
            await channel.ask(*declarations)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


IN_TIME = 0.2
_MOST_TRIES = 5


async def ready(channel: Channel, queues: Sequence[str]) -> list[int]:
    """The number of ready messages of each queue. Raises ClosedError or LateError.

    RabbitMQ gives the leader of a quorum queue 250 ms to answer, and reports 0 if that takes longer
    (``rabbit_quorum_queue:stat/1``), as on a busy machine. So a late 0 is asked for again.
    """
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
