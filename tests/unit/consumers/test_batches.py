"""Batches: how they fill, how each message is settled, and what stays apart."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tasuki.consumers.batch import Batching, cut, results_of
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.shared import Share, SharedWorkers
from tasuki.consumers.handling.suspects import SuspectGate
from tasuki.consumers.reports.snapshot import Describer
from tasuki.contracts.handler import Context, Reject, Retry, Snooze
from tasuki.errors import HandlerError, ResultError, StopTimeoutError
from tasuki.message import DEAD_LETTER_REASON, LAST_ERROR, REPLY_TO
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, Run, clock_of_loop, make_bench, make_queue, now

pytestmark = pytest.mark.anyio


async def bench_of(run: Run | None = None, size: int = 3, wait: float = 5.0, **options: Any) -> Bench:
    make = {name: options.pop(name) for name in ("driver", "max_attempts", "ordering", "lease") if name in options}
    options = {"prefetch": 12, **options}
    bench = await make_bench(run, options=ConsumerOptions(batch=Batching(size, wait), **options), **make)
    bench.consumer.gate = SuspectGate()
    return bench


def bodies(bench: Bench) -> list[Any]:
    return [body for body, _ in bench.handler.seen]


async def dead(bench: Bench) -> dict[Any, Any]:
    return {bench.dead.decode(each): each.headers[DEAD_LETTER_REASON] for each in await bench.dead_letters()}


async def test_full_batches_start_at_once_and_the_rest_when_its_wait_is_over() -> None:
    bench = await bench_of()
    await bench.queue.publish_many(range(7))
    started = now()
    async with bench:
        await bench.settled(held=1)
        assert (bodies(bench), now() - started < 1) == ([[0, 1, 2], [3, 4, 5]], True)
        await bench.empty()
        assert bodies(bench)[2:] == [[6]]
        assert 5 <= now() - started < 6


async def test_a_batch_stays_open_while_no_worker_is_free() -> None:
    async def handle(body: Any, context: Context) -> None:
        await asyncio.sleep(30)

    bench = await bench_of(handle, wait=1.0, prefetch=4)
    await bench.queue.publish_many(range(4))
    async with bench:
        await asyncio.sleep(10)  # the fourth has waited for long, and its worker is busy
        assert bodies(bench) == [[0, 1, 2]]
        assert bench.consumer.now.unsettled == 0
        await bench.empty()
        assert bodies(bench) == [[0, 1, 2], [3]]


async def test_a_batch_is_one_running_handler_with_many_messages() -> None:
    async def handle(body: Any, context: Context) -> None:
        await asyncio.sleep(30)

    bench = await bench_of(handle)
    await bench.queue.publish_many(range(3))
    async with bench:
        await asyncio.sleep(10)
        (sign,) = Describer("1", bench.consumer.clock)([bench.consumer], 0.0).consumers
        assert (sign.running, sign.concurrency) == (bench.consumer.now.running, bench.consumer.now.concurrency)
        assert (sign.running, len(sign.messages)) == (1, 3)
        await bench.empty()


async def test_messages_join_a_late_batch_until_a_worker_is_free() -> None:
    async def handle(body: Any, context: Context) -> None:
        await asyncio.sleep(30)

    bench = await bench_of(handle, size=4, wait=1.0)
    async with bench:
        await bench.queue.publish(0)
        await asyncio.sleep(5)
        await bench.queue.publish(1)
        await asyncio.sleep(5)
        await bench.queue.publish(2)
        await bench.empty()
    assert bodies(bench) == [[0], [1, 2]]


@pytest.mark.parametrize("result", [None, {"rows": 3}, 3, True])
async def test_a_batch_that_returns_is_acked(result: Any) -> None:
    async def handle(body: Any, context: Context) -> Any:
        return result

    bench = await bench_of(handle)
    await bench.handle(*range(3))
    assert (bench.consumer.metrics.acked, bench.consumer.metrics.failed, bodies(bench)) == (3, 0, [[0, 1, 2]])


async def test_a_list_settles_each_message_by_its_own_result() -> None:
    async def handle(body: list[Any], context: Context) -> Any:
        if len(body) < 7:
            return None
        return [None, False, ValueError("no"), Reject("never"), Retry(after=60), Snooze(after=60), "value"]

    bench = await bench_of(handle, size=7)
    await bench.queue.publish_many(["none", "false", "error", "reject", "retry", "snooze", "value"])
    async with bench:
        await bench.settled()
        assert await dead(bench) == {"reject": "rejected"}
        await bench.empty()
    assert sorted(bodies(bench)[1]) == ["error", "false"]
    assert sorted(name for batch in bodies(bench)[2:] for name in batch) == ["retry", "snooze"]
    assert bench.consumer.metrics.failed == 2


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ([], "a list of 0 for a batch of 3"),
        ([None] * 4, "a list of 4 for a batch of 3"),
        (ResultError("a function cannot be sent"), "cannot be read: a function cannot be sent"),
    ],
)
async def test_results_that_are_none_of_the_batch_fail_all(result: Any, told: str) -> None:
    async def handle(body: list[Any], context: Context) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    bench = await bench_of(handle, max_attempts=1)
    await bench.handle(*range(3))
    letters = await bench.dead_letters()
    assert len(letters) == 3
    assert all(told in str(each.headers[LAST_ERROR]) for each in letters)


@pytest.mark.parametrize("result", [None, [None] * 3])
async def test_the_function_may_change_its_list(result: Any) -> None:
    async def handle(body: list[Any], context: Context) -> Any:
        while body:
            body.pop()
        return result

    bench = await bench_of(handle)
    await bench.handle(*range(6))
    assert (bench.consumer.metrics.acked, bench.consumer.metrics.failed) == (6, 0)


async def test_an_error_fails_all_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(body: list[Any], context: Context) -> None:
        raise ValueError("no")

    bench = await bench_of(handle, max_attempts=2)
    await bench.queue.publish_many(range(3))
    with caplog.at_level(logging.WARNING, "tasuki.consumer"):
        async with bench:
            await bench.empty()
    assert await dead(bench) == dict.fromkeys(range(3), "max_attempts")
    assert bench.consumer.metrics.failed == 6
    first, second, *letters = caplog.messages
    assert first == "handler app:handle failed for 3 messages of a batch, 0 given up: ValueError: no"
    assert "3 messages of a batch, 3 given up" in second
    assert len(letters) == 3


async def test_single_messages_are_settled_by_their_own_context() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        one, two, three = context.batch
        one.ack()
        two.reject("bad")
        with pytest.raises(HandlerError, match="already settled"):
            two.ack()
        assert (three.attempt, three.message) == (1, context.messages[2])
        assert context.message is None
        raise Retry(after=60)

    bench = await bench_of(handle)
    await bench.queue.publish_many(range(3))
    async with bench:
        await bench.settled()
        assert await dead(bench) == {1: "rejected"}
        metrics = bench.consumer.metrics
        assert (metrics.acked, metrics.nacked, metrics.failed) == (1, 1, 0)


async def test_the_context_of_a_batch_settles_what_is_open() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        context.batch[0].ack()
        context.reject("all others")
        with pytest.raises(HandlerError, match="already settled"):
            context.ack()

    bench = await bench_of(handle)
    await bench.handle(*range(3))
    assert await dead(bench) == {1: "rejected", 2: "rejected"}
    with pytest.raises(HandlerError, match="released"):
        bench.handler.contexts[0].batch[0].ack()


async def test_messages_that_do_not_fit_leave_the_batch_before() -> None:
    bench = await bench_of()
    await bench.queue.publish(0)
    await bench.queue.publish("late", ttl=0.001)
    await bench.queue.publish(1)
    await asyncio.sleep(1)
    async with bench:
        await bench.empty()
    assert bodies(bench) == [[0, 1]]
    assert await dead(bench) == {"late": "expired"}


async def test_a_batch_without_a_message_left_calls_nothing() -> None:
    bench = await bench_of(size=2)
    for body in ("a", "b"):
        await bench.queue.publish(body, ttl=0.001)
    await asyncio.sleep(1)
    async with bench:
        await bench.empty()
        await bench.queue.publish_many([1, 2])
        await bench.empty()
    assert bodies(bench) == [[1, 2]]


async def test_a_timeout_is_of_the_batch() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        context.batch[0].ack()
        await asyncio.sleep(100)

    bench = await bench_of(handle, max_attempts=1, handler_timeout=10.0)
    await bench.handle(*range(3))
    letters = await bench.dead_letters()
    assert [bench.dead.decode(each) for each in letters] in ([1, 2], [2, 1])
    assert all("handler_timeout (10s)" in str(each.headers[LAST_ERROR]) for each in letters)
    assert bench.consumer.metrics.handler_seconds.count == 1


async def test_auto_ack_settles_all_before_the_handler() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        assert (await bench.queue.info())["message_count"] == 0
        raise ValueError("lost by contract")

    bench = await bench_of(handle, auto_ack=True)
    await bench.handle(*range(3))
    assert (bench.consumer.metrics.acked, bench.consumer.metrics.failed, await dead(bench)) == (3, 3, {})


async def test_a_suspect_is_alone_and_its_start_recorded() -> None:
    broker = ModelBroker(clock_of_loop())
    bench = await bench_of(size=4, driver=ModelDriver(broker))
    await bench.queue.publish_many(range(7))
    for number in (2, 3):
        broker.queues["tasks"].stored[number].suspect = True
    async with bench:
        await bench.empty()
    assert sorted(bodies(bench)) == sorted([[0, 1], [2], [3], [4, 5, 6]])
    starts = [what for verb, what in bench.queue.driver.calls if verb == "start"]  # type: ignore[attr-defined]
    assert [len(what) for what in starts] == [1, 1]


async def test_leases_of_all_messages_are_renewed_while_they_wait_and_run() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        await asyncio.sleep(100)
        assert not context.delivery.lease_lost

    broker = ModelBroker(clock_of_loop())
    bench = await bench_of(handle, wait=100.0, driver=ModelDriver(broker), lease=10.0)
    await bench.handle(*range(2))
    assert bodies(bench) == [[0, 1]]
    assert (bench.consumer.metrics.acked, bench.consumer.metrics.lease_lost) == (2, 0)


async def test_an_overdue_stop_releases_the_running_batch_without_an_attempt() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        await asyncio.sleep(100)

    bench = await bench_of(handle)
    await bench.begin(*range(3))
    with pytest.raises(StopTimeoutError, match="stop_timeout: 1;"):
        await bench.consumer.stop(1)
    assert bench.consumer.metrics.released == 3
    assert [bench.queue.decode(each) for each in await bench.queue.peek(10)] == [0, 1, 2]


async def test_a_stop_outlasted_by_its_handler_keeps_every_message() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                continue

    bench = await bench_of(handle)
    await bench.begin(*range(3))
    await bench.stop_late(1)
    assert (await bench.queue.depth()).ready == 0
    await asyncio.sleep(60)
    assert (await bench.queue.info())["message_count"] == 0


async def test_each_request_gets_its_own_answer() -> None:
    async def handle(body: list[Any], context: Context) -> list[Any]:
        return [each * 2 if each else Reject("zero") for each in body]

    bench = await bench_of(handle)
    replies = make_queue(bench.queue.driver, "replies")
    await replies.driver.declare(replies.spec)
    bench.host.queues["app:replies"] = replies
    for number in (0, 1, 2):
        await bench.queue.publish(number, {REPLY_TO: "app:replies"})
    async with bench:
        await bench.empty()
    found = [replies.decode(each) for each in await replies.peek(10)]
    assert 2 in found
    assert 4 in found
    assert len(found) == 3


async def test_shared_workers_start_a_batch_in_one_place() -> None:
    async def handle(body: list[Any], context: Context) -> None:
        await asyncio.sleep(10)

    bench = await bench_of(handle, concurrency=2, wait=1.0)
    bench.consumer.share = Share(SharedWorkers(1))
    await bench.queue.publish_many(range(7))
    async with bench:
        await asyncio.sleep(5)
        assert (bench.consumer.now.running, bench.consumer.now.held, bench.consumer.now.unsettled) == (1, 7, 0)
        await bench.empty()
    assert bodies(bench) == [[0, 1, 2], [3, 4, 5], [6]]
    assert bench.handler.most_running == 1


@pytest.mark.parametrize(
    ("waiting", "is_due", "sizes"),
    [
        ("", False, []),
        ("", True, []),
        ("..", False, []),
        ("..", True, [2]),
        ("...", False, [3]),
        ("....", False, [3]),
        ("....", True, [3, 1]),
        ("......", True, [3, 3]),
        ("S", False, [1]),
        ("SS", False, [1, 1]),
        (".S", False, [1, 1]),
        ("S.", False, [1]),
        ("S.", True, [1, 1]),
        ("..S..", False, [2, 1]),
        ("..S...", False, [2, 1, 3]),
        ("....SS.", True, [3, 1, 1, 1, 1]),
    ],
)
def test_batches_of_three(waiting: str, is_due: bool, sizes: list[int]) -> None:
    """A dot is a message, S a suspect."""
    assert cut([each == "S" for each in waiting], 3, is_due=is_due) == sizes


ERROR = ValueError("no")


@pytest.mark.parametrize(
    ("result", "results"),
    [
        (None, [None, None]),
        (False, [False, False]),
        ([1, ERROR], [1, ERROR]),
        ((False, None), (False, None)),
    ],
)
def test_each_message_has_its_own(result: Any, results: Any) -> None:
    assert results_of(result, 2) == results


@pytest.mark.parametrize("result", [[], [1], [1, 2, 3]])
def test_a_list_of_another_length_is_an_error_that_names_both(result: list[int]) -> None:
    with pytest.raises(HandlerError, match=f"returned a list of {len(result)} for a batch of 2: return one") as e:
        results_of(result, 2)
    assert e.value.kind == "Invalid"


def test_anything_else_is_a_success_that_answers_no_message() -> None:
    first, second = results_of({"rows": 2}, 2)
    assert type(first) is type(second) is ResultError
    assert "returned dict, not a list" in str(first)
