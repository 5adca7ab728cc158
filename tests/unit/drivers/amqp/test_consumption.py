"""One queue of the RabbitMQ driver without a broker: at which moments a receive is served."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pamqp import commands, frame

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.amqp.protocol import envelope, frames
from tasuki.drivers.amqp.receiving.subscription import Consumption
from tasuki.drivers.amqp.topology.queue_arguments import Defaults, lanes

pytestmark = pytest.mark.anyio


class Broker:
    """A channel whose questions are answered as long as ``answers`` is set, and its connection."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()
        self.number, self.closed = 1, None
        self.connection: Any = SimpleNamespace(
            beginning=asyncio.Lock(), open_channel=self._open, check=self._check, is_doubtful=False
        )
        self.on_delivery: Any = None
        self.consumed: dict[str, str] = {}
        """Tag by queue."""

    async def _open(self) -> Broker:
        return self

    async def _check(self) -> None:
        pass

    async def ask(self, *methods: Any) -> list[Any]:
        self.consumed |= {
            method.queue: method.consumer_tag for method in methods if isinstance(method, commands.Basic.Consume)
        }
        self.asked.set()
        await self.answers.wait()
        return []

    def push(self, queue: str, message: Outgoing) -> None:
        method = commands.Basic.Deliver(self.consumed[queue], 1, False, "", queue)
        deliver = frames.deliver(frame.marshal(method, 1)[7:-1])
        self.on_delivery(deliver, envelope.encode(message), message.body)


async def test_what_comes_while_consumers_end_is_handed_out_when_they_have_ended() -> None:
    """The consumers of keys stay: what they push is enough for the receive, so that nothing else begins after it."""
    broker = Broker()
    spec = QueueSpec("work", ordering="key")
    found = lanes(spec, Defaults())
    consumption = Consumption(
        found, is_keyed=True, most=0, idle=lambda: 3600.0, on_idle=lambda: None, on_lost=lambda deliveries: None
    )
    await consumption.start(broker.connection)
    assert await consumption.receive(1, 0) == []

    broker.answers.clear()
    broker.asked.clear()
    ending = asyncio.create_task(consumption.stop())
    await broker.asked.wait()
    receiving = asyncio.create_task(consumption.receive(1, 3600))
    await asyncio.sleep(0)
    broker.push(found[-1].name, Outgoing("first", b"", {}, key="k"))
    broker.answers.set()
    assert await ending == []
    async with asyncio.timeout(30):
        assert [received.id for received in await receiving] == ["first"]
