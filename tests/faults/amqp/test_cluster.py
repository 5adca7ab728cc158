"""A RabbitMQ cluster of three nodes that loses the node to which the driver is connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.protocol import connecting
from tasuki.errors import DriverError
from tests.faults.amqp.rig import driver_at
from tests.support.brokers import rig
from tests.support.brokers.rabbitmq import RabbitMQNode, cluster
from tests.support.brokers.rig import Work, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

QUEUE, REPLIES = "tasks", "reply.1"
SPECS = (QueueSpec(QUEUE), QueueSpec(REPLIES, temporary=True))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sequence[RabbitMQNode]]:
    made = cluster(3)
    yield made
    for node in reversed(made):
        node.end()


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first node is taken, also when it answers slowly."""
    monkeypatch.setattr(connecting, "STAGGER", 30.0)


@asynccontextmanager
async def driver_of(nodes: Sequence[RabbitMQNode], first: int, *specs: QueueSpec) -> AsyncIterator[AMQPDriver]:
    """A driver that knows all nodes, and connects to this one as long as it is there."""
    order = [*nodes[first:], *nodes[:first]]
    addresses = ",".join(f"127.0.0.1:{node.port}" for node in order)
    fields = {"url": f"amqp://guest:guest@{addresses}/", "request_timeout": 10.0, "connection_timeout": 3.0}
    async with driver_at(order[0].port, *specs, **fields) as driver:
        yield driver


def node_of(nodes: Sequence[RabbitMQNode], driver: AMQPDriver) -> int:
    """The node to which the consuming connection of a driver leads."""
    session: Any = driver._inner._guard.current  # type: ignore[attr-defined]
    port = session.link.connection._transport.get_extra_info("peername")[1]
    return [node.port for node in nodes].index(port)


async def lose(nodes: Sequence[RabbitMQNode], index: int) -> None:
    """All works on without the node to which everything is connected, before it is back."""
    async with driver_of(nodes, index, *SPECS) as publisher, driver_of(nodes, index, *SPECS) as consumer:
        async with Work(publisher, consumer, (QUEUE,)) as work:
            await work.goes_on(100)
            index = node_of(nodes, consumer)  # one that has just started may have refused us
            nodes[index].kill()
            lost_at = time.monotonic()
            await work.goes_on(1)
            print(f"\nhandling went on {time.monotonic() - lost_at:.1f} s after the loss of node {index}")
            await work.goes_on(300)
            assert node_of(nodes, consumer) != index

            async def is_told() -> bool:
                try:
                    await publisher.depth(QUEUE)
                except DriverError:
                    return False
                return True

            await until(is_told, "depth to work again")
            # A requester has its reply queue again, and delays end.
            assert not any(await publisher.publish(REPLIES, messages("reply")))
            (reply,) = await take(consumer, REPLIES)
            assert list(await consumer.settle(REPLIES, [Ack(reply.receipt)])) == []
            assert not any(await publisher.publish(QUEUE, messages("delayed", delay=1.0)))

            async def has_come() -> bool:
                return "delayed" in work.delivered

            await until(has_come, "the delayed message")
        assert not work.lost()
        await asyncio.to_thread(nodes[index].start)


@pytest.mark.usefixtures("in_order")
async def test_the_loss_of_the_connected_node_stops_nothing(nodes: Sequence[RabbitMQNode]) -> None:
    await lose(nodes, 0)


@pytest.mark.cluster
@pytest.mark.usefixtures("in_order")
async def test_each_node_may_be_lost_in_turn(nodes: Sequence[RabbitMQNode]) -> None:
    for turn in range(6):
        await lose(nodes, turn % 3)
        await asyncio.to_thread(nodes[(turn + 1) % 3].control, "await_online_nodes", "3")


@pytest.mark.cluster
@pytest.mark.usefixtures("in_order")
async def test_a_frozen_node_is_left_for_another_one(
    nodes: Sequence[RabbitMQNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel keeps its connections open, and the cluster takes it for a member until ``net_ticktime`` is over."""
    monkeypatch.setattr(rig, "SECONDS", 40.0)  # the cluster would wait for 45 to 75
    async with driver_of(nodes, 0, QueueSpec(QUEUE)) as publisher, driver_of(nodes, 0, QueueSpec(QUEUE)) as consumer:
        assert not any(await publisher.publish(QUEUE, messages("delayed-1", delay=0.5)))
        async with Work(publisher, consumer, (QUEUE,)) as work:
            await work.goes_on(100)
            index = node_of(nodes, consumer)
            nodes[index].freeze()
            frozen_at = time.monotonic()
            try:
                await work.goes_on(300)
                print(f"\nhandling went on {time.monotonic() - frozen_at:.1f} s after node {index} froze")
                assert node_of(nodes, consumer) != index
                assert not any(await publisher.publish(QUEUE, messages("delayed-2", delay=0.5)))
            finally:
                nodes[index].thaw()
            await work.catches_up()  # what the frozen node held comes back
        assert not work.lost()
