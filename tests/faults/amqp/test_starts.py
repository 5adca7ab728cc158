"""RabbitMQ: a start counts when its worker died or stood still, and not when only the connection was lost."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from tasuki.contracts.driver import Ack, QueueSpec, Received
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import consumers, driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import IMPATIENT, SECONDS, fresh, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture(params=["none", "key"])
def spec(request: pytest.FixtureRequest) -> QueueSpec:
    return QueueSpec(fresh(), ordering=request.param)


async def suspect_of(driver: AMQPDriver, spec: QueueSpec, proxy: Proxy) -> Received:
    """A message whose delivery was lost with its connection before its handler began."""
    await driver.publish(spec.name, messages("a", key="k"))
    await take(driver, spec.name)
    proxy.cut()
    return await again(driver, spec)


async def again(driver: AMQPDriver, spec: QueueSpec) -> Received:
    """The message, over its own connection if the last one is lost."""
    found: list[Received] = []

    async def comes() -> bool:
        with suppress(BrokerUnavailableError, BrokerTimeoutError):
            found.extend(await driver.receive(spec.name, 1, 1.0))
        return bool(found)

    await until(comes, "the message")
    return found[0]


async def test_a_lost_connection_charges_no_message_whose_worker_lives(spec: QueueSpec, proxy: Proxy) -> None:
    async with driver_at(proxy.port, spec) as driver:
        received = await suspect_of(driver, spec, proxy)
        for _ in range(3):
            assert (received.attempt, received.suspect) == (1, True)
            assert not await driver.start(spec.name, [received.receipt])
            proxy.cut()
            received = await again(driver, spec)
        assert received.attempt == 1


async def test_a_start_without_an_answer_charges_nothing(spec: QueueSpec, proxy: Proxy) -> None:
    async with driver_at(proxy.port, spec, request_timeout=IMPATIENT) as driver:
        received = await suspect_of(driver, spec, proxy)
        await driver.publish(spec.name, messages("b"))
        await driver.start(spec.name, [received.receipt])  # leaves an open channel: the next record is made at once
        (other,) = await take(driver, spec.name)
        await driver.settle(spec.name, [Ack(received.receipt)])
        proxy.swallow()
        with pytest.raises(DriverError):
            await driver.start(spec.name, [other.receipt])
        proxy.serve()
        assert (await again(driver, spec)).attempt == 1


async def test_a_start_counts_if_its_process_stood_still_until_the_broker_gave_it_up(
    spec: QueueSpec, broker: RabbitMQ, proxy: Proxy
) -> None:
    """As a handler in C code does that locks the interpreter up: it must not come again forever."""
    goes_on = threading.Event()
    async with driver_at(proxy.port, spec, heartbeat=1.0) as driver:
        received = await suspect_of(driver, spec, proxy)
        assert not await driver.start(spec.name, [received.receipt])
        driver._guard.get().tell(lambda: goes_on.wait(SECONDS))
        try:
            await until(lambda: is_given_up(broker, spec), "the broker to give the process up")
        finally:
            goes_on.set()
        assert (await again(driver, spec)).attempt == 2


async def is_given_up(broker: RabbitMQ, spec: QueueSpec) -> bool:
    return await consumers(broker.port, spec.name) == 0
