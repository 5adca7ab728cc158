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
from tasuki.errors import DriverError
from tests.faults.amqp.rig import driver_at, take_in_spite_of_errors
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages

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


async def test_a_slow_broker_loses_no_queue_of_a_turn(broker: RabbitMQ, queue: str, deleted: list[str]) -> None:
    spec = QueueSpec(queue, options={"single_active_consumer": True})
    async with driver_at(broker.port, spec, request_timeout=1.0) as driver:
        await driver.publish(queue, messages("a"))
        async with standing_log(broker):
            with pytest.raises(DriverError):
                await driver.receive(queue, 1, 3.0)
        assert f"{queue}.active" not in deleted
        assert [item.id for item in await take_in_spite_of_errors(driver, queue, 1)] == ["a"]
