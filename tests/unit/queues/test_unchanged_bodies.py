"""A body that its codec would change is refused when it is published; what a type reads as it was is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tasuki import App, Envelope, QueueHandle
from tasuki.errors import CodecError
from tasuki.queues.result import Rejected

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
CHANGED: list[Any] = [{1: 2}, {"a": {1, 2}}, {"n": Decimal("1.5")}, {"at": NOW}, {"raw": b"x"}, [NOW], {1}, NOW]


@dataclass
class Order:
    at: datetime
    price: Decimal
    tags: set[str] = field(default_factory=set)
    by_shop: dict[int, int] = field(default_factory=dict)


ORDER = Order(NOW, Decimal("1.50"), {"new"}, {1: 2})


def app_with(queue: str = "jobs", body: Any = None, **fields: Any) -> tuple[App, QueueHandle[Any]]:
    app = App("memory://")
    return app, app.queue(queue, body, **fields)


@pytest.mark.parametrize("body", CHANGED, ids=repr)
async def test_a_body_that_json_would_change_is_refused(body: Any) -> None:
    app, jobs = app_with()
    async with app:
        with pytest.raises(CodecError, match=r"unchanged: body.* (is an?|has the key) "):
            await jobs.publish(body)
        results = await jobs.publish_many([body, {"fine": 1}, Envelope(body=body)])
        assert [type(each).__name__ for each in results] == ["Rejected", "Confirmed", "Rejected"]
        assert isinstance(results[0], Rejected)
        assert isinstance(results[0].error, CodecError)
        assert (await jobs.depth()).ready == 1


@pytest.mark.parametrize("annotation", [dict, dict[str, Any], list, list[dict[str, Any]], Any])
async def test_a_type_of_any_values_changes_nothing_about_that(annotation: Any) -> None:
    app, jobs = app_with()

    async def work(body: Any) -> None: ...

    work.__annotations__["body"] = annotation
    jobs.consumer(work)
    body: Any = [{"at": NOW}] if annotation in (list, list[dict[str, Any]]) else {"at": NOW}
    async with app:
        with pytest.raises(CodecError, match="is a datetime"):
            await jobs.publish(body)


@pytest.mark.parametrize("body", [{1: 2, "raw": b"x"}, {"at": NOW}, [True, None, 1.5]], ids=repr)
async def test_message_pack_keeps_numbers_as_keys_and_bytes_and_times(body: Any) -> None:
    app, jobs = app_with(codec="msgpack")
    async with app:
        await jobs.publish(body)
        (message,) = await jobs.peek()
        assert app._runtime.queue(jobs).decode(message) == body
        with pytest.raises(CodecError, match=r"body\['n'\] is a Decimal, which MessagePack carries as a text"):
            await jobs.publish({"n": Decimal(1)})


async def test_a_typed_body_keeps_its_types() -> None:
    app, jobs = app_with(body=Order)
    got: list[Order] = []

    @jobs.consumer
    async def work(order: Order) -> None:
        got.append(order)

    async with app.worker():
        await jobs.publish(ORDER)
        await jobs.publish_many([ORDER, Envelope(body=ORDER)])
        await jobs.publish({"at": NOW, "price": Decimal("1.50"), "tags": {"new"}, "by_shop": {1: 2}})
        await asyncio.sleep(5)
    assert got == [ORDER] * 4


async def test_arguments_of_a_task_keep_their_types() -> None:
    app, jobs = app_with()
    got: list[Any] = []

    @jobs.task
    async def work(at: datetime, order: Order, rest=None) -> None:  # type: ignore[no-untyped-def]
        got.append((at, order, rest))

    async with app.worker():
        await work.publish(NOW, ORDER, rest=[1])
        await jobs.publish_many([work.message(NOW, ORDER)])
        with pytest.raises(CodecError, match=r"body\['rest'\] is a datetime"):
            await work.publish(NOW, ORDER, rest=NOW)
        await asyncio.sleep(5)
    assert got == [(NOW, ORDER, [1]), (NOW, ORDER, None)]


async def test_what_follows_is_sent_as_it_was_checked() -> None:
    app = App("memory://")
    jobs, orders, raw = app.queue("jobs"), app.queue("orders", Order), app.queue("raw")
    got: list[Any] = []

    @jobs.task
    async def first() -> dict[str, Any]:
        return {"at": NOW}

    @jobs.task
    async def then(at: datetime) -> None:
        got.append(at)

    @orders.consumer
    async def take(order: Order) -> None:
        got.append(order)

    async with app.worker():
        await app.group([first.message()], then=then.message(NOW))
        await first.with_options(then=orders.message(ORDER)).publish()
        with pytest.raises(CodecError, match="is a datetime"):
            await app.group([first.message()], then=raw.message({"at": NOW}))
        await asyncio.sleep(5)
    assert sorted(map(repr, got)) == sorted(map(repr, [NOW, ORDER]))
