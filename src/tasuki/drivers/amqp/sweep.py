"""Sweep: takes what is put off for some queues out of the ladder, and leaves there what is for others.

All that lies on a rung is taken into the hand at once; ours is acked, and the rest goes back in its order, with the
time that it had. So nothing is published anew, and what others have put off is at most late by the time that a sweep
takes. What a sweeper that dies has in its hand goes back too, but may count as handed out once more. From the top down,
because messages only climb down; and twice, because one that the broker is just carrying from rung to rung is on
neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pamqp import commands

from tasuki.drivers.amqp import frames, ladder
from tasuki.drivers.amqp.channel import Channel
from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.faults import NOT_FOUND, RESOURCE_LOCKED, ClosedError, LateError
from tasuki.drivers.amqp.frames import Deliver
from tasuki.drivers.amqp.limits import RUNGS, STEP

_TURN = f"{ladder.NAME}.sweep"
"""A queue of the connection that sweeps: of two sweepers each would see only a part."""
_TURN_PAUSE = 0.05
_MOST = 65_535
"""Most that one consumer can have unsettled."""


@dataclass(slots=True)
class Part:
    """What one consumer was given, in the order in which it lay on the rung."""

    ours: list[int] = field(default_factory=list)
    """Tags."""
    others: int = 0
    last: int = 0
    """The last tag of the others."""

    def settlement(self, number: int) -> bytes:
        """Acks for ours, and the rest back as a whole."""
        acks = [frames.ack(number, tag) for tag in self.ours]
        return b"".join([*acks, frames.requeue(number, self.last, multiple=True)] if self.others else acks)


class Hand:
    """What was taken off one rung."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self.seen = 0
        self.parts: dict[bytes, Part] = {}
        """By consumer, in the order of their tags."""

    def came(self, deliver: Deliver, properties: bytes, body: bytes) -> None:
        """A delivery; only its routing key matters."""
        self.seen += 1
        part = self.parts.setdefault(deliver.consumer, Part())
        if ladder.goal(frames.address_of(deliver.payload)[1]) in self._wanted:
            part.ours.append(deliver.tag)
        else:
            part.others += 1
            part.last = deliver.tag


class Sweep:
    """Sweeps one after the other, also over all processes."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, connection: Connection, queues: Collection[str]) -> int:
        """Remove what is on its way to these queues; returns how many. Raises ClosedError or LateError."""
        async with self._turn:
            height = await _height(connection)
            if not height:
                return 0
            async with _alone(connection):
                removed = await _pass(connection, queues, height)
                await asyncio.sleep(STEP)  # longer than the broker takes to carry one
                return removed + await _pass(connection, queues, height)


async def _height(connection: Connection) -> int:
    """How many rungs there are; they are made from the lowest up."""
    channel = await connection.open_channel()
    try:
        for number in range(RUNGS):
            await channel.ask(ladder.look(number))
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
        return number
    finally:
        await channel.close()
    return RUNGS


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    """Nobody else sweeps meanwhile. Raises LateError when somebody else does for long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + connection.settings.request_timeout
    while not await _begin(connection):
        if loop.time() > deadline:
            raise LateError
        await asyncio.sleep(_TURN_PAUSE)
    try:
        yield
    finally:
        channel = await connection.open_channel()
        await channel.ask(commands.Queue.Delete(queue=_TURN))
        await channel.close()


async def _begin(connection: Connection) -> bool:
    channel = await connection.open_channel()
    try:
        await channel.ask(commands.Queue.Declare(queue=_TURN, exclusive=True))
    except ClosedError as error:
        if error.code != RESOURCE_LOCKED:
            raise
        return False
    finally:
        await channel.close()
    return True


async def _pass(connection: Connection, queues: Collection[str], height: int) -> int:
    removed = 0
    channel = await connection.open_channel()
    try:
        for number in reversed(range(height)):
            removed += await _sweep(channel, number, queues)
    finally:
        await channel.close()  # what was not settled goes back
    return removed


async def _sweep(channel: Channel, number: int, queues: Collection[str]) -> int:
    """One rung. What comes onto it meanwhile may stay."""
    (rung,) = await channel.ask(ladder.look(number))
    if not rung.message_count:
        return 0
    hand = Hand(queues)
    channel.on_delivery = hand.came
    tags: list[str] = []
    is_empty = False
    while hand.seen < rung.message_count and not is_empty:
        tags.append(f"sweep.{number}.{len(tags)}")
        consume = commands.Basic.Consume(queue=ladder.rung_name(number), consumer_tag=tags[-1])
        await channel.ask(commands.Basic.Qos(prefetch_count=_MOST), consume)
        is_empty = await _fill(channel, number, hand, min(rung.message_count, len(tags) * _MOST))
    await channel.ask(*(commands.Basic.Cancel(consumer_tag=tag) for tag in tags))
    await _flush(channel)
    parts = list(hand.parts.values())
    for part in parts[:-1]:
        await _put_back(channel, number, part)
    for part in parts[-1:]:
        channel.connection.write(part.settlement(channel.number))
    await _flush(channel)
    return sum(len(part.ours) for part in parts)


async def _put_back(channel: Channel, number: int, part: Part) -> None:
    """Settle a part, and wait until it lies there again: the broker does not keep the order of two consumers' parts.

    It comes back at once, but what has expired meanwhile leaves at once too. Half is a sign; and there is an end to
    waiting.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + channel.connection.settings.request_timeout
    (before,) = await channel.ask(ladder.look(number))
    channel.connection.write(part.settlement(channel.number))
    await _flush(channel)
    while loop.time() < deadline:
        (now,) = await channel.ask(ladder.look(number))
        if now.message_count >= before.message_count + part.others / 2:
            break


async def _fill(channel: Channel, number: int, hand: Hand, most: int) -> bool:
    """Wait until so many are here, or all (True). Raises LateError when no more come although there are."""
    loop = asyncio.get_running_loop()
    seen, deadline = hand.seen, loop.time() + channel.connection.settings.request_timeout
    while hand.seen < most:
        (rung,) = await channel.ask(ladder.look(number))
        await _flush(channel)
        if not rung.message_count:
            return True
        if hand.seen > seen:
            seen, deadline = hand.seen, loop.time() + channel.connection.settings.request_timeout
        elif loop.time() > deadline:
            raise LateError
    return False


async def _flush(channel: Channel) -> None:
    """With the answer to any question is here what was pushed before, and settled what was written before."""
    await channel.ask(commands.Basic.Qos(prefetch_count=_MOST))
