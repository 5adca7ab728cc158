from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.reach.host_reach import HostReach
from tasuki.consumers.settling.verdict import ACK, RELEASE, RetryPolicy, Verdict
from tasuki.contracts.driver import Received
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tests.unit.consumers.parts import STEADY, FakeHost

pytestmark = pytest.mark.anyio


class FakeHolder:
    id = "app:consumer"
    queue_id = "app:tasks"
    function_id = "app:handle"
    policy = RetryPolicy(STEADY, 3, True)
    guard = None

    def __init__(self) -> None:
        self.host = FakeHost()
        self.stopping = False
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.settled: list[Verdict] = []

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        assert threading.get_ident() == self.thread
        self.settled.append(verdict)

    async def ack(self, delivery: Delivery) -> bool:
        self.settle(delivery, ACK)
        return True

    def logger_of(self, delivery: Delivery) -> logging.Logger:
        return logging.getLogger(delivery.received.id)


def deliver(attempt: int = 1) -> tuple[Delivery, FakeHolder]:
    holder = FakeHolder()
    return Delivery(Received("1", b"x", {}, 7, attempt), cast("Any", holder), 0.0), holder


async def test_failures_are_the_attempts_before_without_the_deaths() -> None:
    received = Received("1", b"x", {}, 7, attempt=4, deaths=2)
    assert Delivery(received, cast("Any", FakeHolder()), 0.0).failures == 1


async def test_tells_about_itself() -> None:
    delivery, holder = deliver(2)
    assert (delivery.function, delivery.queue, delivery.consumer) == ("app:handle", "app:tasks", "app:consumer")
    assert delivery.message is delivery.received
    assert (delivery.attempt, delivery.failures, delivery.is_last_attempt) == (2, 1, False)
    assert delivery.logger.name == "1"
    assert (delivery.stopping, delivery.lease_lost) == (False, False)
    holder.stopping = delivery.lost = True
    assert (delivery.stopping, delivery.lease_lost) == (True, True)
    context = Context(delivery, delivery, HostReach(holder))
    assert context.attempt == 2
    assert await context.queues.info("tasks") == {"queue": "app:tasks"}


async def test_the_log_names_the_delivery_and_its_trace() -> None:
    delivery, _ = deliver(2)
    named = {"consumer": "app:consumer", "queue": "app:tasks", "message_id": "1", "attempt": 2}
    assert delivery.log_fields() == named
    delivery.received.headers["traceparent"] = f"00-{'4b' * 16}-{'01' * 8}-01"
    assert delivery.log_fields() == {**named, "trace": "4b" * 16}


async def test_the_first_conclusion_wins() -> None:
    delivery, holder = deliver()
    assert delivery.conclude(ACK)
    assert not delivery.conclude(RELEASE)
    assert holder.settled == [ACK]


@pytest.mark.parametrize("first", ["ack", "nack", "reject"])
@pytest.mark.parametrize("second", ["ack", "nack", "reject"])
async def test_a_second_settlement_is_already_settled(first: str, second: str) -> None:
    delivery, holder = deliver()
    getattr(delivery, first)()
    with pytest.raises(HandlerError, match="already settled") as caught:
        getattr(delivery, second)()
    assert caught.value.kind == "Invalid"
    assert len(holder.settled) == 1


async def test_after_the_return_of_the_handler_it_is_released() -> None:
    delivery, _ = deliver()
    delivery.conclude(ACK)
    delivery.ended = True
    with pytest.raises(HandlerError, match="released"):
        delivery.ack()


async def test_what_each_settlement_means() -> None:
    delivery, holder = deliver()
    delivery.nack()
    assert (holder.settled[0].action, holder.settled[0].delay) == ("nack", 1.0)
    delivery, holder = deliver()
    delivery.nack("1m")
    assert holder.settled[0].delay == 60.0
    delivery, holder = deliver()
    delivery.nack(timedelta(minutes=2))
    assert holder.settled[0].delay == 120.0
    delivery, holder = deliver(3)
    assert delivery.is_last_attempt
    delivery.nack(5)
    assert (holder.settled[0].action, holder.settled[0].reason) == ("dead_letter", "max_attempts")
    delivery, holder = deliver()
    delivery.reject(ValueError("bad"))  # type: ignore[arg-type]
    assert (holder.settled[0].reason, holder.settled[0].error) == ("rejected", "bad")


async def test_a_bad_delay_settles_nothing() -> None:
    delivery, holder = deliver()
    with pytest.raises(HandlerError, match="delay: 'soon'"):
        delivery.nack("soon")
    assert not holder.settled
    delivery.ack()


async def in_thread(work: Any) -> Any:
    """Run in a thread and wait without virtual time: this loop does not wait for threads by itself."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0)
    thread.join()
    return outcome[0]


async def test_from_the_thread_of_a_sync_handler() -> None:
    delivery, holder = deliver()
    assert await in_thread(delivery.ack) is None
    assert holder.settled == [ACK]
    error = await in_thread(delivery.nack)
    assert isinstance(error, HandlerError)
    assert str(error) == "already settled"


async def test_from_a_thread_that_outlived_the_loop() -> None:
    delivery, holder = deliver()
    holder.loop = asyncio.new_event_loop()
    holder.loop.close()
    error = await in_thread(delivery.ack)
    assert isinstance(error, HandlerError)
    assert "released" in str(error)
    assert not holder.settled


async def test_acked_before_the_handler_runs() -> None:
    delivery, holder = deliver()
    assert await delivery.acked_first()
    with pytest.raises(HandlerError, match="already settled"):
        delivery.nack()
    assert holder.settled == [ACK]
