"""What the fault tests at RabbitMQ share: drivers with short deadlines, and a hand at the broker beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pamqp import commands

from tasuki.contracts.driver import QueueSpec, Received
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connecting import connect
from tasuki.drivers.amqp.settings import AMQPSettings, Endpoint
from tasuki.errors import BrokerUnavailableError, DriverError
from tests.support.brokers.rig import SECONDS, opened


def driver_at(port: int, *specs: QueueSpec, **fields: Any) -> AbstractAsyncContextManager[AMQPDriver]:
    """An open driver that loses patience soon, with these queues."""
    fields = {"url": f"amqp://127.0.0.1:{port}/", "reconnect_delay": 0.1, "reconnect_max_delay": 0.5, **fields}
    return opened(AMQPDriver("test", AMQPSettings(**fields)), *specs)


@asynccontextmanager
async def hand_at(port: int) -> AsyncIterator[Channel]:
    """A channel of its own, for what another program or an operator does."""
    settings = Endpoint(
        hosts=[("127.0.0.1", port)], vhost="/", user="guest", password="guest", mechanism="PLAIN", tls=None,
        name="hand", heartbeat=0, connection_timeout=10, request_timeout=10, reconnect_delay=1,
        reconnect_max_delay=1, frame_size=0, channel_max=0,
    )  # fmt: skip
    connection = await connect(settings, "127.0.0.1", port)
    try:
        yield await connection.open_channel()
    finally:
        await connection.close()


async def delete(port: int, *queues: str) -> None:
    """Delete queues behind the driver's back."""
    async with hand_at(port) as channel:
        for queue in queues:
            await channel.ask(commands.Queue.Delete(queue=queue))


async def ready(port: int, queue: str) -> int:
    """How many messages the broker has ready in one of its queues."""
    async with hand_at(port) as channel:
        (answer,) = await channel.ask(commands.Queue.Declare(queue=queue, passive=True))
        return int(answer.message_count)


async def consumers(port: int, queue: str) -> int:
    """How many consumers one of the broker's queues has."""
    async with hand_at(port) as channel:
        (answer,) = await channel.ask(commands.Queue.Declare(queue=queue, passive=True))
        return int(answer.consumer_count)


async def received(driver: AMQPDriver, queue: str) -> list[Received]:
    """The next messages; RabbitMQ may end the connection (541) of a client that asks for a queue amid its deletion."""
    while True:
        try:
            if got := await driver.receive(queue, 5, SECONDS):
                return got
        except BrokerUnavailableError as error:
            if "541" not in str(error):
                raise


async def until_answered(call: Callable[[], Awaitable[Any]]) -> Any:
    end = time.monotonic() + SECONDS
    while True:
        try:
            return await call()
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)


async def take_in_spite_of_errors(
    driver: AMQPDriver, queue: str, number: int, seconds: float = SECONDS
) -> list[Received]:
    taken: list[Received] = []
    end = time.monotonic() + seconds
    while len(taken) < number and time.monotonic() < end:
        try:
            taken += await driver.receive(queue, number, 1.0)
        except DriverError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.1)
    return taken
