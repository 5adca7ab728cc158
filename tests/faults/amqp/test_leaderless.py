"""RabbitMQ that answers late: a queue whose leader is only slow is not taken for one that has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pamqp import commands

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.errors import BrokerTimeoutError
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

_LOG = "ra_log_wal"
"""The process that writes the log of all quorum queues: none of them answers a consumer while it stands."""


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all queues that the driver deletes."""
    names: list[str] = []
    send = Connection.send

    def note(self: Connection, number: int, *methods: Any) -> None:
        names.extend(method.queue for method in methods if isinstance(method, commands.Queue.Delete))
        send(self, number, *methods)

    monkeypatch.setattr(Connection, "send", note)
    return names


@asynccontextmanager
async def standing_log(broker: RabbitMQ) -> AsyncIterator[None]:
    await asyncio.to_thread(broker.control, "eval", f"sys:suspend({_LOG}).")
    try:
        yield
    finally:
        await asyncio.to_thread(broker.control, "eval", f"sys:resume({_LOG}).")


async def test_a_slow_broker_loses_no_queue_that_counts_consumers(
    broker: RabbitMQ, queue: str, deleted: list[str]
) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=1.0) as driver:
        await driver.publish(queue, messages("a"))
        await driver.attach(queue, 1)
        await driver.attach(queue, 0)
        async with standing_log(broker):
            with pytest.raises(BrokerTimeoutError):
                await driver.attach(queue, 2)
            await driver.attach(queue, 2)  # goes on uncounted
        assert f"{queue}.consumers" not in deleted
        assert [item.id for item in await take(driver, queue)] == ["a"]
        await driver.attach(queue, 2)
        assert (await driver.depth(queue)).consumers == 2


async def test_one_that_answers_after_a_while_is_registered_with_again(
    broker: RabbitMQ, queue: str, deleted: list[str]
) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=1.0) as driver:
        async with standing_log(broker):
            with pytest.raises(BrokerTimeoutError):
                await driver.attach(queue, 2)
        await driver.attach(queue, 2)
        assert f"{queue}.consumers" not in deleted
        assert (await driver.depth(queue)).consumers == 2
