"""Functions around handlers and publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Confirmed, Context, Envelope, Handle, Publish, Reject, Rejected
from tasuki.errors import HandlerError, LifecycleError, ProjectError, PublishError
from tasuki.message import PARTITION_KEY

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


async def settled(app: App, queue: str) -> None:
    while (await app._runtime.queue(queue).info())["message_count"]:
        await asyncio.sleep(0.01)


async def test_the_first_is_the_outermost(make_app: MakeApp) -> None:
    app = make_app()
    seen: list[tuple[str, Any, object]] = []

    @app.middleware
    async def outer(body: Any, context: Context, handle: Handle) -> Any:
        seen.append(("outer", body, context.attempt))
        result = await handle({**body, "outer": True}, context)
        seen.append(("outer", result, context.queue))
        return result

    @app.middleware
    async def inner(body: Any, context: Context, handle: Handle) -> Any:
        seen.append(("inner", body, context.attempt))
        return await handle(body, context)

    queue = app.queue("tasks")

    @queue.consumer(middleware=["outer", "inner"])
    async def handle(body: dict[str, Any]) -> str:
        seen.append(("handler", body, 1))
        return "done"

    async with app.worker():
        assert await queue.request({"n": 1}) == "done"
    body = {"n": 1, "outer": True}
    assert seen == [
        ("outer", {"n": 1}, 1), ("inner", body, 1), ("handler", body, 1), ("outer", "done", "app:tasks"),
    ]  # fmt: skip


async def test_it_may_end_a_message_without_the_handler(make_app: MakeApp) -> None:
    app, handled = make_app(), []

    @app.middleware
    async def checked(body: Any, context: Context, handle: Handle) -> Any:
        if body == "bad":
            raise Reject("no")
        return None if body == "skip" else await handle(body, context)

    queue, dead = app.queue("tasks", dead_letter="dead"), app.queue("dead")

    @queue.consumer(middleware=["checked"])
    async def handle(body: str) -> None:
        handled.append(body)

    async with app.worker():
        await queue.publish_many(["bad", "skip", "good"])
        await settled(app, "tasks")
        (letter,) = await dead.peek()
        assert letter.headers["x_dead_letter_reason"] == "rejected"
    assert handled == ["good"]


async def test_an_error_of_its_own_is_a_failure_of_the_handler(make_app: MakeApp) -> None:
    app, attempts = make_app(), []

    @app.middleware
    async def broken(body: Any, context: Context, handle: Handle) -> Any:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise ValueError("boom")
        return await handle(body, context)

    queue = app.queue("tasks")

    @queue.consumer(middleware=["broken"])
    async def handle(body: str) -> None: ...

    async with app.worker():
        await queue.publish("x")
        await settled(app, "tasks")
    assert attempts == [1, 2]


async def test_a_publish_may_be_changed_or_refused(make_app: MakeApp) -> None:
    app = make_app()

    @app.middleware
    async def stamped(envelope: Envelope[Any], publish: Publish) -> Confirmed:
        if envelope.body == "bad":
            raise PublishError("not this one")
        envelope.headers = {**(envelope.headers or {}), "origin": "shop"}
        envelope.body = {"wrapped": envelope.body}
        confirmed = await publish(envelope)
        assert type(confirmed) is Confirmed
        return confirmed

    queue = app.queue("tasks", middleware=["stamped"])
    async with app:
        assert (await queue.publish("one", {"a": 1}, id="m-1")).id == "m-1"
        with pytest.raises(PublishError, match="not this one"):
            await queue.publish("bad")
        mine = Envelope(body="three", key="k", id="m-3")
        results = await queue.publish_many(["two", "bad", mine])
        assert (mine.body, mine.headers) == ("three", None)
        assert [type(result) for result in results] == [Confirmed, Rejected, Confirmed]
        one, two, three = await queue.peek()
    assert [one.id, three.id, three.headers[PARTITION_KEY]] == ["m-1", "m-3", "k"]
    assert [m.body for m in (one, two, three)] == [b'{"wrapped":"one"}', b'{"wrapped":"two"}', b'{"wrapped":"three"}']
    assert (one.headers["a"], two.headers["origin"]) == (1, "shop")


async def test_another_error_of_a_batch_is_raised_when_all_are_decided(make_app: MakeApp) -> None:
    app = make_app()

    @app.middleware
    async def broken(envelope: Envelope[Any], publish: Publish) -> Confirmed:
        if envelope.body == 1:
            raise ZeroDivisionError
        return await publish(envelope)

    queue = app.queue("tasks", middleware=["broken"])
    async with app:
        with pytest.raises(ZeroDivisionError):
            await queue.publish_many([1, 2, 3])
        assert (await queue.info())["message_count"] == 2


class Doubling:
    """A middleware with settings of its own."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def __call__(self, body: int, context: Context, handle: Handle) -> Any:
        return await handle(body * self.factor, context)


async def test_it_may_be_an_object_whose_call_is_async(make_app: MakeApp) -> None:
    app = make_app()
    app.middleware(Doubling(2))
    queue, seen = app.queue("tasks"), list[int]()

    @queue.consumer(middleware=["Doubling"])
    async def handle(body: int) -> None:
        seen.append(body)

    async with app.worker():
        await queue.publish(21)
        await settled(app, "tasks")
    assert seen == [42]


async def test_one_that_is_imported_must_be_async_too(make_app: MakeApp) -> None:
    app = make_app()
    app.entry("plain", "middleware.python", target="os.path:join")
    queue = app.queue("tasks", middleware=["plain"])
    async with app:
        with pytest.raises(HandlerError, match="middleware 'app:plain' is not an async function"):
            await queue.publish(1)

    @queue.consumer(middleware=["plain"])
    async def handle(body: Any) -> None: ...

    with pytest.raises(LifecycleError, match="middleware 'app:plain' is not an async function"):
        await app.start()
    await app.close()


@pytest.mark.parametrize(("name", "problem"), [("handle", "handle"), ("timd", "timed")])
async def test_only_a_declared_middleware_can_be_named(make_app: MakeApp, name: str, problem: str) -> None:
    app = make_app()

    @app.middleware
    async def timed(body: Any, context: Context, handle: Handle) -> Any: ...

    @app.queue("tasks").consumer(middleware=[name])
    async def handle(body: Any) -> None: ...

    with pytest.raises(ProjectError, match=problem):
        app.check()


async def test_a_consumer_without_any_calls_its_handler_itself(make_app: MakeApp) -> None:
    app = make_app()

    @app.queue("tasks").consumer
    async def handle(body: Any) -> None: ...

    async with app.worker():
        assert app._runtime.assembly is not None
        (consumer,) = app._runtime.assembly.consumers.values()
        assert consumer.run is not None
        callee = consumer.run.executor._callee
        assert callee is not None
        assert callee.handle == consumer.handler.handle
        assert app._runtime.assembly.queues["app:tasks"]._through is None


PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: local, kind: queue.driver.memory}
  - {name: stamped, kind: middleware.python, source: file://around.py, method: stamped}
  - {name: counted, kind: middleware.python, source: file://around.py, method: counted}
  - {name: tasks, kind: queue.queue, driver: local, middleware: [stamped]}
  - {name: handle, kind: function.python, source: file://around.py, method: handle}
  - name: worker
    kind: queue.consumer
    queue: tasks
    func: handle
    middleware: [counted]
    lifecycle: {auto_start: true}
"""

CODE = """
async def stamped(envelope, publish):
    envelope.body = [*envelope.body, "published VERSION"]
    return await publish(envelope)

async def counted(body, context, handle):
    return await handle([*body, "consumed VERSION"], context)

async def handle(body):
    return body
"""


async def test_a_changed_source_takes_its_place_in_a_running_app(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(PROJECT)
    (tmp_path / "around.py").write_text(CODE.replace("VERSION", "1"))
    app = App.load(tmp_path)
    async with app.worker():
        assert await app.request("app:tasks", []) == ["published 1", "consumed 1"]
        (tmp_path / "around.py").write_text(CODE.replace("VERSION", "2"))
        await app.reload()
        assert await app.request("app:tasks", []) == ["published 2", "consumed 2"]
