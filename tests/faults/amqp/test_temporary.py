"""RabbitMQ and temporary queues that nothing uses: they stay while their process lives, and go soon after its end."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp import session
from tasuki.drivers.amqp.topology import queue_arguments
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_an_unused_queue_stays_while_its_process_lives(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (queue_arguments, session):
        monkeypatch.setattr(module, "KEPT", 6.0)
    ours, theirs = (QueueSpec(f"{queue}-{name}", temporary=True) for name in ("ours", "theirs"))
    async with driver_at(broker.port, ours) as driver:
        await driver.publish(ours.name, messages("a"))
        async with driver_at(broker.port, theirs):  # later than ours, and unused since then, too
            assert {ours.name, theirs.name} <= await names(broker)

        async def is_gone() -> bool:
            return theirs.name not in await names(broker)

        await until(is_gone, "the queue of the process that has ended")
        assert ours.name in await names(broker)
        assert [item.id for item in await take(driver, ours.name)] == ["a"]


async def names(broker: RabbitMQ) -> set[str]:
    """The queues at the broker; to look a queue up by a declaration would be a use."""
    return set((await asyncio.to_thread(broker.control, "list_queues", "--no-table-headers", "name")).split())
