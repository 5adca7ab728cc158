"""Running: signals drain, hurry, reload and dump; empty queues end it. The signals are real, the time is not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tasuki import App
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, DriverError, LifecycleError, RestartLimitError, StopTimeoutError
from tasuki.supervisor.spec import State
from tests.unit.app.project import DONE, Yaml

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]
seen: list[Any] = []


@pytest.fixture
def busy(make_app: MakeApp) -> App:
    """An app whose handler takes as many seconds as the body says."""
    app = make_app()
    seen.clear()

    @app.queue("tasks", retry={"initial_delay": 1, "jitter": 0}).consumer(lifecycle={"stop_timeout": "60s"})
    async def handle(body: Any) -> None:
        await asyncio.sleep(body)
        seen.append(body)

    return app


async def send(number: int) -> None:
    """Send a signal to this process, but only one that has a handler."""
    assert signal.getsignal(number) not in (signal.SIG_DFL, signal.default_int_handler)
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.01)


@pytest.fixture
async def running(busy: App) -> AsyncIterator[Callable[..., Any]]:
    """Begin to run; returns when all services do."""
    tasks: list[asyncio.Task[None]] = []

    async def run(**options: Any) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(busy.run(**options)))
        while not busy.is_open:
            await asyncio.sleep(0.01)
        await busy._runtime.supervisor.until(lambda states: set(states.values()) == {State.RUNNING})
        return tasks[0]

    yield run
    for task in tasks:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(busy: App, running: Any, number: int) -> None:
    task = await running()
    await busy.publish("tasks", 5)
    await asyncio.sleep(1)
    await send(number)
    await task
    assert seen == [5]
    assert not busy.is_open
    assert busy._runtime.cut_short_by is None


async def test_a_second_signal_cancels_and_hands_back(busy: App, running: Any) -> None:
    task = await running()
    await busy.publish("tasks", 50)
    await asyncio.sleep(1)
    await send(signal.SIGTERM)
    await asyncio.sleep(1)
    assert not task.done()
    os.kill(os.getpid(), signal.SIGINT)
    await send(signal.SIGINT)
    with pytest.raises(StopTimeoutError, match="handlers that still ran after stop_timeout: 1;"):
        await task
    assert asyncio.get_running_loop().time() < 10
    assert busy._runtime.cut_short_by == signal.SIGINT
    assert seen == []


async def test_a_signal_during_the_start(busy: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: MemoryDriver) -> None:
        raise BrokerUnavailableError("away")

    monkeypatch.setattr(MemoryDriver, "open", away)
    task = asyncio.create_task(busy.run())
    await asyncio.sleep(5)
    await send(signal.SIGTERM)
    await task
    assert not busy.is_open


async def test_the_handlers_of_signals_are_taken_away_again(busy: App, running: Any) -> None:
    task = await running()
    assert signal.SIG_DFL not in (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP))
    await send(signal.SIGTERM)
    await task
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == (signal.SIG_DFL, signal.SIG_DFL)


async def test_without_signals_only_a_cancellation_ends_it(busy: App, running: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    task = await running(signals=False)
    assert signal.getsignal(signal.SIGTERM) == before
    await busy.publish("tasks", 5)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen == [5]
    assert not busy.is_open


async def test_quit_tells_what_every_worker_does(busy: App, running: Any, capsys: pytest.CaptureFixture[str]) -> None:
    task = await running()
    await busy.publish("tasks", 50, id="the-message")
    await asyncio.sleep(1)
    await send(signal.SIGQUIT)
    told = capsys.readouterr().err
    assert "app:handle.consumer: running" in told
    assert "app:handle.consumer: 1 running, 1 held" in told
    assert "since the start: delivered 1" in told
    assert "message the-message, attempt 1" in told
    assert "await asyncio.sleep(body)" in told
    assert not task.done()


async def test_hup_reloads_or_says_why_not(
    yaml: Yaml, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    yaml.write()
    app = App.load(yaml.folder, clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]
    with caplog.at_level("INFO", "tasuki.app"):
        task = asyncio.create_task(app.run())
        await asyncio.sleep(1)
        yaml.version("v2")
        yaml.write()
        await send(signal.SIGHUP)
        await app.publish("tasks", 1)
        await asyncio.sleep(1)
        assert DONE == [("v2", 1)]
        assert "reloaded: 0 added, 0 removed, 1 changed" in caplog.text
        yaml.queue = "leese: 5s"
        yaml.write()
        await send(signal.SIGHUP)
        assert "reload refused, the old version goes on: " in caplog.text  # on one line: a log escapes line ends
        assert "leese" in caplog.text

        def broken() -> Any:
            raise ImportError("driver needs: pip install")

        monkeypatch.setattr(app._runtime, "check", broken)
        await send(signal.SIGHUP)
        assert "driver needs: pip install" in caplog.text
        await app.publish("tasks", 2)
        await asyncio.sleep(1)
        assert DONE == [("v2", 1), ("v2", 2)]
        await send(signal.SIGTERM)
        await task


async def test_until_empty_waits_for_what_is_delayed_and_what_runs(busy: App) -> None:
    await busy.open()
    await busy.publish("tasks", 5)
    await busy.publish("tasks", 1, delay=30)
    await busy.run(until_empty=True)
    assert seen == [5, 1]
    assert 31 <= asyncio.get_running_loop().time() < 33


async def test_until_empty_ends_at_a_signal_too(busy: App, running: Any) -> None:
    await busy.open()
    await busy.publish("tasks", 1, delay=3000)
    task = await running(until_empty=True)
    await send(signal.SIGTERM)
    await task
    assert seen == []


async def test_until_empty_does_not_wait_for_a_consumer_that_nobody_starts(make_app: MakeApp) -> None:
    app = make_app()
    seen.clear()

    @app.queue("tasks").consumer()
    @app.queue("never").consumer(lifecycle={"auto_start": False})
    async def handle(body: Any) -> None:
        seen.append(body)

    await app.open()
    await app.publish("tasks", 1)
    await app.publish("never", 2)
    await app.run(until_empty=True, signals=False)
    assert seen == [1]


async def test_a_service_that_gives_up_ends_it(busy: App, running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(self: MemoryDriver, *args: Any) -> Any:
        raise DriverError("gone for good")

    busy.entry(
        "once",
        "queue.consumer",
        queue="tasks",
        func="handle",
        lifecycle={"auto_start": True, "restart": {"max_attempts": 1}},
    )
    for options in ({}, {"until_empty": True}):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryDriver, "receive", gone)
            await busy.open()
            await busy.publish("tasks", 1)
            with pytest.raises(RestartLimitError, match="gone for good"):
                await busy.run(**options)


async def test_a_run_in_which_nothing_will_be_handled_says_why(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(body: Any) -> None: ...

    empty, idle, manual, normal = make_app(), make_app(), make_app(), make_app()
    idle.queue("tasks")
    manual.queue("tasks").consumer(name="later", lifecycle={"auto_start": False})(handle)
    normal.queue("tasks").consumer(handle)
    said = []
    for app in (empty, idle, manual, normal):
        caplog.clear()
        task = asyncio.create_task(app.run(until_empty=True, signals=False))
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.wait([task])
        said.append([record.getMessage() for record in caplog.records if "nothing will be" in record.getMessage()])
    assert "or in YAML a namespace and entries" in said[0][0]
    assert "write '@queue.consumer()' above a function, and import its module in" in said[1][0]
    assert "give app:later lifecycle: {auto_start: true}" in said[2][0]
    assert not said[3]


async def test_within_a_block_an_app_does_not_run(make_app: MakeApp) -> None:
    app = make_app()
    tasks = app.queue("tasks")
    for block in (app, app.worker()):
        async with block:
            with pytest.raises(LifecycleError, match=r"app\.run\(\) closes the app at its end.*outside of the block"):
                await app.run()
            await tasks.publish(1)
