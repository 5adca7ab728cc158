"""The unsettled deliveries of a channel: how a settlement is known to be read."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.receiving.consuming import Consumer, Consumers, Unsettled
from tasuki.drivers.amqp.topology.queue_arguments import Defaults, lanes

pytestmark = pytest.mark.anyio


class Told:
    """A channel that notes its frames and requests."""

    number = 1

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.asked = 0
        self.connection = SimpleNamespace(write=self.written.append)

    async def ask(self, *methods: Any) -> None:
        self.asked += 1


def unsettled(allowed: int, *tags: int) -> Unsettled:
    """What a consumer of this many deliveries at a time has got."""
    consumers = Consumers()
    consumers.shared = {b"s1": Consumer(lanes(QueueSpec("work"), Defaults())[0], allowed)}
    found = Unsettled(consumers)
    for tag in tags:
        found.add(tag, b"s1")
    return found


async def test_the_next_delivery_tells_that_an_ack_was_read() -> None:
    channel, deliveries = Told(), unsettled(1, 1)
    settling = asyncio.create_task(deliveries.settle_surely(channel, [1], []))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not settling.done()
    deliveries.add(2, b"s1")
    await settling
    assert (channel.written, channel.asked) == ([frames.ack(1, 1, multiple=True)], 0)


async def test_where_no_delivery_comes_the_broker_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.drivers.amqp.receiving.consuming._NEXT", 0.0)
    channel = Told()
    await unsettled(1, 1).settle_surely(channel, [1], [])  # type: ignore[arg-type]
    assert channel.asked == 1


@pytest.mark.parametrize(
    ("allowed", "acked", "requeued"), [(3, [1], []), (2, [1, 2], []), (2, [1], [2])], ids=["room", "many", "requeue"]
)
async def test_where_a_delivery_would_tell_nothing_it_is_not_waited_for(
    allowed: int, acked: list[int], requeued: list[int]
) -> None:
    channel, deliveries = Told(), unsettled(allowed, 1, 2)
    settling = asyncio.create_task(deliveries.settle_surely(channel, acked, requeued))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert channel.asked == 1
    await settling


async def test_consumers_that_end_tell_nothing() -> None:
    channel, deliveries = Told(), unsettled(1, 1)
    settling = asyncio.create_task(deliveries.settle_surely(channel, [1], []))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    deliveries._consumers.forget()
    await settling
    assert channel.asked == 1
