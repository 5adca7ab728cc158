"""Batches of an app: declared in code and in YAML, checked, handled by Python and Lua."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tasuki import App, Context, Handle, Message, Observer, Reject
from tasuki.contracts.context import Facts
from tasuki.errors import BodyTypeError, ProjectError
from tasuki.message import DEAD_LETTER_REASON

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


@dataclass
class Row:
    number: int


async def dead_letters(app: App, queue: str) -> dict[Any, Any]:
    """Body → reason."""
    live = app._runtime.queue(queue)
    return {str(live.decode(each)): each.headers[DEAD_LETTER_REASON] for each in await live.peek(100)}


async def test_a_typed_batch_in_code(make_app: Make) -> None:
    app = make_app()
    rows = app.queue("rows", dead_letter="rows.dead")
    seen: list[Any] = []

    @rows.consumer(batch={"size": 3, "wait": "1s"})
    async def insert(rows: list[Row], messages: list[Message], context: Context) -> list[Any]:
        seen.append((rows, [message.headers["n"] for message in messages], len(context.batch)))
        return [Reject("odd") if row.number % 2 else None for row in rows]

    await app.start()
    for number in range(4):
        await rows.publish(Row(number), {"n": number})
    await asyncio.sleep(10)
    assert seen == [([Row(0), Row(1), Row(2)], [0, 1, 2], 3), ([Row(3)], [3], 1)]
    assert await dead_letters(app, "app:rows.dead") == {
        "{'number': 1}": "rejected",
        "{'number': 3}": "rejected",
    }


async def test_the_queue_takes_the_items_of_the_list(make_app: Make) -> None:
    app = make_app()
    rows = app.queue("rows")

    @rows.consumer(batch={"size": 2})
    def insert(rows: list[Row]) -> None: ...

    await app.start()
    await rows.publish(Row(1))
    with pytest.raises(BodyTypeError):
        await rows.publish([Row(1)])


async def test_bodies_that_do_not_fit_are_dead_lettered_alone(make_app: Make) -> None:
    app = make_app(namespace="shop")
    rows = app.queue("rows", dead_letter="rows.dead")
    app.entry("insert", "function.python", target=f"{__name__}:insert")
    app.entry("inserts", "queue.consumer", queue="rows", func="insert", batch={"size": 2, "wait": "1s"},
              lifecycle={"auto_start": True})  # fmt: skip
    await app.start()
    inserted.clear()
    for body in ({"number": 1}, {"number": "two"}, {"number": 3}):
        await rows.publish(body)
    await asyncio.sleep(10)
    assert inserted == [[Row(1)], [Row(3)]]
    assert await dead_letters(app, "shop:rows.dead") == {"{'number': 'two'}": "invalid"}


inserted: list[list[Row]] = []


async def insert(rows: list[Row]) -> None:
    inserted.append(rows)


async def test_the_default_prefetch_holds_one_batch_more_than_run(make_app: Make) -> None:
    app = make_app()
    rows = app.queue("rows")
    for name, fields in {"a": {}, "b": {"concurrency": 3}, "c": {"prefetch": 10}, "d": {"concurrency": 200}}.items():
        rows.consumer(name=name, batch={"size": 10}, **fields)(insert)  # type: ignore[call-overload]
    await app.start()
    assert app._runtime.assembly is not None
    held = {id: consumer.options.prefetch for id, consumer in app._runtime.assembly.consumers.items()}
    assert held == {"app:a": 20, "app:b": 40, "app:c": 10, "app:d": 2010}


def problems(app: App) -> list[str]:
    with pytest.raises(ProjectError) as refused:
        app.check()
    return [str(error) for error in refused.value.errors]


async def test_the_check_reports_what_no_batch_can_be(make_app: Make) -> None:
    app = make_app()
    rows = app.queue("rows")

    def many(rows: list[Row]) -> None: ...

    rows.consumer(name="narrow", batch={"size": 20}, prefetch=10)(many)
    rows.consumer(name="large", batch={"size": 1001})(many)
    found = "\n".join(problems(app))
    assert "a batch of 20 is never full with prefetch 10; raise prefetch to 20 at least, or lower size" in found
    assert "batch.size 1001 exceeds maximum 1000" in found
    assert len(problems(app)) == 2


async def test_the_check_reports_functions_that_are_called_in_two_ways(make_app: Make) -> None:
    app = make_app()

    def many(rows: list[Row]) -> None: ...

    app.queue("rows").consumer(batch={"size": 2})(many)
    app.queue("lists").consumer(many)
    app.entry("alone", "function.python", target="tasks:handle", isolation="process")
    app.entry("alone.consumer", "queue.consumer", queue="rows", func="alone", batch={"size": 2})
    two, isolated = [each for each in problems(app) if "function 'app:" in each]
    assert "function 'app:alone' has isolation: process, and takes messages one by one" in f"{two}{isolated}"
    assert "'app:many' is a func here, and a batch of 'app:many.consumer'" in f"{two}{isolated}"


async def test_tasks_are_never_batches(make_app: Make) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    jobs.task_consumer(batch={"size": 2})
    jobs.task(name="send")(lambda: None)
    (text,) = problems(app)
    assert "tasks are called one by one" in text


async def test_middleware_has_the_batch_and_observers_each_message(make_app: Make) -> None:
    app = make_app()
    rows = app.queue("rows", dead_letter={"queue": "rows.dead", "max_attempts": 1})
    seen: list[Any] = []

    class Watching(Observer):
        def on_start(self, facts: Facts) -> None:
            assert facts.message is not None
            seen.append(("start", facts.message.headers["n"]))

        def on_end(self, facts: Facts, seconds: float, error: BaseException | None) -> None:
            seen.append(("end", facts.attempt, error))

    @app.middleware
    async def around(body: Any, context: Context, handle: Handle) -> Any:
        seen.append((body, len(context.batch)))
        return await handle(body, context)

    error = ValueError("two")

    @rows.consumer(batch={"size": 2}, middleware=["around"])
    async def take(numbers: list[int]) -> Any:
        if numbers[0] == 3:
            raise error
        return [None, error]

    app.observers.append(Watching())
    await app.start()
    for number in (1, 2, 3):
        await rows.publish(number, {"n": number})
    await asyncio.sleep(10)
    assert seen == [
        ("start", 1), ("start", 2), ([1, 2], 2), ("end", 1, None), ("end", 1, error),
        ("start", 3), ([3], 1), ("end", 1, error),
    ]  # fmt: skip


async def test_a_called_function_is_in_the_batch_of_its_caller(make_app: Make) -> None:
    app = make_app()
    rows = app.queue("rows")
    source = 'return function() return #require("queue").messages() end'
    app.entry("count", "function.lua", source=source, modules=["queue"])
    counts: list[Any] = []

    @rows.consumer(batch={"size": 2})
    async def take(numbers: list[int], context: Context) -> None:
        counts.append(await context.call("count"))

    await app.start()
    await rows.publish_many([1, 2])
    await asyncio.sleep(1)
    assert counts == [2]
