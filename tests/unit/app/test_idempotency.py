"""Work that is done once for a key: by a record in a store, without a database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tasuki import App, Context, Reject, Retry
from tasuki.errors import HandlerError, InvalidEntryError, ProjectError
from tests.unit.app.stores import store_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@dataclass
class Order:
    number: str
    note: str = ""


async def test_a_second_message_of_a_key_gets_the_first_ones_result(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), list[str]()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer(idempotency={"key": "body.number", "ttl": "1h"})
    async def handle(body: Order) -> dict[str, int]:
        seen.append(body.note)
        return {"total": len(seen)}

    async with app.worker():
        first = await jobs.publish({"number": "7", "note": "a"})
        assert await first.result() == {"total": 1}
        second = await jobs.publish({"number": "7", "note": "b"})
        other = await jobs.publish({"number": "8", "note": "c"})
        assert [await second.result(), await other.result()] == [{"total": 1}, {"total": 2}]
        await asyncio.sleep(3605)
        again = await jobs.publish({"number": "7", "note": "d"})
        assert await again.result() == {"total": 3}
    assert seen == ["a", "c", "d"]


async def test_what_is_in_flight_elsewhere_is_postponed_without_an_attempt(make_app: Callable[..., App]) -> None:
    app, gate, seen = make_app(), asyncio.Event(), list[tuple[int, int]]()
    jobs = app.queue("jobs", result="1h")

    @jobs.consumer(idempotency="header.order", concurrency=2)
    async def handle(body: int, context: Context) -> int:
        seen.append((body, context.attempt))
        await gate.wait()
        return body

    async with app.worker():
        jobs_of = [await jobs.publish(number, {"order": "x"}) for number in (1, 2)]
        await asyncio.sleep(100)  # longer than the lease: the claim is renewed
        assert seen == [(1, 1)]
        gate.set()
        assert [await job.result() for job in jobs_of] == [1, 1]
    assert seen == [(1, 1)]


async def test_what_failed_is_done_again(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), list[int]()
    app.queue("dead")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 5}, retry={"initial_delay": "10ms"})

    @jobs.consumer(idempotency="header.order")
    async def handle(body: int, context: Context) -> Any:
        seen.append(context.attempt)
        if context.attempt == 1:
            raise ValueError("not yet")
        if context.attempt == 2:
            raise Retry(after="1s")
        if context.attempt == 3:
            return False
        if context.attempt == 4:
            context.nack("1s")
        return None

    async with app.worker():
        await jobs.publish(1, {"order": "x"})
        await asyncio.sleep(60)
        await jobs.publish(2, {"order": "x"})
        await asyncio.sleep(10)
    assert seen == [1, 2, 3, 4, 5]


async def test_a_message_without_its_key_is_given_up(
    make_app: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    app, seen = make_app(), list[int]()
    app.queue("dead")
    jobs = app.queue("jobs", dead_letter="dead")

    @jobs.consumer(idempotency="body.order.id")
    async def handle(body: dict[str, Any]) -> None:
        seen.append(body["order"]["id"])

    async with app.worker():
        for body in ({"order": {"id": 1}}, {}, {"order": {"id": [1]}}, {"order": {"id": "x" * 256}}):
            await jobs.publish(body)
        await asyncio.sleep(10)
    assert seen == [1]
    assert "(not_retryable): the message has no body.order.id, which is its idempotency key" in caplog.text
    assert "body.order.id is list, which is no key" in caplog.text
    assert "1 to 255 printable characters" in caplog.text


async def test_tasks_have_keys_of_their_own(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), list[str]()
    jobs = app.queue("jobs")

    @jobs.task(idempotency="body.order")
    async def charge(order: str) -> None:
        seen.append(f"charge {order}")

    @jobs.task(idempotency={"key": "body.order", "ttl": "1h"})
    async def ship(order: str) -> None:
        seen.append(f"ship {order}")

    @jobs.task
    async def mail(order: str) -> None:
        seen.append(f"mail {order}")

    async with app.worker():
        for _ in range(2):
            for task in (charge, ship, mail):
                await task.publish("a")
        await asyncio.sleep(10)
    assert sorted(seen) == ["charge a", "mail a", "mail a", "ship a"]


async def test_a_result_that_the_queue_cannot_carry_is_not_remembered(
    make_app: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    app, seen = make_app(), list[int]()
    jobs = app.queue("jobs")

    @jobs.consumer(idempotency="header.order")
    async def handle(body: int) -> object:
        seen.append(body)
        return object()

    async with app.worker():
        with caplog.at_level(logging.WARNING, "tasuki.consumer"):
            for number in (1, 2):
                await jobs.publish(number, {"order": "x"})
                await asyncio.sleep(5)
    assert seen == [1]
    assert "cannot be remembered for the idempotency key: " in caplog.text


async def test_a_dead_workers_claim_is_taken_over_by_its_own_message(make_app: Callable[..., App]) -> None:
    from tasuki.consumers.handling.idempotency import OnceRecord, encode

    app, seen = make_app(), list[str]()
    jobs = app.queue("jobs")

    @jobs.consumer(idempotency="header.order")
    async def handle(body: str) -> None:
        seen.append(body)

    async with app.worker():
        store = await store_of(app)
        for order, message in (("x", "mine"), ("y", "another's")):
            place = f"once/{app._runtime.queue('jobs').spec.name}/app:handle.consumer//{order}"
            await store.put(place, encode(OnceRecord("dead", message)), ttl=30.0)
        await jobs.publish("x", {"order": "x"}, id="mine")
        await jobs.publish("y", {"order": "y"}, id="not mine")
        await asyncio.sleep(20)
        assert seen == ["x"]
        await asyncio.sleep(20)
    assert seen == ["x", "y"]


def test_what_check_refuses() -> None:
    def problem(**options: Any) -> str:
        app = App("memory://")
        queue = app.queue("jobs")

        @queue.consumer(**options)
        async def handle(body: Any) -> None: ...

        with pytest.raises((ProjectError, InvalidEntryError)) as caught:
            app.check()
        return str(caught.value)

    assert "does not arrive with it" in problem(idempotency="key")
    assert "'order' names no value of a message" in problem(idempotency="order")
    assert "remove batch" in problem(idempotency="id", batch={"size": 2})
    assert "auto_ack acks before the work is done" in problem(idempotency="id", auto_ack=True)


def test_a_queue_without_a_state_is_refused() -> None:
    app = App("amqp://localhost")
    queue = app.queue("jobs")

    @queue.consumer(idempotency="id")
    async def handle(body: Any) -> None: ...

    with pytest.raises(ProjectError, match="idempotency needs a state, and queue 'app:jobs' has none"):
        app.check()


async def test_a_reject_frees_the_key(make_app: Callable[..., App]) -> None:
    app, seen = make_app(), list[int]()
    app.queue("dead")
    jobs = app.queue("jobs", dead_letter="dead")

    @jobs.consumer(idempotency="header.order")
    async def handle(body: int) -> None:
        seen.append(body)
        if body == 1:
            raise Reject("no")

    async with app.worker():
        for number in (1, 2, 3):
            await jobs.publish(number, {"order": "x"})
            await asyncio.sleep(5)
    assert seen == [1, 2]


def test_a_record_of_another_version_is_told() -> None:
    from tasuki.consumers.handling.idempotency import decode

    with pytest.raises(HandlerError, match="another version"):
        decode(b"\xc1")
