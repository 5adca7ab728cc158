"""When a worker is not live, not ready or warned: what its health file says."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.health.health import Pulse
from tasuki.app.health.health_file import PERIOD
from tasuki.app.health.judge import PATIENCE
from tasuki.contracts.driver import Depth, Received
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, StopTimeoutError
from tasuki.system.helper_threads import HelperThread
from tests.unit.app.pulse import consuming, document, pulsing

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True

MakeApp = Callable[..., App]


@pytest.fixture
def app(make_app: MakeApp) -> App:
    return consuming(make_app)


def age(file: Path) -> float:
    return file.stat().st_mtime


async def test_a_consumer_that_stands_still_is_not_live(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing_comes(self: MemoryDriver, queue: str, limit: int, wait: float) -> list[Received]:
        await asyncio.sleep(min(wait, PERIOD))
        return []

    file = tmp_path / "alive"
    monkeypatch.setattr(MemoryDriver, "receive", nothing_comes)
    async with pulsing(app, file):
        await app.publish("tasks", 1)
        await asyncio.sleep(PERIOD)
        assert document(file)["live"]
        live_at = age(file)
        await asyncio.sleep(PERIOD * (PATIENCE + 1))
        told = document(file)
        why = "app:handle.consumer: no progress although messages are ready and a worker is free"
        assert (told["live"], told["ready"], told["why"]) == (False, False, {"live": [why], "ready": [why]})
        assert age(file) < told["time"] - PERIOD  # as old as the last time that it was live
        old = age(file)
        assert old - live_at < PERIOD * PATIENCE
        assert f"messages do not move: {why}" in caplog.text
        monkeypatch.undo()
        await asyncio.sleep(PERIOD * 3)
        assert document(file)["live"]
        assert age(file) > old
        assert "messages move again" in caplog.text


async def test_long_handlers_on_all_workers_are_no_standstill(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()

    @app.queue("tasks").consumer(prefetch=4)
    async def handle(body: Any) -> None:
        await asyncio.sleep(1000)

    async with pulsing(app, tmp_path / "alive"):
        for number in range(10):
            await app.publish("tasks", number)
        for _ in range(PATIENCE * 3):
            await asyncio.sleep(PERIOD)
            assert document(tmp_path / "alive")["ready"]
        with pytest.raises(StopTimeoutError):
            await app.close(0)


async def test_a_broker_that_is_away_is_no_reason_to_restart(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: MemoryDriver, queue: str, *rest: Any) -> Any:
        raise BrokerUnavailableError("away")

    file = tmp_path / "alive"
    async with pulsing(app, file):
        assert document(file)["ready"]
        for verb in ("depth", "receive"):
            monkeypatch.setattr(MemoryDriver, verb, away)
        await asyncio.sleep(PERIOD * 10)
        told = document(file)
        assert (told["live"], told["ready"]) == (True, False)
        assert told["why"]["ready"] == ["app:handle.consumer: it cannot receive: away"]
        monkeypatch.undo()
        await asyncio.sleep(PERIOD * 3)
        assert document(file)["ready"]


@pytest.mark.parametrize("is_told", [True, False], ids=["timeouts", "nothing"])
async def test_a_broker_that_answers_nothing_is_not_live_after_15_seconds(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    async def silent(self: MemoryDriver, queue: str) -> Depth:
        await asyncio.sleep(3 if is_told else 1000)
        raise BrokerTimeoutError("no answer")

    file = tmp_path / "alive"
    async with pulsing(app, file):
        monkeypatch.setattr(MemoryDriver, "depth", silent)
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(PERIOD * 2)
        assert (document(file)["live"], document(file)["ready"]) == (True, False)
        while document(file)["live"]:
            await asyncio.sleep(1)
        assert 15 <= asyncio.get_running_loop().time() - begun <= 15 + 3 * PERIOD
        assert "the broker has answered nothing for" in document(file)["why"]["live"][0]
        monkeypatch.undo()
        if is_told:
            await asyncio.sleep(PERIOD * 2)
            assert document(file)["live"]


async def test_a_broker_that_answers_late_answers(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(self: MemoryDriver, queue: str) -> Depth:
        await asyncio.sleep(PERIOD * 1.5)  # after the look that asked, before the next one
        return Depth(0, 0, 0)

    file = tmp_path / "alive"
    async with pulsing(app, file):
        monkeypatch.setattr(MemoryDriver, "depth", slow)
        for _ in range(10):
            await asyncio.sleep(PERIOD)
            assert document(file)["live"]


async def test_an_error_that_comes_between_two_looks_is_no_forgotten_exception(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(self: MemoryDriver, queue: str) -> Depth:
        await asyncio.sleep(PERIOD * 1.5)
        raise BrokerTimeoutError("no answer")

    async with pulsing(app, tmp_path / "alive"):
        monkeypatch.setattr(MemoryDriver, "depth", fails)
        await asyncio.sleep(PERIOD * 10)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_handled_messages_that_nobody_settles_are_not_live(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(self: MemoryDriver, queue: str, batch: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    file = tmp_path / "alive"
    async with pulsing(app, file):
        monkeypatch.setattr(MemoryDriver, "settle", hangs)
        await app.publish("tasks", 1)
        await asyncio.sleep(PERIOD * (PATIENCE + 2))
        assert document(file)["why"]["live"] == ["app:handle.consumer: 1 handled messages are not settled"]


async def test_a_consumer_in_restart_back_off_is_not_ready(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()

    @app.queue("tasks").consumer(lifecycle={"restart": {"initial_delay": "1h", "max_delay": "1h"}})
    async def handle(body: Any) -> None:
        return None

    file = tmp_path / "alive"
    async with pulsing(app, file):
        app.assembly.consumers["app:handle.consumer"].run.fetching.cancel()  # type: ignore[union-attr]
        await asyncio.sleep(PERIOD * 2)
        told = document(file)
        assert (told["live"], told["ready"]) == (True, False)
        assert told["why"]["ready"][0].startswith("app:handle.consumer: it has failed: consumer 'app:handle.consumer'")


async def test_a_helper_thread_that_fails_is_not_ready(app: App, tmp_path: Path) -> None:
    def work(helper: HelperThread) -> None:
        helper.problem = "OSError: Too many open files"
        failed.set()
        end.wait(60)

    file, failed, end = tmp_path / "alive", threading.Event(), threading.Event()
    async with pulsing(app, file):
        helper = HelperThread("tasuki keeper", work)
        helper.start()
        assert failed.wait(60)
        await asyncio.sleep(PERIOD * 2)
        assert document(file)["why"]["ready"] == ["thread tasuki keeper: OSError: Too many open files"]
        helper.stop()
        end.set()


async def test_publishing_that_is_refused_is_a_warning(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    app.queue("tasks")
    async with app.worker():
        app.assembly.queues["app:tasks"].demand.level = "power"  # type: ignore[union-attr]
        (tmp_path / "alive").touch()
        pulse = Pulse(tmp_path / "alive", app)
        pulse._write(*await pulse.observe())
    told = document(tmp_path / "alive")
    assert told["live"]
    assert "publishing to queue app:tasks is refused" in told["warnings"][0]


async def test_a_driver_that_fails_oddly_is_told_once_and_the_pulse_goes_on(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: MemoryDriver, queue: str) -> Depth:
        raise KeyError("a driver's own mistake")

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.exc_info]

    file = tmp_path / "alive"
    async with pulsing(app, file):
        for times in (1, 2):
            monkeypatch.setattr(MemoryDriver, "depth", broken)
            await asyncio.sleep(PERIOD * 5)
            assert (document(file)["live"], document(file)["ready"]) == (True, False)
            assert len(told()) == times
            monkeypatch.undo()
            await asyncio.sleep(PERIOD * 2)  # it works again, so the next failure is news
        assert "cannot inspect the queue of app:handle" in told()[0]
        assert "a driver's own mistake" in caplog.text


async def test_many_queues_of_a_broker_that_does_not_answer(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: MemoryDriver, queue: str) -> Depth:
        await asyncio.sleep(PERIOD * 1000)
        raise AssertionError("no case waits so long")

    async def handle(body: Any) -> None:
        return None

    app, file = make_app(), tmp_path / "alive"
    for number in range(20):
        app.queue(f"q{number}").consumer(name=f"c{number}")(handle)
    async with pulsing(app, file):
        monkeypatch.setattr(MemoryDriver, "depth", silent)
        before = document(file)["time"]
        await asyncio.sleep(PERIOD * 2)
        assert document(file)["time"] > before
