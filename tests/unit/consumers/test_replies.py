"""What becomes of a handler's result, or failure, when the message asks for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.settling.handover import Moves
from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Answers, Move, Outgoing, Receipt, Settlement
from tasuki.contracts.handler import Context, Reject
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    HandlerError,
    MessageTooLargeError,
    ResultError,
)
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.queues.queue import Queue
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Scope
from tests.unit.consumers.parts import HOLDER, Bench, make_bench, make_queue, settler_of

pytestmark = pytest.mark.anyio

ASKS = {"reply_to": "app:replies", "correlation_id": "c-1"}


async def bench_with_replies(run: Any, **options: Any) -> tuple[Bench, Queue]:
    bench = await make_bench(run, **options)
    replies = make_queue(bench.queue.driver, "replies", max_message_size=1000)
    await replies.driver.declare(replies.spec)
    bench.host.queues["app:replies"] = replies
    return bench, replies


async def asked(run: Any, **options: Any) -> tuple[Bench, Queue]:
    """After a request has been handled."""
    bench, replies = await bench_with_replies(run, **options)
    await bench.handle(1, headers=ASKS)
    return bench, replies


async def answers(replies: Queue) -> list[tuple[Any, Any]]:
    return [(replies.decode(message), message.headers.get("message_type")) for message in await replies.peek(100)]


@pytest.mark.parametrize("result", [None, True, 0, "text", {"a": [1, {}]}, [], b"\0\xff"])
async def test_the_result_is_replied_and_the_request_acked(result: Any) -> None:
    async def run(body: Any, context: Context) -> Any:
        return result

    bench, replies = await asked(run)
    (reply,) = await replies.peek()
    assert replies.decode(reply) == result
    assert reply.headers["correlation_id"] == "c-1"
    assert "reply_to" not in reply.headers
    assert "message_type" not in reply.headers
    assert (bench.consumer.metrics.replied, bench.consumer.metrics.acked) == (1, 1)


async def test_without_a_correlation_id_the_message_id_is_it() -> None:
    bench, replies = await bench_with_replies(None)
    await bench.queue.publish(1, {"reply_to": "app:replies"}, id="mine")
    async with bench:
        await bench.empty()
    assert (await replies.peek())[0].headers["correlation_id"] == "mine"


async def test_a_message_without_reply_to_is_not_answered() -> None:
    bench, replies = await bench_with_replies(None)
    await bench.handle(1, headers={"correlation_id": "c-1"})
    assert await replies.peek() == []


async def test_the_reply_is_confirmed_before_the_ack() -> None:
    order: list[str] = []
    bench, replies = await bench_with_replies(None)
    driver = replies.driver
    publish, settle = driver.publish, driver.settle

    async def slow(queue: str, batch: Any) -> Any:
        await asyncio.sleep(5)
        order.append("reply")
        return await publish(queue, batch)

    async def noted(queue: str, batch: Any) -> Any:
        order.append("ack")
        return await settle(queue, batch)

    await bench.queue.publish(1, ASKS)
    driver.publish, driver.settle = slow, noted  # type: ignore[method-assign]
    async with bench:
        await bench.empty()
    assert order == ["reply", "ack"]


async def test_a_reply_that_cannot_be_published_now_keeps_the_request() -> None:
    bench, replies = await bench_with_replies(None)
    publish = replies.driver.publish
    failures = [BrokerUnavailableError("away"), BrokerUnavailableError("away")]

    async def sometimes(queue: str, batch: Any) -> Any:
        if queue == "replies" and failures:
            raise failures.pop()
        return await publish(queue, batch)

    await bench.queue.publish(1, ASKS)
    replies.driver.publish = sometimes  # type: ignore[method-assign]
    async with bench:
        await bench.empty()
    assert [attempt for _, attempt in bench.handler.seen] == [1], "its effect has happened: it does not run again"
    assert len(await replies.peek()) == 1


@pytest.mark.parametrize("name", ["app:nowhere", 5, "", "reply:x"])
async def test_an_unknown_reply_queue_is_logged_and_the_message_acked(
    name: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench, replies = await bench_with_replies(None)
    await bench.handle(1, headers={"reply_to": name})
    assert bench.consumer.metrics.acked == 1
    assert bench.consumer.metrics.result_errors == 1
    assert [record.levelname for record in caplog.records if "no reply to" in record.getMessage()] == ["ERROR"]
    assert await replies.peek() == []


async def test_a_forbidden_reply_queue_is_the_same() -> None:
    bench, replies = await bench_with_replies(None)
    bench.consumer.guard = Guard(Actor("nobody", {}), Scope(()))
    bench.consumer.guard.consume = lambda queue: None  # type: ignore[method-assign]
    await bench.handle(1, headers=ASKS)
    assert await replies.peek() == []
    assert bench.consumer.metrics.result_errors == 1
    assert bench.consumer.metrics.acked == 1


@pytest.mark.parametrize(("result", "why"), [(object(), "cannot be written as JSON"), ("x" * 2000, "is larger than")])
async def test_a_result_that_cannot_travel_is_an_error_and_the_message_acked(result: Any, why: str) -> None:
    async def run(body: Any, context: Context) -> Any:
        return result

    bench, replies = await asked(run)
    ((body, kind),) = await answers(replies)
    assert kind == "error"
    assert (body["kind"], body["retryable"]) == ("Internal", False)
    assert body["message"].startswith("the result cannot be sent: ")
    assert why in body["message"]
    assert len(bench.handler.seen) == 1
    assert bench.consumer.metrics.result_errors == 1


async def test_a_result_that_another_process_cannot_pass_on_is_the_same() -> None:
    async def run(body: Any, context: Context) -> Any:
        raise ResultError("a value of type object cannot be passed to another process", retryable=False)

    bench, replies = await bench_with_replies(run)
    await bench.queue.publish(1, ASKS)
    await bench.queue.publish(2)
    async with bench:
        await bench.empty()
    ((body, kind),) = await answers(replies)
    assert (kind, body["kind"], body["retryable"]) == ("error", "Internal", False)
    assert body["message"] == "the result cannot be sent: a value of type object cannot be passed to another process"
    assert len(bench.handler.seen) == 2, "neither is tried again"
    metrics = bench.consumer.metrics
    assert (metrics.result_errors, metrics.acked, metrics.failed, metrics.dead_lettered) == (1, 2, 0, 0)


async def test_what_is_tried_again_is_answered_once_it_is_given_up() -> None:
    async def run(body: Any, context: Context) -> Any:
        raise HandlerError(f"no {context.attempt}", kind="NotFound", retryable=True)

    bench, replies = await asked(run)
    assert await answers(replies) == [({"kind": "NotFound", "message": "no 3", "retryable": True}, "error")]
    assert len(await bench.dead_letters()) == 1
    assert (await replies.peek())[0].headers["correlation_id"] == "c-1"


@pytest.mark.parametrize(
    ("error", "body"),
    [
        (ValueError("bad"), {"kind": "Internal", "message": "ValueError: bad", "retryable": None}),
        (Reject("never"), {"kind": "Invalid", "message": "never", "retryable": False}),
    ],
)
async def test_the_error_of_other_failures(error: Exception, body: Any) -> None:
    async def run(_: Any, context: Context) -> Any:
        raise error

    _, replies = await asked(run, max_attempts=1)
    assert await answers(replies) == [(body, "error")]


async def test_a_dead_letter_that_somebody_handles_is_not_answered_again() -> None:
    async def run(_: Any, context: Context) -> Any:
        raise Reject("never")

    bench, replies = await asked(run)
    (letter,) = await bench.dead_letters()
    assert letter.headers["reply_to"] == "app:replies"
    await bench.queue.forward([Outgoing(letter.id, letter.body, letter.headers)])
    bench.handler.run = None
    async with bench:
        await bench.empty()
    assert len(await replies.peek()) == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_handler_that_acks_itself_is_answered_all_the_same(fails: bool) -> None:
    async def run(_: Any, context: Context) -> Any:
        context.ack()
        if fails:
            raise HandlerError("late", kind="Conflict")
        return "result"

    _, replies = await asked(run)
    expected = ({"kind": "Conflict", "message": "late", "retryable": None}, "error") if fails else ("result", None)
    assert await answers(replies) == [expected]


async def test_a_handler_that_nacks_itself_is_not() -> None:
    async def run(_: Any, context: Context) -> Any:
        if context.attempt == 1:
            context.nack(1)
            return "first"
        return "second"

    _, replies = await asked(run)
    assert await answers(replies) == [("second", None)]


@pytest.mark.parametrize("fails", [False, True])
async def test_auto_ack_is_answered_after_the_handler(fails: bool) -> None:
    async def run(_: Any, context: Context) -> Any:
        if fails:
            raise ValueError("lost")
        return 5

    bench, replies = await asked(run, options=ConsumerOptions(auto_ack=True))
    lost = {"kind": "Internal", "message": "ValueError: lost", "retryable": None}
    assert await answers(replies) == [(lost, "error") if fails else (5, None)]
    assert len(bench.handler.seen) == 1


async def test_a_reply_queue_that_refuses_for_good_does_not_keep_the_request(caplog: pytest.LogCaptureFixture) -> None:
    bench, replies = await bench_with_replies(None)
    publish = replies.driver.publish

    async def never(queue: str, batch: Any) -> Any:
        if queue == "replies":
            raise MessageTooLargeError("too large")
        return await publish(queue, batch)

    await bench.queue.publish(1, ASKS)
    replies.driver.publish = never  # type: ignore[method-assign]
    async with bench:
        await bench.empty()
    assert len(bench.handler.seen) == 1
    assert sum("no reply to" in record.getMessage() for record in caplog.records) == 2


@pytest.mark.parametrize("is_given_up", [False, True])
async def test_a_stop_releases_a_request_whose_reply_hangs(is_given_up: bool) -> None:
    async def run(body: Any, context: Context) -> None:
        if is_given_up:
            raise Reject("no")

    bench, replies = await bench_with_replies(run)
    publish = replies.driver.publish

    async def hangs(queue: str, batch: Any) -> Any:
        if queue == "replies":
            await asyncio.get_running_loop().create_future()
        return await publish(queue, batch)

    await bench.queue.publish(1, ASKS)
    replies.driver.publish = hangs  # type: ignore[method-assign]
    async with bench:
        while not bench.handler.seen:
            await asyncio.sleep(0.01)
    (again,) = await bench.queue.driver.receive(bench.queue.spec.name, 1, 0.0)
    assert again.attempt == 1
    assert await bench.dead_letters() == []


DEAD = Verdict("dead_letter", reason="rejected", error="no")


Results = Sequence[DriverError | None]


class Counting(MemoryDriver):
    """Counts its round trips, as a driver with a server would make them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.trips: list[tuple[str, int]] = []
        self._is_moving = False

    async def _trip(self, verb: str, size: int) -> None:
        self.trips.append((verb, size))
        await asyncio.sleep(0)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        if not self._is_moving:
            await self._trip("publish", len(batch))
        return await super().publish(queue, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        if not self._is_moving:
            await self._trip("settle", len(batch))
        return await super().settle(queue, batch)

    async def move(self, queue: str, batch: Sequence[Move]) -> Results:
        await self._trip("move", len(batch))
        self._is_moving = True
        try:
            return await super().move(queue, batch)
        finally:
            self._is_moving = False


class Rig:
    def __init__(self, dead_on: Counting | None = None, driver: Counting | None = None, **dead_options: Any) -> None:
        self.driver = driver or Counting("one")
        self.dead_on = dead_on or self.driver
        self.queue = make_queue(self.driver, lease=30.0)
        self.dead = make_queue(self.dead_on, "dead", **dead_options)
        self.metrics = ConsumerMetrics(consumer="c", queue="q", driver="d")
        self.settled: list[Settlement] = []
        self.settler = settler_of(
            self.queue,
            self.dead,
            self.metrics,
            on_settled=lambda batch, stale: self.settled.extend(batch),
            on_kept=lambda delivery, change: True,
        )

    async def hold(self, count: int) -> list[Delivery]:
        for queue in (self.queue, self.dead):
            await queue.driver.open()
            await queue.driver.declare(queue.spec)
        await self.queue.publish_many(list(range(count)))
        held = [Delivery(one, HOLDER, 0.0) for one in await self.driver.receive("tasks", count, 0)]
        self.driver.trips.clear()
        return held

    async def give_up(self, *deliveries: Delivery) -> None:
        task = asyncio.create_task(self.settler.run())
        for delivery in deliveries:
            self.settler.settle(delivery, DEAD)
        assert await self.settler.finish(5)
        task.cancel()
        await asyncio.wait([task])


async def test_a_dead_letter_is_one_round_trip() -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    await rig.give_up(delivery)
    assert rig.driver.trips == [("move", 1)]
    assert [message.id for message in await rig.driver.peek("dead", 9)] == [delivery.received.id]
    assert (len(rig.settled), rig.metrics.dead_lettered, rig.dead.metrics.published) == (1, 1, 1)


async def test_many_at_once_share_their_round_trips() -> None:
    rig = Rig()
    await rig.give_up(*await rig.hold(100))
    assert rig.driver.trips == [("move", 100)]


async def test_on_another_driver_the_ack_comes_after() -> None:
    other = Counting("other")
    rig = Rig(other)
    (delivery,) = await rig.hold(1)
    await rig.give_up(delivery)
    assert (other.trips, rig.driver.trips) == ([("publish", 1)], [("settle", 1)])


async def test_what_is_another_s_already_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    (delivery,) = await rig.hold(1)
    await rig.driver.close()
    await rig.driver.open()
    await rig.give_up(delivery)
    assert await rig.driver.peek("dead", 9) == []
    assert (len(rig.settled), rig.metrics.stale, rig.metrics.dead_lettered, rig.metrics.released) == (1, 1, 0, 0)
    assert "settled too late" in caplog.text


async def test_a_move_whose_answer_was_lost_is_no_late_settlement(caplog: pytest.LogCaptureFixture) -> None:
    class Unanswered(Counting):
        async def move(self, queue: str, batch: Sequence[Move]) -> Results:
            results = await super().move(queue, batch)
            if len(self.trips) == 1:
                raise BrokerTimeoutError("no answer", outcome="unknown")
            return results

    rig = Rig(driver=Unanswered("one"))
    (delivery,) = await rig.hold(1)
    await rig.give_up(delivery)
    assert rig.driver.trips == [("move", 1), ("move", 1)]
    assert [message.id for message in await rig.driver.peek("dead", 9)] == [delivery.received.id]
    assert (len(rig.settled), rig.metrics.stale, rig.metrics.dead_lettered) == (1, 0, 1)
    assert "settled too late" not in caplog.text


async def test_a_move_that_was_not_sent_before_the_stop_is_not_sent() -> None:
    rig = Rig(max_length=1)
    one, two = await rig.hold(2)
    await rig.give_up(one, two)
    assert [message.id for message in await rig.driver.peek("dead", 9)] == [one.received.id]
    assert (rig.metrics.dead_lettered, rig.metrics.released) == (1, 1)
    assert len(await rig.driver.receive("tasks", 9, 0)) == 1


async def test_too_few_results_of_a_driver_are_an_error_of_each_move() -> None:
    """Else their callers would wait forever, and hold the messages."""

    class Short(Counting):
        async def move(self, queue: str, batch: Sequence[Move]) -> Results:
            return [DriverError("no")]

    driver = Short("one")
    moves = Moves(make_queue(driver))
    sent = [asyncio.ensure_future(moves.move(Move(number, "dead", ()))) for number in range(2)]
    async with asyncio.timeout(60.0):
        results = await asyncio.gather(*sent, return_exceptions=True)
    assert [str(result) for result in results] == ["the driver returned 1 results for 2 moves"] * 2
