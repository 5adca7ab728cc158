"""Publishing through middleware, within the caller's transaction too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.clock import Clock
from tasuki.contracts.driver import Driver, Outgoing, QueueSpec
from tasuki.contracts.observer import Observer
from tasuki.errors import BrokerTimeoutError, DriverError
from tasuki.queues.messages.codec import Codecs
from tasuki.queues.middleware import Publish, PublishMiddleware
from tasuki.queues.queue import Envelope, Queue, QueuePolicy
from tasuki.queues.result import Confirmed, Unknown
from tests.unit.queues.fake import FakeDriver

pytestmark = pytest.mark.anyio


class Transactional(FakeDriver):
    def __init__(self) -> None:
        super().__init__()
        self.within: list[tuple[Any, list[bytes]]] = []

    async def publish_within(
        self, connection: Any, queue: str, batch: Sequence[Outgoing]
    ) -> Sequence[DriverError | None]:
        self.within.append((connection, [message.body for message in batch]))
        return []


def through(driver: Driver, *layers: PublishMiddleware) -> Queue:
    codecs = Codecs()
    codec = codecs.get("json/plain")
    assert codec is not None
    clock: Clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    loads = [lambda layer=layer: layer for layer in layers]
    return Queue(
        "app:q", driver=driver, spec=QueueSpec("q"), codec=codec, codecs=codecs, policy=QueuePolicy(), clock=clock,
        middleware=loads,
    )  # fmt: skip


async def doubled(envelope: Envelope[Any], publish: Publish) -> Confirmed:
    envelope.body *= 2
    return await publish(envelope)


async def added(envelope: Envelope[Any], publish: Publish) -> Confirmed:
    envelope.body += 1
    return await publish(envelope)


async def test_a_transaction_has_its_messages_one_after_the_other() -> None:
    driver, connection = Transactional(), object()
    queue = through(driver, doubled, added)
    await queue.publish(1, connection=connection)
    results = await queue.publish_many([2, 3], connection=connection)
    assert [type(result) for result in results] == [Confirmed, Confirmed]
    assert driver.within == [(connection, [b"3"]), (connection, [b"5"]), (connection, [b"7"])]
    assert driver.batches == []


async def test_a_batch_keeps_its_order_and_goes_in_the_drivers_batches() -> None:
    driver = FakeDriver()
    queue = through(driver, added)
    driver.gate = asyncio.Event()
    items = [Envelope(body=number, id=f"m-{number}") for number in range(9)]
    publishing = asyncio.create_task(queue.publish_many(items))
    await asyncio.sleep(1)
    driver.gate.set()
    await publishing
    assert driver.stored == [f"m-{number}" for number in range(9)]
    assert [len(batch) for batch in driver.batches] == [1, 4, 4]


async def test_an_unknown_end_stays_unknown() -> None:
    def answer(batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        raise BrokerTimeoutError("no answer", outcome="unknown")

    driver = FakeDriver()
    driver.answer = answer
    (result,) = await through(driver, added).publish_many([Envelope(body=1, id="m-1")])
    assert isinstance(result, Unknown)
    assert result.id == "m-1"


async def test_observers_hear_of_what_is_published_in_a_transaction() -> None:
    class Heard(Observer):
        def __init__(self) -> None:
            self.bodies: list[bytes] = []

        def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
            assert (queue, list(errors)) == ("app:q", [None] * len(messages))
            self.bodies += [message.body for message in messages]

    observer, queue = Heard(), through(Transactional())
    queue.observe([observer])
    await queue.publish_many([1, 2, 3, 4, 5], connection=object())
    assert observer.bodies == [b"1", b"2", b"3", b"4", b"5"]
