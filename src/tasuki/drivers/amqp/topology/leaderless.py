"""Leaderless queues: what a crash of RabbitMQ leaves of a quorum queue that was made just before it.

RabbitMQ notes a new quorum queue on disk a moment after it has made it. If it is killed in between, the queue is there
afterwards, and its member never becomes its leader (``Starting member as a new one``, says the log). Such a queue can
be declared and looked at, but the broker answers nothing to its consumers, and ends their connection after a minute. It
can be deleted, after five seconds.

A busy broker answers late too, and its counts cannot tell the two apart: it reports 0 consumers of a queue without a
leader, and of one whose first consumer still waits for the log. But all quorum queues write to one log, in turn. So a
silent queue has no leader when the broker answers for another queue all the time.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from math import inf
from typing import Any

from pamqp import commands

from tasuki.drivers.amqp.faults import ClosedError, LateError
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.hosts import Hosts

_PROBE = "tasuki.probe"
"""Beginning of the name of that other queue, made for the question; the broker removes what a killed process leaves."""
_PROBE_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-expires": 60_000}
_SILENCE = 3.0
"""Seconds for which a queue must be silent while the broker answers for the other one, beyond the silence before."""
_PAUSE = 0.1
_DELETION = 8.0
"""Seconds in which the broker deletes one: it asks for a leader for five seconds before it does."""


async def remove_if_leaderless(connection: Connection, queue: str) -> None:
    """Delete a queue that did not answer, if it has no leader; one that is only slow stays.

    Raises:
        LateError: the broker answers for no quorum queue now.
        ClosedError: no connection, or it has ended.
    """
    if await _is_leaderless(connection, queue):
        async with connection.borrow() as channel:
            await channel.ask_within(_DELETION, commands.Queue.Delete(queue=queue))


async def _is_leaderless(connection: Connection, queue: str) -> bool:
    # On its own connection: the broker ends the one on which a consumer waits for a queue that is deleted.
    asking = await Hosts(connection.settings).connect()
    answer = asyncio.ensure_future(_answered(asking, queue))
    try:
        return await _others_are_answered(asking, answer)
    finally:
        answer.cancel()
        asking.end(ClosedError(0, "asked"))
        await asyncio.wait([answer])


async def _answered(connection: Connection, queue: str) -> None:
    """Return when the broker has begun a consumer, or has refused to."""
    with suppress(ClosedError, LateError):
        channel = await connection.open_channel()
        qos, consume = commands.Basic.Qos(prefetch_count=1), commands.Basic.Consume(queue=queue, consumer_tag="probe")
        await channel.ask_within(inf, qos, consume)


async def _others_are_answered(connection: Connection, answer: asyncio.Future[None]) -> bool:
    """Whether the broker answers for another queue until ``answer`` is overdue. Raises ClosedError or LateError."""
    loop = asyncio.get_running_loop()
    seconds, probe = connection.settings.request_timeout, f"{_PROBE}.{secrets.token_hex(8)}"
    channel = await connection.open_channel()
    await channel.ask_within(seconds, commands.Queue.Declare(queue=probe, durable=True, arguments=_PROBE_ARGUMENTS))
    overdue_at = loop.time() + _SILENCE
    while loop.time() < overdue_at and not answer.done():
        await channel.ask_within(seconds, commands.Queue.Purge(queue=probe))  # goes through the log, too
        await asyncio.wait([answer], timeout=_PAUSE)
    await channel.ask_within(seconds, commands.Queue.Delete(queue=probe))
    return not answer.done()
