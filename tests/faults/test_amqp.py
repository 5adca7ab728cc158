"""RabbitMQ in trouble: killed, frozen, cut off, full, low on memory; queues deleted; a handler that blocks the loop."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release
from tasuki.drivers.amqp.delays import delay_queues, delaying
from tasuki.drivers.amqp.delays.delay_queues import SHARDS
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.limits import LONGEST_NAME, STEP, TIMES
from tasuki.drivers.amqp.settings import AMQPSettings
from tasuki.drivers.amqp.settling import records
from tasuki.drivers.amqp.topology.queue_arguments import GIVEN_UP
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueConflictError,
    QueueFullError,
    QueueNotFoundError,
    ThrottledError,
    UnsupportedError,
)
from tasuki.testing.proxy import Proxy
from tests.faults.amqp_rig import (
    IMPATIENT,
    SECONDS,
    consumers,
    delete,
    driver_at,
    hand_at,
    messages,
    ready,
    take,
    until,
)
from tests.faults.redis_rig import Work
from tests.support.brokers.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
def broker() -> RabbitMQ:
    return RabbitMQ.shared()


@pytest.fixture
def proxy(broker: RabbitMQ) -> Iterator[Proxy]:
    proxy = Proxy(broker.port)
    yield proxy
    proxy.close()


@pytest.fixture
def queue() -> str:
    """A name that no other test has."""
    return f"q-{uuid.uuid4().hex[:12]}"


async def test_killed_under_load_it_loses_nothing_that_was_confirmed(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as publisher, driver_at(broker.port, spec) as consumer:
        async with Work(publisher, consumer, (queue,)) as work:
            for _ in range(2):
                await work.goes_on()
                await asyncio.to_thread(broker.restart)
            await work.goes_on()
        assert not work.lost()
        assert work.errors


async def test_what_the_broker_lost_of_a_queue_that_only_counts_keeps_nobody_from_consuming(
    broker: RabbitMQ, queue: str
) -> None:
    """Killed just after it has made a quorum queue, the broker has that queue without a leader for ever."""
    other = f"{queue}-2"
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(other), request_timeout=2.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        await asyncio.gather(driver.attach(queue, 3), driver.attach(other, 2))
        await _killed_before_it_has_noted(broker, f"{queue}.consumers", f"{other}.consumers")
        got = await _take_in_spite_of_errors(driver, queue, 2)
        assert sorted(item.id for item in got) == ["a", "b"]
        assert (await driver.depth(queue)).consumers == 3
        assert (await driver.depth(other)).consumers == 2


async def test_what_the_broker_lost_of_a_turn_is_made_again(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, options={"single_active_consumer": True})
    async with driver_at(broker.port, spec, request_timeout=6.0) as driver:
        await driver.publish(queue, messages("a"))
        await take(driver, queue)
        await _killed_before_it_has_noted(broker, f"{queue}.active")
        assert [item.id for item in await _take_in_spite_of_errors(driver, queue, 1)] == ["a"]


async def test_records_that_the_broker_lost_cost_no_connection(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=3.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        first, _ = await take(driver, queue, 2)
        await driver.start(queue, [first.receipt])
        (record,) = await _records_of(broker, queue)
        await _killed_before_it_has_noted(broker, record)
        got = {item.id: item for item in await _take_in_spite_of_errors(driver, queue, 2)}
        assert (got["a"].attempt, got["b"].attempt) == (2, 1)
        assert not await driver.settle(queue, [Ack(got["a"].receipt)])
        assert not await driver.settle(queue, [Ack(got["b"].receipt)])
        await until(lambda: _has_no_records(broker, queue), "the end of the record")


async def test_connections_cut_under_load_lose_nothing(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(proxy.port, spec) as publisher, driver_at(proxy.port, spec) as consumer:
        async with Work(publisher, consumer, (queue,)) as work:
            for _ in range(10):
                await work.goes_on(50)
                proxy.cut()
            await work.goes_on(50)
        assert not work.lost()
        assert work.errors


async def test_a_reconnect_needs_few_channels_however_many_lanes_there_are(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    spec = QueueSpec(queue, ordering="key", priorities=True)
    async with driver_at(proxy.port, spec, channel_max=5) as driver:
        await driver.publish(queue, messages("a", key="k"))
        proxy.cut()
        got: list[Received] = []

        async def receives() -> bool:
            with suppress(DriverError):
                got.extend(await driver.receive(queue, 1, 1.0))
            return bool(got)

        await until(receives, "a new connection")
        assert [item.id for item in got] == ["a"]


async def test_a_frozen_broker_hangs_nobody_and_its_connections_are_replaced(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), request_timeout=1.0, connection_timeout=1.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        first, second = await take(driver, queue, 2)
        broker.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(BrokerTimeoutError) as problem:
                await driver.publish(queue, messages("c"))
            assert problem.value.outcome == "unknown"
            with pytest.raises((BrokerTimeoutError, BrokerUnavailableError)):
                await driver.settle(queue, [Ack(first.receipt)])
            for verb in (driver.depth(queue), driver.receive(queue, 1, 0.2), driver.publish(queue, messages("d"))):
                with pytest.raises(BrokerUnavailableError, match=r"no answer|did not answer"):
                    await verb
            assert time.monotonic() - began < SECONDS / 2
        finally:
            broker.thaw()
        got: set[str] = set()

        async def is_back() -> bool:
            try:
                found = await driver.receive(queue, 10, 1.0)
                await driver.settle(queue, [Ack(item.receipt) for item in found])
            except DriverError:
                return False
            got.update(item.id for item in found)
            return "b" in got

        await until(is_back, "the message of the connection that was given up")
        got.update(item.id for item in await driver.receive(queue, 10, 1.0))
        assert got <= {"a", "b", "c"}  # the broker may have read the ack of a, and c; d was never sent
        assert list(await driver.settle(queue, [Ack(second.receipt)])) == [second.receipt]


@pytest.mark.parametrize(
    ("length", "patience", "why"),
    [
        (2**32 - 1, SECONDS, "cannot be read"),
        (2**20, SECONDS, "cannot be read"),
        (0, SECONDS, "cannot be read"),
        (100_000, IMPATIENT, None),
    ],
)
async def test_a_damaged_frame_ends_the_connection_and_not_the_work(
    broker: RabbitMQ, proxy: Proxy, queue: str, length: int, patience: float, why: str | None
) -> None:
    # A length that may be true swallows what comes, until an answer or the frame is overdue.
    spec, fields = QueueSpec(queue), {"request_timeout": patience, "heartbeat": 1.0}
    async with driver_at(broker.port, spec) as publisher, driver_at(proxy.port, spec, **fields) as driver:
        waiting = asyncio.create_task(driver.receive(queue, 1, 2 * SECONDS))

        async def is_consumed() -> bool:
            return await consumers(broker.port, f"{queue}.returned") == 1

        await until(is_consumed, "the consumer to be at the broker")
        proxy.damage = lambda data: data[:3] + length.to_bytes(4, "big") + data[7:]
        await publisher.publish(queue, messages("a"))
        with pytest.raises(BrokerUnavailableError, match=why):
            async with asyncio.timeout(SECONDS):
                await waiting
        assert (await take(driver, queue))[0].id == "a"


async def test_a_connection_that_answers_nothing_is_replaced_by_the_next_call(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    fields = {"heartbeat": 600.0, "request_timeout": IMPATIENT, "connection_timeout": 5.0}  # no heartbeat will end it
    async with driver_at(proxy.port, QueueSpec(queue), **fields) as driver:
        for verb in (lambda: driver.publish(queue, messages("a")), lambda: driver.depth(queue)):
            await verb()
            before = proxy.accepted
            proxy.silence()
            with pytest.raises(BrokerTimeoutError):
                await verb()
            assert proxy.accepted == before
            proxy.serve()
            await connected(verb)
            assert proxy.accepted == before + 1
        assert {item.id for item in await take(driver, queue)} == {"a"}


async def connected(verb: Any) -> None:
    """Wait until a verb works again."""

    async def works() -> bool:
        try:
            await verb()
        except DriverError:
            return False
        return True

    await until(works, "the driver to be connected")


async def test_a_frozen_broker_keeps_nobody_from_closing(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", "b"))
        await take(driver, queue)
        broker.freeze()
        try:
            began = time.monotonic()
            await driver.close()
            assert time.monotonic() - began < SECONDS / 2
        finally:
            broker.thaw()
        await driver.open()
        assert {item.id for item in await take(driver, queue, 2)} == {"a", "b"}


async def test_a_close_that_is_cancelled_leaves_no_connection_behind(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as publisher:
        await publisher.publish(queue, messages("a"))
        for turns in range(4):  # cancelled at several places of its way
            driver = AMQPDriver("test", AMQPSettings(url=f"amqp://127.0.0.1:{broker.port}/"))
            await driver.open()
            await driver.declare(QueueSpec(queue))
            await take(driver, queue)
            closing = asyncio.create_task(driver.close())
            for _ in range(turns + 1):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            await driver.close()
        (got,) = await take(publisher, queue)
        assert got.id == "a"


async def test_a_silent_connection_is_given_up_after_two_heartbeats(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), heartbeat=1.0, connection_timeout=1.0) as driver:
        waiting = asyncio.create_task(driver.receive(queue, 1, 60.0))
        await asyncio.sleep(0.1)
        proxy.silence()
        with pytest.raises(BrokerUnavailableError):
            async with asyncio.timeout(SECONDS):
                await waiting
        proxy.serve()
        await driver.publish(queue, messages("a"))
        await take(driver, queue)


async def test_a_loop_that_is_blocked_for_longer_than_two_heartbeats_loses_nothing(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), heartbeat=1.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        (first,) = await take(driver, queue)
        connections = proxy.connections()
        time.sleep(5.0)  # a handler that computes: no other way to be sure that the loop stands still
        assert list(await driver.settle(queue, [Ack(first.receipt)])) == []
        assert [(item.id, item.attempt) for item in await take(driver, queue)] == [("b", 1)]
        assert proxy.connections() == connections


async def test_a_thread_whose_loop_fails_begins_again_and_what_it_held_comes_back(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", "b"))
        (held,) = await take(driver, queue)
        waiting = asyncio.create_task(driver.depth(queue))
        await asyncio.sleep(0)
        thread = driver._guard.current
        assert thread is not None
        thread.tell(_exit)
        async with asyncio.timeout(SECONDS):
            await asyncio.wait([waiting])  # nobody waits for ever
            found: dict[str, Received] = {}
            while len(found) < 2:
                try:
                    for received in await driver.receive(queue, 10, 1.0):
                        found[received.id] = received
                except BrokerUnavailableError:
                    await asyncio.sleep(0.05)
            assert held.id in found
            assert not await driver.settle(queue, [Ack(received.receipt) for received in found.values()])
        assert waiting.exception() is None or isinstance(waiting.exception(), BrokerUnavailableError)


def _exit() -> None:
    raise SystemExit("no more")


async def test_a_queue_that_is_deleted_underneath_is_made_again(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver, driver_at(broker.port, QueueSpec(queue)) as other:
        waiting = asyncio.create_task(received(driver, queue))

        async def is_consumed() -> bool:
            try:
                # Of both: a queue that is being made rejects messages until it has a leader.
                return [await consumers(broker.port, name) for name in (queue, f"{queue}.returned")] == [1, 1]
            except ClosedError:
                return False

        await until(is_consumed, "the consumer to be at the broker")
        await delete(broker.port, queue)
        await until(is_consumed, "the consumer to be at the broker again")
        assert not any(await other.publish(queue, messages("a")))
        async with asyncio.timeout(SECONDS):
            (got,) = await waiting
        await driver.settle(queue, [Ack(got.receipt)])
        await delete(broker.port, queue, f"{queue}.returned")
        assert not any(await other.publish(queue, messages("b", "b", "c")))  # made again by the publisher
        ids = [got.id]
        async with asyncio.timeout(SECONDS):
            while len(ids) < 4:
                ids += [item.id for item in await received(driver, queue)]
        assert sorted(ids) == ["a", "b", "b", "c"]


async def received(driver: AMQPDriver, queue: str) -> list[Received]:
    """The next messages; RabbitMQ may end the connection (541) of a client that asks for a queue amid its deletion."""
    while True:
        try:
            if got := await driver.receive(queue, 5, SECONDS):
                return got
        except BrokerUnavailableError as error:
            if "541" not in str(error):
                raise


async def test_only_a_lasting_queue_of_this_process_is_made_again(broker: RabbitMQ, queue: str) -> None:
    reply, known = f"{queue}-reply", f"{queue}-known"
    own = (QueueSpec(reply, temporary=True),)
    async with driver_at(broker.port, *own) as driver, driver_at(broker.port, QueueSpec(known)) as other:
        await driver.inspect(QueueSpec(known))
        await other.inspect(QueueSpec(reply, temporary=True))
        for number in range(2):  # as they are, and on a new connection
            await delete(broker.port, reply, known, f"{known}.returned")
            for where, name in ((driver, known), (driver, reply), (other, reply)):
                results = await where.publish(name, messages("a"))
                assert [type(error) for error in results] == [QueueNotFoundError]
                assert {error.outcome for error in results if error} == {"rejected"}
                with pytest.raises(QueueNotFoundError):
                    await where.receive(name, 1, 0.1)
            if not number:
                await driver.close()
                await driver.open()


async def test_delays_find_a_queue_that_was_deleted_and_made_again(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", delay=0.1))
        await driver.settle(queue, [Ack(item.receipt) for item in await take(driver, queue)])
        await delete(broker.port, queue, f"{queue}.returned")
        async with driver_at(broker.port, QueueSpec(queue)):  # another process makes it again
            assert not await driver.publish(queue, messages("b", delay=0.1))
        await driver.declare(QueueSpec(queue))
        assert [item.id for item in await take(driver, queue)] == ["b"]


async def test_of_two_messages_with_one_id_that_go_nowhere_both_are_rejected(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, temporary=True)
    async with driver_at(broker.port, spec) as driver:
        await delete(broker.port, queue)
        results = await driver.publish(queue, messages("a", "a"))
        assert [(type(error), error.outcome) for error in results if error] == [(QueueNotFoundError, "rejected")] * 2


async def test_what_comes_down_for_a_deleted_queue_is_kept_and_blocks_nobody(broker: RabbitMQ, queue: str) -> None:
    other = f"{queue}-other"
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(other)) as driver:
        before = await ready(broker.port, GIVEN_UP)
        await driver.publish(queue, messages(*(f"a{number}" for number in range(50)), delay=0.5))
        await delete(broker.port, queue, f"{queue}.returned")
        await driver.publish(other, messages("b", delay=0.5))
        assert [item.id for item in await take(driver, other)] == ["b"]

        async def kept() -> bool:
            return await ready(broker.port, GIVEN_UP) == before + 50

        await until(kept, "what was put off to arrive where it can be found")


async def test_a_full_queue_lets_the_delays_of_others_pass(broker: RabbitMQ, queue: str) -> None:
    other = f"{queue}-other"
    full = QueueSpec(queue, options={"queue_type": "classic", "max_length": 1})
    async with driver_at(broker.port, full, QueueSpec(other)) as driver:
        await driver.publish(queue, messages("a"))
        await driver.publish(queue, messages(*(f"b{number}" for number in range(100)), delay=0.1))
        await driver.publish(other, messages("c", delay=1.0))
        assert [item.id for item in await take(driver, other)] == ["c"]
        assert len(await take(driver, queue, 101)) == 101


async def test_a_bounded_queue_refuses_message_by_message(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue, options={"max_length": 5})) as driver:
        stored, refused = [], []
        for number in range(60):
            try:
                results = await driver.publish(queue, messages(f"{number:02d}"))
            except DriverError as error:
                results = [error]
            (refused if any(results) else stored).append(f"{number:02d}")
            assert all(isinstance(error, QueueFullError) for error in results)
        assert refused
        assert len(stored) >= 5
        got = await take(driver, queue, len(stored))
        assert [item.id for item in got] == stored
        # Held messages leave room, which is taken; what comes back needs none.
        await driver.publish(queue, messages("x0", "x1", "x2", "x3", "x4", "x5"))
        back = [Nack(item.receipt, 0.2 * (number % 2)) for number, item in enumerate(got)]
        assert list(await driver.settle(queue, back)) == []
        assert {item.id for item in await take(driver, queue, len(stored) + 6)} >= set(stored)


async def test_a_broker_that_is_low_on_memory_takes_nothing_and_gives_everything(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=1.0) as driver:
        await driver.publish(queue, messages("a", "b", "c"))
        await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0")
        try:
            with pytest.raises(BrokerTimeoutError) as first:  # told only now that it is blocked
                await driver.publish(queue, messages("d"))
            with pytest.raises(ThrottledError, match="memory") as second:
                await driver.publish(queue, messages("e"))
            assert (first.value.outcome, second.value.outcome) == ("unknown", "rejected")
            got = await take(driver, queue, 3)
            assert list(await driver.settle(queue, [Ack(item.receipt) for item in got])) == []
        finally:
            await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "absolute", "4GB")

        async def publishes() -> bool:
            try:
                return not await driver.publish(queue, messages("f"))
            except DriverError:
                return False

        await until(publishes, "publishing to go on by itself")


async def test_other_arguments_are_a_conflict_that_costs_no_connection(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    async with driver_at(proxy.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a"))
        (got,) = await take(driver, queue)
        connections = proxy.connections()
        with pytest.raises(QueueConflictError) as problem:
            await driver.declare(QueueSpec(queue, options={"max_length": 7}))
        assert not problem.value.retryable
        for text in ("x-max-length", "x-max-length=7", "none", "cannot be changed"):
            assert text in str(problem.value)
        assert list(await driver.settle(queue, [Ack(got.receipt)])) == []
        assert proxy.connections() == connections


async def test_a_name_is_as_long_as_its_parts_allow_and_no_longer(broker: RabbitMQ, queue: str) -> None:
    longest = queue.ljust(LONGEST_NAME, "x")
    async with driver_at(broker.port, QueueSpec(longest)) as driver:
        await driver.publish(longest, messages("a", delay=0.1))
        assert [item.id for item in await take(driver, longest)] == ["a"]
        with pytest.raises(UnsupportedError):
            await driver.declare(QueueSpec(longest + "x"))


async def test_what_cannot_be_kept_is_refused(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        for spec in (
            QueueSpec(queue, max_length=5),
            QueueSpec(queue, ordering="key", options={"queue_type": "classic"}),
            QueueSpec(queue, dedup_window=1.0),
        ):
            with pytest.raises(UnsupportedError):
                await driver.declare(spec)
        (error,) = await driver.publish(queue, messages("a", priority=3))
        assert isinstance(error, UnsupportedError)
        assert "requires: [priority]" in str(error)


async def test_a_wrong_password_is_refused_and_not_shown(broker: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    for mechanism in ("PLAIN", "AMQPLAIN"):
        with pytest.raises(AccessDeniedError) as problem:
            async with driver_at(
                broker.port, url=f"amqp://guest:hunter2@127.0.0.1:{broker.port}/", auth_mechanism=mechanism
            ):
                pass
        assert "hunter2" not in str(problem.value) + repr(problem.value.__cause__) + caplog.text
    async with driver_at(broker.port, auth_mechanism="AMQPLAIN"):
        pass


async def test_a_vhost_that_is_not_there(broker: RabbitMQ) -> None:
    with pytest.raises(AccessDeniedError, match="nowhere"):
        async with driver_at(broker.port, vhost="nowhere"):
            pass


@pytest.mark.timeout(480)
async def test_delays_outlive_a_restart_of_the_broker(broker: RabbitMQ, queue: str) -> None:
    # In one delay queue: a message that expires while the broker starts may be tried again only minutes later.
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        for delay in (15.0, 30.0, 60.0, 120.0):  # the first that is longer than the restart takes here
            await driver.publish(queue, messages("now"))
            (now,) = await take(driver, queue)
            began = time.monotonic()
            await driver.publish(queue, messages("later", delay=delay))
            await driver.settle(queue, [Nack(now.receipt, delay)])
            await asyncio.to_thread(broker.restart)
            if time.monotonic() - began < delay - 1:
                break
            await _until_answered(lambda: driver.purge(queue))
        got = await _take_in_spite_of_errors(driver, queue, 2, delay + SECONDS)
        assert time.monotonic() - began >= delay
        assert sorted((item.id, item.attempt) for item in got) == [("later", 1), ("now", 2)]


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
        headers = {
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
        large = {"x": "a" * 4096}
        await driver.publish(queue, messages("before"))
        connection = driver._inner._guard.current._publisher._link.connection  # type: ignore[attr-defined]
        batch = [*messages("a"), Outgoing("b", b"", large), Outgoing("c", b"", large, delay=0.1), *messages("d")]
        results = await driver.publish(queue, batch)
        assert [type(result) for result in results] == [
            type(None),
            MessageTooLargeError,
            MessageTooLargeError,
            type(None),
        ]
        assert "its headers take more than the 4076 bytes that fit into one frame" in str(results[1])
        fits = {"x": "a" * (4096 - 200)}
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
    monkeypatch.setattr(delaying, "time", SimpleNamespace(monotonic=lambda: 1000.0))
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


async def test_delay_queues_that_were_deleted_are_made_again(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", delay=0.2))
        async with hand_at(broker.port) as channel:
            await channel.ask(commands.Exchange.Delete(exchange="tasuki.delayed.in.0"))
        with pytest.raises(BrokerUnavailableError) as problem:
            await driver.publish(queue, messages("b", delay=0.2))
        assert problem.value.outcome == "unknown"
        await driver.publish(queue, messages("c", delay=0.2))
        assert {item.id for item in await take(driver, queue, 2)} == {"a", "c"}


async def test_a_message_that_is_held_too_long_for_the_broker_is_handed_out_again(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as driver:
        await driver.publish(queue, messages("a"))
        (got,) = await take(driver, queue)
        # What the consumer_timeout does, which is checked only once a minute: the broker closes the channel.
        channel = driver._inner._guard.current.subscriptions[queue].channel  # type: ignore[attr-defined]
        too_late = commands.Basic.Ack(delivery_tag=999)
        driver._guard.get().tell(lambda: channel.connection.send(channel.number, too_late))
        (again,) = await _take_in_spite_of_errors(driver, queue, 1)
        assert (again.id, again.attempt, again.suspect) == ("a", 1, True)
        assert list(await driver.settle(queue, [Ack(got.receipt)])) == [got.receipt]
        assert list(await driver.settle(queue, [Ack(again.receipt)])) == []


async def test_order_per_key_outlives_nacks_cuts_and_a_restart(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    spec = QueueSpec(queue, ordering="key")
    keys = "abcdefgh"
    async with driver_at(proxy.port, spec) as one, driver_at(proxy.port, spec) as two:
        batch = [Outgoing(f"{key}{number:02d}", b"", {}, key=key) for number in range(20) for key in keys]
        assert not await one.publish(queue, batch)
        handled: dict[str, list[str]] = {key: [] for key in keys}
        chance = random.Random(3)
        trouble = [broker.restart, *[proxy.cut] * 5]
        end = time.monotonic() + 3 * SECONDS
        while any(f"{key}19" not in ids for key, ids in handled.items()) and time.monotonic() < end:
            if trouble and chance.random() < 0.05:
                await asyncio.to_thread(trouble.pop())
            for driver in (one, two):
                try:
                    got = await driver.receive(queue, chance.randint(1, 8), 0.1)
                    assert len({item.id[0] for item in got}) == len(got)
                    done = [item for item in got if chance.random() < 0.7]
                    for item in done:  # handled is handled, whatever becomes of the ack
                        handled[item.id[0]].append(item.id)
                    rest = [Nack(item.receipt, chance.choice((0.0, 0.1))) for item in got if item not in done]
                    if got:
                        await driver.settle(queue, [*(Ack(item.receipt) for item in done), *rest])
                except DriverError as error:
                    if not error.retryable:
                        raise
                    await asyncio.sleep(0.05)
        for key, ids in handled.items():
            assert list(dict.fromkeys(ids)) == [f"{key}{number:02d}" for number in range(20)]
            # What comes twice, for its ack was lost, comes before the next one does.
            assert ids == sorted(ids)


async def test_a_key_that_is_held_here_is_not_given_out_there(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, ordering="key")
    async with driver_at(broker.port, spec) as one, driver_at(broker.port, spec) as two:
        await one.publish(queue, messages("a", "b", key="k"))
        (first,) = await take(one, queue)
        assert await two.receive(queue, 5, 1.5) == []  # longer than the first one's consumers last when nobody asks
        assert list(await one.settle(queue, [Nack(first.receipt, 1.0)])) == []
        assert await two.receive(queue, 5, 0.3) == []
        assert await one.receive(queue, 5, 0.3) == []
        (again,) = await take(one, queue)
        assert (again.id, again.attempt) == ("a", 2)
        await one.close()
        got = await take(two, queue)
        assert [(item.id, item.attempt) for item in got] == [("a", 2)]
        await two.settle(queue, [Ack(got[0].receipt)])
        assert [(item.id, item.attempt) for item in await take(two, queue)] == [("b", 1)]


async def test_a_key_stays_here_while_the_failure_of_its_message_is_recorded(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = QueueSpec(queue, ordering="key")
    is_received = threading.Event()
    make = records.make

    async def make_late(*args: Any) -> None:
        await asyncio.to_thread(is_received.wait, SECONDS)
        await make(*args)

    async with driver_at(broker.port, spec) as one, driver_at(broker.port, spec) as two:
        await one.publish(queue, messages("a", "b", key="k"))
        (first,) = await take(one, queue)
        monkeypatch.setattr(records, "make", make_late)
        settling = asyncio.create_task(one.settle(queue, [Nack(first.receipt)]))
        assert await two.receive(queue, 5, 1.5) == []  # longer than the first one's consumers last when nobody asks
        is_received.set()
        assert list(await settling) == []
        (again,) = await take(one, queue)
        assert (again.id, again.attempt, again.suspect) == ("a", 2, False)


async def test_a_key_leaves_no_room_for_delay_and_priority(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue, ordering="key", priorities=True)) as driver:
        for options in ({"delay": 1.0}, {"priority": 5}):
            (error,) = await driver.publish(queue, messages("a", key="k", **options))
            assert isinstance(error, UnsupportedError)
        assert not await driver.publish(queue, messages("b", delay=0.1) + messages("c", priority=5))


async def _killed_before_it_has_noted(broker: RabbitMQ, *queues: str) -> None:
    """Kill it as if it had just made these quorum queues: the note that comes a moment later is taken back."""
    uids = (f"ra_directory:uid_of(quorum_queues, '%2F_{queue}')" for queue in queues)
    forget = ", ".join(f"ra_directory:unregister_name(quorum_queues, {uid})" for uid in uids)
    await asyncio.to_thread(broker.control, "eval", f"{forget}, [dets:sync(Table) || Table <- dets:all()].")
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    for queue in queues:  # else the test shows nothing
        assert f"member of queue '{queue}' in vhost '/' was not found" in broker.log()


async def _records_of(broker: RabbitMQ, queue: str) -> list[str]:
    names = await asyncio.to_thread(broker.control, "list_queues", "--no-table-headers", "name")
    return [name for name in names.split() if name.startswith(f"{queue}.failed.")]


async def _has_no_records(broker: RabbitMQ, queue: str) -> bool:
    return not await _records_of(broker, queue)


async def _until_answered(call: Callable[[], Awaitable[Any]]) -> Any:
    end = time.monotonic() + SECONDS
    while True:
        try:
            return await call()
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)


async def _take_in_spite_of_errors(driver: object, queue: str, number: int, seconds: float = SECONDS) -> list:
    taken: list = []
    end = time.monotonic() + seconds
    while len(taken) < number and time.monotonic() < end:
        try:
            taken += await driver.receive(queue, number, 1.0)  # type: ignore[attr-defined]
        except DriverError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.1)
    return taken
