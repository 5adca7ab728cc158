"""RabbitMQ and many queues: what each costs in channels and methods, and what its messages cost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pamqp import frame as pamqp_frame

from tasuki.contracts.driver import Ack, QueueSpec, Received
from tasuki.drivers.amqp import session
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.topology import declaring
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import fresh, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
def names() -> list[str]:
    """More queues than a connection of sixteen channels consumes: that are eight."""
    return [fresh() for _ in range(10)]


@pytest.fixture
def own_marks(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """Marks that no other test makes; the first name has its own share."""
    monkeypatch.setattr(declaring, "NAME", f"tasuki.lanes.{names[0]}")
    monkeypatch.setattr(declaring, "crc32", lambda name: int(name == names[0].encode()))


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers stay, however slow the machine is."""
    monkeypatch.setattr(session, "_IDLE", 3600.0)


@contextmanager
def methods_counted() -> Iterator[Counter[str]]:
    """How many methods of each name go over all channels, either way."""
    counted: Counter[str] = Counter()
    write, received = Connection.write, Channel.received

    def count(kind: int, payload: bytes) -> None:
        if kind == frames.METHOD:
            counted[pamqp_frame.unmarshal(frames.frame(frames.METHOD, 0, payload))[2].name] += 1

    def note_written(self: Any, data: bytes) -> None:
        if not data.startswith(b"AMQP"):
            for frame in frames.split(bytearray(data), 2**30):
                count(frame.kind, frame.payload)
        write(self, data)

    def note_received(self: Any, kind: int, payload: bytes) -> None:
        count(kind, payload)
        received(self, kind, payload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "write", note_written)
        patch.setattr(Channel, "received", note_received)  # not data_received: a transport may keep the method itself
        yield counted


async def received_from_all(driver: Any, names: list[str]) -> list[Received]:
    """One message of each queue, all asked for at the same time."""
    return [item for some in await asyncio.gather(*(take(driver, name) for name in names)) for item in some]


async def test_more_queues_than_a_connection_has_channels_for_are_all_consumed(
    broker: RabbitMQ, names: list[str]
) -> None:
    async with driver_at(broker.port, *map(QueueSpec, names), channel_max=16) as driver:
        for name in names:
            await driver.publish(name, messages(name))
        taken = await received_from_all(driver, names)
        assert [item.id for item in taken] == names
        for name, item in zip(names, taken, strict=True):
            assert not await driver.settle(name, [Ack(item.receipt)])


async def test_all_their_connections_come_back(broker: RabbitMQ, names: list[str]) -> None:
    proxy = Proxy(broker.port)
    try:
        async with driver_at(proxy.port, *map(QueueSpec, names), channel_max=16) as driver:
            for name in names:
                await driver.publish(name, messages(name))
            await received_from_all(driver, names)
            proxy.cut()
            got: set[str] = set()

            async def again(name: str) -> None:
                async def comes() -> bool:
                    try:
                        got.update(item.id for item in await driver.receive(name, 1, 1.0))
                    except Exception:
                        return False
                    return name in got

                await until(comes, name)

            await asyncio.gather(*map(again, names))
    finally:
        proxy.close()


async def test_an_exclusive_queue_is_consumed_on_the_connection_that_has_declared_it(
    broker: RabbitMQ, names: list[str]
) -> None:
    options = {"queue_type": "classic", "durable": False, "exclusive": True}
    specs = [QueueSpec(name, options=options if name == names[-1] else {}) for name in names]
    async with driver_at(broker.port, *specs, channel_max=16) as driver:
        for name in names:
            await driver.publish(name, messages(name))
        assert [item.id for item in await received_from_all(driver, names)] == names


@pytest.mark.parametrize("are_new", [True, False])
async def test_a_queue_costs_few_methods_and_keeps_one_channel(
    broker: RabbitMQ, names: list[str], own_marks: None, standing: None, *, are_new: bool
) -> None:
    async with driver_at(broker.port, *([] if are_new else map(QueueSpec, names))):
        pass
    async with driver_at(broker.port, QueueSpec(f"{names[0]}-first")) as driver:
        with methods_counted() as counted:
            await asyncio.gather(*(driver.declare(QueueSpec(name)) for name in names))
        assert counted["Channel.Close"] == 2, "whether there are lanes of priorities, or of keys, is asked once for all"
        for_channels = sum(number for name, number in counted.items() if name.startswith("Channel."))
        assert sum(counted.values()) - for_channels <= 6 * len(names) + 2, counted
        with methods_counted() as counted:
            for name in names:
                await driver.receive(name, 1, 0.0)
        assert counted["Channel.Open"] - counted["Channel.Close"] <= len(names) + 1, counted
        assert sum(counted.values()) <= 18 * len(names) + 2, counted


async def test_many_receives_on_a_connection_in_doubt_ask_once(
    broker: RabbitMQ, names: list[str], standing: None
) -> None:
    async with driver_at(broker.port, *map(QueueSpec, names)) as driver:
        for name in names:
            await driver.receive(name, 1, 0.0)
        driver._inner._guard.current.link.connection._heard_at -= 60.0  # type: ignore[attr-defined]
        with methods_counted() as counted:
            await asyncio.gather(*(driver.receive(name, 1, 0.0) for name in names))
        assert counted["Channel.Open"] == 1, counted


async def test_lanes_of_other_options_are_looked_for_only_where_marks_say_that_there_may_be_some(
    broker: RabbitMQ, names: list[str], own_marks: None
) -> None:
    async with driver_at(broker.port) as driver:
        with methods_counted() as counted:
            await asyncio.gather(*(driver.declare(QueueSpec(name)) for name in names))
        assert counted["Channel.Close"] == 2, "one kind of lanes after the other, and not each queue"
        async with driver_at(broker.port, QueueSpec(names[0], priorities=True)) as other:
            await other.publish(names[0], messages("urgent", priority=5))
        with methods_counted() as counted:
            await asyncio.gather(*(driver.declare(QueueSpec(name)) for name in names))
        assert counted["Channel.Close"] == 2, "the lanes of keys, and the share of all names but the first"
        assert [item.id for item in await take(driver, names[0])] == ["urgent"]


async def test_a_slow_handler_with_a_window_of_one_costs_two_methods_a_message(
    broker: RabbitMQ, names: list[str]
) -> None:
    queue, number = names[0], 50
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(*map(str, range(number + 1))))
        (held,) = await take(driver, queue)
        with methods_counted() as counted:
            for _ in range(number):
                await driver.settle(queue, [Ack(held.receipt)])
                (held,) = await take(driver, queue)
        assert counted["Basic.Deliver"] == counted["Basic.Ack"] == number
        assert sum(counted.values()) <= 3 * number, counted
