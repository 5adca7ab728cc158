"""Reply queues at Redis: a late reply makes none again, and none leaves anything behind."""

from __future__ import annotations

import asyncio
import gc
from contextvars import Context

import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.errors import QueueNotFoundError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import SECONDS, messages

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def converse(requester: RedisDriver, responder: RedisDriver, number: int) -> None:
    """One requester with its own queue comes, gets its reply, and goes; a second reply is too late."""
    spec = QueueSpec(f"reply.{number}", temporary=True)
    await requester.declare(spec)
    waiting = asyncio.create_task(requester.receive(spec.name, 1, SECONDS))
    await responder.inspect(spec)
    assert not await responder.publish(spec.name, messages("reply"))
    (reply,) = await waiting
    assert not await requester.settle(spec.name, [Ack(reply.receipt)])
    await requester.delete(spec.name)
    with pytest.raises(QueueNotFoundError) as late:
        await responder.publish(spec.name, messages("late"))
    assert late.value.outcome == "rejected"
    await responder.undeclare(spec.name)


async def test_reply_queues_leave_nothing_behind() -> None:
    broker = Redis.shared()
    async with driver_at(broker.port, prefix="replies") as requester, driver_at(broker.port, prefix="replies") as other:
        await asyncio.gather(*(converse(requester, other, number) for number in range(20)))
        before = broker.ask("DBSIZE"), broker.ask("PUBSUB", "CHANNELS", "*replies*"), _objects()
        for first in range(20, 320, 20):
            await asyncio.gather(*(converse(requester, other, number) for number in range(first, first + 20)))
        after = broker.ask("DBSIZE"), broker.ask("PUBSUB", "CHANNELS", "*replies*"), _objects()
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 100, "less than one object in three of the 300 queues"


def _objects() -> int:
    """Objects but for timers: a loop keeps up to a hundred cancelled ones, each with its context."""
    gc.collect()
    return sum(not isinstance(each, asyncio.TimerHandle | Context) for each in gc.get_objects())
