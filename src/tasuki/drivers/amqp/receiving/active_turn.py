"""The active turn: which process may consume a queue with ``single_active_consumer``.

The broker knows a single active consumer for each of its queues, and a queue of ours is several. So the right to
consume them is one more queue, with a single active consumer of its own and a message in it: the process that was given
the message has the turn, until it closes its channel or dies; then the broker gives the message to the next one. The
number of such messages does not matter: the active consumer gets them all, and keeps one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Any

from pamqp import commands

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.faults import INTERNAL_ERROR, ClosedError, LateError
from tasuki.drivers.amqp.limits import CONSUMER_TIMEOUT
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connecting import Hosts
from tasuki.drivers.amqp.protocol.connection import Connection, passively
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.topology.queue_arguments import ARGUMENT, active_queue_name

_PROBE = "tasuki.probe"
"""Beginning of the name of that other queue, made for the question; the broker removes what a killed process leaves."""
_PROBE_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-expires": 60_000}
_SILENCE = 3.0
"""Seconds for which a queue must be silent while the broker answers for the other one, beyond the silence before."""
_PAUSE = 0.1
_DELETION = 8.0
"""Seconds in which the broker deletes one: it asks for a leader for five seconds before it does."""


async def remove_if_leaderless(connection: Connection, queue: str) -> None:
    """Delete a queue that did not answer, if it has no leader; a slow one stays.

    RabbitMQ notes a new quorum queue on disk a moment after it has made it. If it is killed in between, the queue is
    there afterwards, and its member never becomes its leader (``Starting member as a new one``, says the log). Such a
    queue can be declared and inspected, but the broker answers nothing to its consumers, and ends their connection
    after a minute. It can be deleted, after five seconds.

    A busy broker answers late too, and its counts cannot tell the two apart: it reports 0 consumers of a queue without
    a leader, and of one whose first consumer still waits for the log. But all quorum queues write to one log, in turn.
    So a silent queue has no leader when the broker answers for another queue all the time.

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


_MOST = 10
_RENEWAL = 300.0
"""Seconds after which the message goes back, to come again at once: the broker lets none be held forever."""
_TIMEOUT: dict[str, Any] = {ARGUMENT: round(CONSUMER_TIMEOUT * 1000)}
_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-single-active-consumer": True, **_TIMEOUT}


def takes_turns(spec: QueueSpec) -> bool:
    """Whether one process at a time consumes the queue."""
    return bool(spec.options.get("single_active_consumer"))


class ActiveTurn:
    """The turn of this process at one queue.

    ``publish`` stores an empty message in a queue at the broker, and tells whether it could; ``on_lost`` is called when
    the turn has ended without ``give_up``.
    """

    def __init__(self, queue: str, publish: Callable[[str], Awaitable[bool]], on_lost: Callable[[], None]) -> None:
        self._name = active_queue_name(queue)
        self._publish = publish
        self._on_lost = on_lost
        self._channel: Channel | None = None
        self._has_turn = asyncio.Event()
        self._tag = 0
        """The delivery tag of the message; 0 while it is away."""
        self._is_made = False
        """Whether there is a message: elsewhere, if not here."""
        self._is_silent = False
        """Whether the broker did not answer for it."""
        self._renewal: asyncio.TimerHandle | None = None
        self._asking = asyncio.Lock()

    async def wait(self, connection: Connection, timeout: float) -> bool:
        """Whether this process has the turn, within the timeout. Raises ClosedError or LateError."""
        async with self._asking:
            if self._channel is None or not self._channel.is_alive:
                await self._register(connection)
            if not (self._has_turn.is_set() or self._is_made):
                self._is_made = await self._publish(self._name)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(timeout, 0.0)):
                await self._has_turn.wait()
        return self._has_turn.is_set()

    async def give_up(self) -> None:
        """Let another process have the turn, and end every waiting call."""
        channel, self._channel = self._channel, None
        self._has_turn.set()
        self._has_turn = asyncio.Event()
        self._clear()
        if channel is not None:
            channel.on_end = None
            await channel.close()

    async def _register(self, connection: Connection) -> None:
        if self._is_silent:  # nothing is lost with it: another process that had the turn would lose it, and ask again
            await remove_if_leaderless(connection, self._name)
        channel = await connection.open_channel()
        channel.on_delivery, channel.on_end, channel.on_cancel = self._came, self._ended, self._cancelled
        self._channel = channel
        consume = commands.Basic.Consume(queue=self._name, consumer_tag="turn", arguments=_TIMEOUT)
        try:
            await channel.ask(
                commands.Queue.Declare(queue=self._name, durable=True, arguments=_ARGUMENTS),
                commands.Basic.Qos(prefetch_count=_MOST),
                consume,
            )
        except (LateError, ClosedError) as error:
            self._is_silent = isinstance(error, LateError) or error.code == INTERNAL_ERROR
            raise
        self._is_silent = False
        (found,) = await channel.ask(passively(self._name))
        self._is_made = bool(found.message_count)  # else with a process that has the turn, or not there yet

    def _came(self, deliver: Deliver, properties: bytes, body: bytes) -> None:
        if self._channel is None:
            return
        if self._tag:
            self._channel.connection.write(frames.ack(self._channel.number, deliver.tag))
            return
        self._tag = deliver.tag
        self._has_turn.set()
        self._renewal = asyncio.get_running_loop().call_later(_RENEWAL, self._renew)

    def _renew(self) -> None:
        if self._channel is not None:
            tag, self._tag = self._tag, 0
            self._channel.connection.write(frames.requeue(self._channel.number, tag))

    def _cancelled(self, tag: str) -> None:
        if self._channel is not None:
            self._channel.give_up()

    def _ended(self, reason: ClosedError) -> None:
        self._channel = None
        if self._has_turn.is_set():
            self._clear()
            self._on_lost()

    def _clear(self) -> None:
        self._has_turn.clear()
        self._tag = 0
        if self._renewal is not None:
            self._renewal.cancel()
