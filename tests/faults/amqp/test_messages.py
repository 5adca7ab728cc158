"""How messages travel: uncounted returns, foreign messages, headers, durability, bursts of delays."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.amqp.limits import STEP, TIMES
from tasuki.drivers.amqp.publishing import delay_queues
from tasuki.drivers.amqp.publishing.delay_queues import SHARDS
from tasuki.errors import MessageTooLargeError
from tests.faults.amqp.rig import driver_at, hand_at, ready
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_what_one_process_leaves_unused_another_gets_uncounted(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as greedy, driver_at(broker.port, spec) as other:
        assert await greedy.receive(queue, 100, 0.1) == []
        await greedy.publish(queue, messages(*map(str, range(10))))  # pushed to the one that asked for a hundred
        got = await take(other, queue, 10)
        assert [(item.id, item.attempt) for item in got] == [(str(number), 1) for number in range(10)]


async def test_released_and_closed_they_are_first_in_line_and_uncounted(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as other:
        await other.publish(queue, messages(*map(str, range(8))))
        async with driver_at(broker.port, spec) as stopped:
            got = await take(stopped, queue, 5)
            await stopped.settle(queue, [Ack(got[0].receipt), *(Release(item.receipt) for item in got[1:])])
        left = await take(other, queue, 7)
        assert [(item.id, item.attempt) for item in left] == [(str(number), 1) for number in range(1, 8)]


async def test_a_message_of_another_program(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        async with hand_at(broker.port) as channel:
            from pamqp import body, frame, header

            properties = commands.Basic.Properties(
                content_type="text/plain", correlation_id="c-1", message_type="greeting", app_id="other",
                headers={"tries": 3, "nested": {"a": 1}, "list": [1], "note": "hi"},
            )  # fmt: skip
            for part in (
                commands.Basic.Publish(exchange="", routing_key=queue),
                header.ContentHeader(body_size=5, properties=properties),
                body.ContentBody(b"hello"),
            ):
                channel.connection.write(frame.marshal(part, channel.number))
            await channel.ask(commands.Basic.Qos(prefetch_count=1))
        (got,) = await take(driver, queue)
        assert (got.body, got.attempt) == (b"hello", 1)
        assert got.id
        known = {
            "content_type": "text/plain", "correlation_id": "c-1", "message_type": "greeting", "amqp.app_id": "other",
            "tries": 3, "note": "hi",
        }  # fmt: skip
        assert known.items() <= got.headers.items()
        await driver.settle(queue, [Nack(got.receipt, 0.2)])
        (again,) = await take(driver, queue)
        assert (again.id, again.body, again.attempt) == (got.id, b"hello", 2)
        assert known.items() <= again.headers.items()


async def test_headers_that_mean_something_to_the_broker_are_only_headers(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(f"{queue}-other")) as driver:
        headers: dict[str, Any] = {
            "CC": f"{queue}-other", "BCC": f"{queue}-other", "x-delay": 5, "x-death": "x", "x-delivery-count": 7,
            "amqp.user_id": "root", "amqp.expiration": "1", "x-tasuki": 5, "k" * 300: "long",
        }  # fmt: skip
        sent = Outgoing("i" * 300, b"", headers)
        assert not await driver.publish(queue, [sent])
        for attempt, settlement in ((1, Release), (1, Nack), (2, Nack)):
            (got,) = await take(driver, queue)
            assert (got.id, got.body, got.headers, got.attempt) == (sent.id, b"", headers, attempt)
            await driver.settle(queue, [settlement(got.receipt)])
        assert await driver.receive(f"{queue}-other", 1, 0.2) == []


async def test_headers_that_no_frame_can_carry_are_refused_before_they_cost_the_connection(
    broker: RabbitMQ, queue: str
) -> None:
    async with driver_at(broker.port, QueueSpec(queue), frame_size=4096) as driver:
        large: dict[str, Any] = {"x": "a" * 4096}
        await driver.publish(queue, messages("before"))
        connection = driver._inner._guard.current.publishing.publisher._link.connection  # type: ignore[attr-defined]
        batch = [*messages("a"), Outgoing("b", b"", large), Outgoing("c", b"", large, delay=0.1), *messages("d")]
        results = await driver.publish(queue, batch)
        assert [type(result) for result in results] == [
            type(None),
            MessageTooLargeError,
            MessageTooLargeError,
            type(None),
        ]
        assert "its headers take more than the 4076 bytes that fit into one frame" in str(results[1])
        fits: dict[str, Any] = {"x": "a" * (4096 - 200)}
        assert not await driver.publish(queue, [Outgoing("e", b"", fits)])
        assert connection.is_alive
        assert [item.id for item in await take(driver, queue, 4)] == ["before", "a", "d", "e"]


async def test_a_classic_queue_says_what_it_survives(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, options={"queue_type": "classic"}, priorities=True)
    async with driver_at(broker.port, spec) as driver:
        assert driver.durability == "broker"
        await driver.publish(queue, messages("a") + messages("b", priority=9))
        first, second = await take(driver, queue, 2)
        assert [first.id, second.id] == ["b", "a"]
        await driver.settle(queue, [Ack(first.receipt), Nack(second.receipt)])
        assert [(item.id, item.attempt) for item in await take(driver, queue)] == [("a", 2)]


async def test_a_quorum_queue_beside_a_classic_one_keeps_its_durability(broker: RabbitMQ, queue: str) -> None:
    other = QueueSpec(f"{queue}-2", options={"queue_type": "classic"})
    async with driver_at(broker.port, QueueSpec(queue), other) as driver:
        assert [driver.durability_of(name) for name in (queue, other.name)] == ["power", "broker"]
        assert driver.durability == "broker"


async def test_a_burst_that_is_due_together_leaves_over_all_shards_and_few_messages_keep_their_order(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second in which a message is due decides its shards: on a busy machine, a burst takes several of them.
    monkeypatch.setattr(delay_queues, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    few, many = [f"{number:04d}" for number in range(200)], [f"{number:04d}" for number in range(2200)]
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        assert not any(await driver.publish(queue, messages(*few, delay=1.0)))
        got = await take(driver, queue, len(few))
        assert [item.id for item in got] == few
        await driver.settle(queue, [Ack(item.receipt) for item in got])
        for start in range(0, len(many), 1000):
            assert not any(await driver.publish(queue, messages(*many[start : start + 1000], delay=30.0)))
        time_of = TIMES.index(round(30.0 / STEP))
        waiting = [await ready(broker.port, delay_queues.queue_name(time_of, shard)) for shard in range(SHARDS)]
        assert min(waiting) > 100
        assert await driver.purge(queue) == len(many)
        assert not any(await driver.publish(queue, messages(*many[:1000], delay=0.5)))
        got = await take(driver, queue, 1000)
        assert Counter(item.id for item in got) == Counter(many[:1000])
        assert {(item.attempt, len(item.headers)) for item in got} == {(1, 0)}
