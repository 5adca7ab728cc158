from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    HandlerError,
    HandlerNotFoundError,
    LifecycleError,
    ProjectError,
    QueueNotFoundError,
    TasukiError,
)
from tasuki.supervisor.spec import State
from tasuki.testing.clock import VirtualTimeLoop

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> list[DriverError]:
    """The errors of the next opens of a memory driver."""
    errors: list[DriverError] = []
    real = MemoryDriver.open

    async def open_or_fail(self: MemoryDriver) -> None:
        if errors:
            raise errors.pop(0)
        await real(self)

    monkeypatch.setattr(MemoryDriver, "open", open_or_fail)
    return errors


async def test_works_within_its_block_and_drains_at_the_end(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.queue("tasks")
    seen: list[Any] = []

    @queue.consumer(concurrency=2)
    async def handle(body: Any) -> None:
        await asyncio.sleep(1)
        seen.append(body)

    async with app.worker():
        await app.publish("tasks", 1, {"h": 1})
        await asyncio.sleep(0.5)
        assert app.is_open
        assert app._runtime.supervisor.states()["app:handle.consumer"].state is State.RUNNING
    assert seen == [1]
    assert not app.is_open


async def test_opening_and_closing_twice_and_again(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.queue("tasks")
    await app.close()
    for _ in range(3):
        await app.open()
        await app.open()
        await queue.publish(1)
        await app.close()
        await app.close()


async def test_two_tasks_that_open_it_at_once(make_app: MakeApp, broker: list[DriverError]) -> None:
    app = make_app()
    queue = app.queue("tasks")

    async def use() -> None:
        await app.open()
        await queue.publish(1)

    await asyncio.gather(use(), use())
    assert (await queue.depth()).ready == 2


async def test_who_waits_for_an_open_that_fails_tries_itself(make_app: MakeApp, broker: list[DriverError]) -> None:
    app = make_app()
    app.queue("tasks")
    broker.append(DriverError("refused for good"))
    results = await asyncio.gather(app.open(), app.open(), return_exceptions=True)
    assert [type(result) for result in results] == [LifecycleError, type(None)]
    assert app.is_open


async def test_a_project_that_is_not_good_opens_nothing(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("tasks", leese="30s")  # type: ignore[call-arg]  # the mistake
    with pytest.raises(ProjectError, match="leese"):
        await app.open()
    assert not app.is_open
    with pytest.raises(ProjectError):
        async with app.worker():
            raise AssertionError


async def test_a_broker_that_is_away_is_waited_for_in_the_background(
    make_app: MakeApp, broker: list[DriverError]
) -> None:
    app = make_app()
    queue = app.queue("tasks")
    broker += [BrokerUnavailableError("away")] * 5
    async with app:
        with pytest.raises(BrokerUnavailableError):
            await queue.publish(1, publish_timeout=1)
        await app._runtime.supervisor.until(lambda states: states["app:driver"] is State.RUNNING)
        await queue.publish(1)
    assert 5 < asyncio.get_running_loop().time() < 10, "five attempts, two seconds apart at most"


async def test_of_two_brokers_one_is_away(make_app: MakeApp, broker: list[DriverError]) -> None:
    app = make_app()
    app.queue("tasks")
    app.queue("others", driver=app.entry("other", "queue.driver.memory"))
    broker.append(BrokerUnavailableError("away"))
    async with app:
        states = {status.state for status in app._runtime.supervisor.states().values()}
        assert states == {State.RUNNING, State.FAILED}


async def test_a_driver_that_cannot_be_opened_at_all(make_app: MakeApp, broker: list[DriverError]) -> None:
    app = make_app()
    app.queue("tasks")
    broker.append(DriverError("refused for good"))
    with pytest.raises(LifecycleError, match="refused for good"):
        await app.open()
    assert not app.is_open


async def test_an_open_that_is_cancelled_leaves_nothing_open(make_app: MakeApp, monkeypatch: Any) -> None:
    async def hang(self: MemoryDriver) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(MemoryDriver, "open", hang)
    app = make_app()
    app.queue("tasks")
    opening = asyncio.create_task(app.open())
    await asyncio.sleep(1)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert not app.is_open
    assert not [task for task in asyncio.all_tasks() if "open" in task.get_name()]


async def test_a_close_while_it_opens(make_app: MakeApp, monkeypatch: Any) -> None:
    async def slow(self: MemoryDriver) -> None:
        await asyncio.sleep(5)

    monkeypatch.setattr(MemoryDriver, "open", slow)
    app = make_app()
    app.queue("tasks")
    opening = asyncio.create_task(app.open())
    await asyncio.sleep(1)
    await app.close()
    with pytest.raises(LifecycleError, match="all services were stopped"):
        await opening
    assert not app.is_open


async def test_a_handler_that_does_not_load_stops_the_start(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.entry("tasks", "queue.queue", driver=app.entry("d", "queue.driver.memory"))
    function = app.entry("f", "function.python", target="no_such_module:f")
    app.entry("c", "queue.consumer", queue=queue, func=function, lifecycle={"auto_start": True})
    with pytest.raises(LifecycleError, match="no_such_module"):
        await app.start()
    await app.close()


def run_in_new_loop(work: Any) -> Any:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


def test_another_event_loop(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    queue = app.queue("tasks")
    with asyncio.Runner() as runner:
        runner.run(app.open())
        with pytest.raises(LifecycleError, match="open in another event loop"):
            run_in_new_loop(app.open())

    async def again() -> int:
        async with app:
            await queue.publish(1)
            return (await queue.depth()).ready

    # The loop that it was open in is closed, and took everything with it.
    assert asyncio.run(again()) == 1
    assert asyncio.run(again()) == 1


async def test_functions_are_called_and_call_each_other(make_app: MakeApp) -> None:
    from tasuki import Context

    app = make_app()
    queue = app.queue("tasks")

    @app.function()
    async def double(number: int) -> int:
        return 2 * number

    @app.function()
    async def outer(number: int, context: Context) -> Any:
        await context.publish("tasks", number)
        assert (await context.queues.info("tasks"))["ready"] == 1
        with pytest.raises(HandlerError, match="resource 'app:store' is not defined"):
            context.project.resource("store")
        assert context.project.env("NOTHING") is None
        return await context.call("double", number)

    async with app:
        assert await app.call("outer", 4) == 8
        assert (await queue.depth()).ready == 1
        with pytest.raises(
            HandlerNotFoundError, match="function 'app:doble' is not defined; did you mean 'app:double'"
        ):
            await app.call("doble", 1)
        with pytest.raises(QueueNotFoundError, match="queue 'app:task' is not defined; did you mean 'app:tasks'"):
            app._runtime.queue("task")
    with pytest.raises(LifecycleError):
        await app.call("outer", 1)


async def test_a_lifespan_for_web_frameworks(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.queue("tasks")
    seen: list[Any] = []

    @queue.consumer()
    async def handle(body: Any) -> None:
        seen.append(body)

    async with app.lifespan()(None):
        await queue.publish(1)
        await asyncio.sleep(1)
    assert seen == []
    async with app.lifespan(consume=True)(None):
        await queue.publish(2)
        await asyncio.sleep(1)
    assert seen == [2]


async def test_a_block_within_a_lifespan_or_a_run_leaves_the_app_open(make_app: MakeApp) -> None:
    app = make_app()
    queue = app.queue("tasks")
    seen: list[Any] = []

    async def publish(body: str) -> None:
        async with app:
            await queue.publish(body)

    @queue.consumer(concurrency=2)
    async def handle(body: str) -> None:
        if body == "first":
            await publish("second")
        seen.append(body)

    async with app.lifespan()(None):
        await asyncio.gather(publish("first"), publish("other"))
        assert app.is_open
    assert not app.is_open
    async with app.lifespan(consume=True)(None):
        await publish("first")
        await asyncio.sleep(1)
        assert sorted(seen) == ["first", "second"]
    seen.clear()
    running = asyncio.create_task(app.run(signals=False))
    await asyncio.sleep(1)
    await publish("first")
    await asyncio.sleep(1)
    assert sorted(seen) == ["first", "second"]
    assert not running.done()
    app.drain()
    await running
    assert not app.is_open


def test_loading_an_app_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_app_module.py").write_text("from tasuki import App\napp = App('memory://')\nother = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    app = App.load("my_app_module:app", overrides=["app:tasks:max_length=5"])
    assert app is sys.modules["my_app_module"].app
    assert app._runtime.overrides == ["app:tasks:max_length=5"]
    for target, problem in (
        ("my_app_module:other", "is a int, not a tasuki.App"),
        ("my_app_module:nothing", "cannot load"),
        ("no_such_module:app", "a target is a folder, or package.module:app"),
        (":app", "it names no module; a target is a folder, or package.module:app"),
    ):
        with pytest.raises(TasukiError, match=problem):
            App.load(target)


def test_loading_a_folder_or_a_file(tmp_path: Path) -> None:
    text = "version: '1.0'\nnamespace: app\nentries:\n  - {name: driver, kind: queue.driver.memory}\n"
    (tmp_path / "_index.yaml").write_text(text)
    for target in (tmp_path, tmp_path / "_index.yaml"):
        app = App.load(target)
        assert app._runtime.root == tmp_path
        assert list(app.check().configs) == ["app:driver"]
        assert app.queue("tasks").id == "app:tasks"
        assert list(app.check().configs) == ["app:driver"]
