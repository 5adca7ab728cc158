"""RabbitMQ 4.3, scripted: which returns it counts, and what it does with a delivery that is held for too long."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Received, Release
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.receiving import active_turn, deliveries
from tasuki.errors import BrokerUnavailableError, DriverError, QueueConflictError
from tests.faults.amqp.rabbitmq43 import Queue, RabbitMQ43
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rig import messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
async def server() -> AsyncIterator[RabbitMQ43]:
    async with RabbitMQ43.running() as server:
        yield server


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_attempts_are_failures_by_whatever_method_they_return(server: RabbitMQ43, ordering: str) -> None:
    key = "k" if ordering == "key" else None
    async with driver_at(server.port, QueueSpec("q", ordering=ordering)) as driver:  # type: ignore[arg-type]
        await driver.publish("q", messages("a", "b", key=key))
        for settlement, attempt in ((Nack, 1), (Release, 2), (Nack, 2), (Nack, 3), (Ack, 4)):
            (got,) = await take(driver, "q")
            assert (got.id, got.attempt, got.suspect) == ("a", attempt, False)
            assert list(await driver.settle("q", [settlement(got.receipt)])) == []
        (got,) = await take(driver, "q")
        assert (got.id, got.attempt) == ("b", 1)


async def test_a_death_charges_only_a_recorded_start(server: RabbitMQ43) -> None:
    async with driver_at(server.port, QueueSpec("q")) as driver:
        await driver.publish("q", messages("a", "b"))
    for deaths in range(3):
        async with driver_at(server.port, QueueSpec("q")) as driver:
            got = await take(driver, "q", 2)
            assert [(item.id, item.attempt) for item in got] == [("a", 1 + deaths), ("b", 1)]
            assert {item.suspect for item in got} == {deaths > 0}
            await driver.start("q", [got[0].receipt])
            server.cut()  # and the process does not come back


async def test_a_lost_connection_counts_no_attempt(server: RabbitMQ43) -> None:
    async with driver_at(server.port, QueueSpec("q")) as driver:
        await driver.publish("q", messages("a"))
        for losses in range(4):
            (got,) = await take(driver, "q")
            assert (got.attempt, got.suspect) == (1, losses > 0)
            await driver.start("q", [got.receipt])
            server.cut()
            await _forgets(driver, got.receipt)


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_a_cancel_makes_its_deliveries_stale_and_blocks_no_key(server: RabbitMQ43, ordering: str) -> None:
    key = "k" if ordering == "key" else None
    async with driver_at(server.port, QueueSpec("q", ordering=ordering)) as driver:  # type: ignore[arg-type]
        await driver.publish("q", messages("a", "b", key=key))
        (held,) = await take(driver, "q")
        for name in list(server.queues):
            server.time_out(name)
        await _forgets(driver, held.receipt)
        with pytest.raises(DriverError, match="consumer_timeout") as problem:
            await driver.receive("q", 1, 0.0)  # told once, so that it is logged
        assert problem.value.retryable
        for name in ("a", "b"):
            (got,) = await take(driver, "q")
            assert (got.id, got.attempt, got.suspect) == (name, 1, name == "a")
            assert list(await driver.settle("q", [Ack(got.receipt)])) == []
        assert list(await driver.settle("q", [Ack(held.receipt)])) == [held.receipt]


async def test_a_handler_that_lives_is_not_charged_for_the_consumer_timeout(server: RabbitMQ43) -> None:
    async with driver_at(server.port, QueueSpec("q")) as driver:
        await driver.publish("q", messages("a"))
        for round_ in range(4):
            (got,) = await _take_in_spite_of_notices(driver)
            assert (got.attempt, got.suspect) == (1, round_ > 0)
            await driver.start("q", [got.receipt])
            server.time_out("q")
            server.time_out("q.returned")
            await _forgets(driver, got.receipt)
            await until(lambda: _no_records(server), "the start to be taken back")


async def test_what_a_consumer_holds_that_was_replaced_is_stale_at_its_time_too(server: RabbitMQ43) -> None:
    async with driver_at(server.port, QueueSpec("q")) as driver:
        await driver.publish("q", messages("a"))
        (got,) = await take(driver, "q")
        await driver.start("q", [got.receipt])
        await driver.declare(QueueSpec("q", priorities=True))
        assert await driver.receive("q", 1, 0.0) == []  # it consumes again, with the lanes of the priorities
        assert [consumer.unacked for consumer in server.queues["q"].leaving]
        server.time_out("q")
        await _forgets(driver, got.receipt)
        await until(lambda: _no_records(server), "the start to be taken back")
        (got,) = await _take_in_spite_of_notices(driver)
        assert (got.id, got.attempt, got.suspect) == ("a", 1, True)


@pytest.mark.parametrize("old", [{}, {"x-consumer-timeout": 60_000}])
async def test_a_queue_with_another_consumer_timeout_is_no_conflict(server: RabbitMQ43, old: dict[str, int]) -> None:
    server.queues["q"] = Queue({"x-queue-type": "quorum", **old})
    for _ in range(2):
        async with driver_at(server.port, QueueSpec("q", options={"consumer_timeout": 7200.0})) as driver:
            await driver.publish("q", messages("a"))
            await take(driver, "q")
    assert server.queues["q"].arguments.get("x-consumer-timeout") == old.get("x-consumer-timeout")
    asked = [method for method in server.seen if isinstance(method, commands.Basic.Consume)]
    assert {(method.arguments or {}).get("x-consumer-timeout") for method in asked} == {7_200_000}


async def test_a_classic_queue_has_no_consumer_timeout(server: RabbitMQ43) -> None:
    async with driver_at(server.port, QueueSpec("q", options={"queue_type": "classic"})) as driver:
        await driver.publish("q", messages("a"))
        assert [item.id for item in await take(driver, "q")] == ["a"]


async def test_other_arguments_are_still_a_conflict(server: RabbitMQ43) -> None:
    server.queues["q"] = Queue({"x-queue-type": "quorum", "x-message-ttl": 5})
    with pytest.raises(QueueConflictError, match="x-message-ttl"):
        async with driver_at(server.port, QueueSpec("q")):
            pass


async def test_a_long_rest_of_a_key_is_renewed_and_stays_one_rest(
    server: RabbitMQ43, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SLICE", 0.05)
    async with driver_at(server.port, QueueSpec("q", ordering="key")) as driver:
        await driver.publish("q", messages("a", "b", key="k"))
        (got,) = await take(driver, "q")
        began = time.monotonic()
        await driver.settle("q", [Nack(got.receipt, 0.4)])
        for name in ("a", "b"):
            (got,) = await take(driver, "q")
            assert (got.id, got.attempt, got.suspect) == (name, 2 if name == "a" else 1, False)
            assert time.monotonic() - began >= 0.4
            await driver.settle("q", [Ack(got.receipt)])
        assert sum(isinstance(method, commands.Basic.Nack) for method in server.seen) >= 4


async def test_the_turn_of_a_single_active_consumer_is_renewed(
    server: RabbitMQ43, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active_turn, "_RENEWAL", 0.02)
    spec = QueueSpec("q", options={"single_active_consumer": True})
    async with driver_at(server.port, spec) as one, driver_at(server.port, spec) as two:
        await one.publish("q", messages("a", "b"))
        (held,) = await take(one, "q")
        assert await two.receive("q", 1, 0.0) == []
        await until(lambda: _renewals(server, 5), "the turn to be renewed")
        assert await two.receive("q", 1, 0.0) == []
        (next_,) = await take(one, "q")
        assert list(await one.settle("q", [Ack(held.receipt), Ack(next_.receipt)])) == []


async def _renewals(server: RabbitMQ43, number: int) -> bool:
    return sum(isinstance(method, commands.Basic.Nack) for method in server.seen) >= number


async def _no_records(server: RabbitMQ43) -> bool:
    return not any(".failed." in name for name in server.queues)


async def _take_in_spite_of_notices(driver: AMQPDriver) -> list[Received]:
    while True:
        with suppress(BrokerUnavailableError):
            return await take(driver, "q")


async def _forgets(driver: AMQPDriver, receipt: object) -> None:
    async def is_stale() -> bool:
        try:
            return bool(await driver.extend("q", [receipt], 30.0))
        except DriverError:
            return False

    await until(is_stale, "the delivery to be lost")
