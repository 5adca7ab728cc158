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
from tasuki.app.health.health_file import PERIOD
from tasuki.contracts.driver import Depth, Received
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, StopTimeoutError
from tasuki.moments import unix
from tasuki.system.threads import HelperThread
from tests.unit.app.pulse import GREEN, WITHIN, consuming, document, looking, pulsing, texts, until

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
    async with pulsing(app, file):
        await app.publish("tasks", 1)
        await asyncio.sleep(PERIOD)
        monkeypatch.setattr(MemoryDriver, "receive", nothing_comes)
        app._runtime.assembly.consumers["app:handle.consumer"].run.fetching.cancel()  # type: ignore[union-attr]
        await asyncio.sleep(PERIOD)  # the consumer starts again, and receives by the patch
        await app.publish("tasks", 2)
        assert document(file)["live"]
        assert await until(app, lambda health: not health["live"], WITHIN) > PERIOD
        told = document(file)
        (why,) = texts(told, "not_live")
        assert why.startswith("consumer app:handle.consumer: messages are ready, 1 free places, nothing received for 1")
        assert (told["status"], told["live"], told["ready"]) == ("not_live", False, False)
        assert age(file) < unix(told["time"])  # as old as the last time that it was live
        assert f"messages do not move: {why}" in caplog.text
        assert "the newest events of app:handle.consumer:" in caplog.text
        old = age(file)
        monkeypatch.undo()
        await until(app, lambda health: health["ready"], GREEN)
        assert document(file)["live"]
        assert age(file) > old
        assert "messages move again" in caplog.text


async def test_an_hour_without_messages_is_never_red(app: App, tmp_path: Path) -> None:
    async with pulsing(app, tmp_path / "alive"):
        for _ in range(3600 // 2):
            await asyncio.sleep(2)
            assert app.health.report().as_dict()["status"] == "ok", app.health.report().as_dict()


async def test_long_handlers_on_all_workers_are_no_standstill(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()

    @app.queue("tasks").consumer(prefetch=4)
    async def handle(body: Any) -> None:
        await asyncio.sleep(1000)

    async with pulsing(app, tmp_path / "alive"):
        for number in range(10):
            await app.publish("tasks", number)
        for _ in range(10):
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
        assert texts(told, "not_ready") == ["consumer app:handle.consumer: it cannot receive: away"]
        monkeypatch.undo()
        await asyncio.sleep(PERIOD * 3)
        assert document(file)["ready"]


async def test_a_broker_that_is_away_for_long_may_be_a_reason(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: MemoryDriver, queue: str, *rest: Any) -> Any:
        raise BrokerUnavailableError("away")

    app.entry("health", "health.config", broker_red_after="10m")
    async with pulsing(app, tmp_path / "alive"):
        for verb in ("depth", "receive"):
            monkeypatch.setattr(MemoryDriver, verb, away)
        await app.publish("tasks", 1)  # ends the receive that waits
        await until(app, lambda health: not health["ready"], 90)
        assert await until(app, lambda health: not health["live"], 605) >= 595


@pytest.mark.parametrize("is_told", [True, False], ids=["timeouts", "nothing"])
async def test_a_broker_that_answers_nothing_is_not_live_within_15_seconds(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    async def silent(self: MemoryDriver, queue: str) -> Depth:
        await asyncio.sleep(3 if is_told else 1000)
        raise BrokerTimeoutError("no answer")

    async with pulsing(app, tmp_path / "alive"):
        monkeypatch.setattr(MemoryDriver, "depth", silent)
        assert 5 < await until(app, lambda health: not health["ready"], WITHIN) < 13
        await until(app, lambda health: not health["live"], WITHIN)
        assert "the broker has not answered for" in texts(app.health.report().as_dict(), "not_live")[0]
        monkeypatch.undo()
        if is_told:
            await until(app, lambda health: health["ready"], GREEN)


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


async def test_a_question_that_a_client_library_cancels_is_asked_again(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancels(self: MemoryDriver, queue: str) -> Depth:
        raise asyncio.CancelledError

    async with pulsing(app, tmp_path / "alive"):
        monkeypatch.setattr(MemoryDriver, "depth", cancels)
        await asyncio.sleep(PERIOD)
        monkeypatch.undo()
        for _ in range(10):
            await asyncio.sleep(PERIOD)
            assert app.health.report().as_dict()["ready"], app.health.report().as_dict()


async def test_handled_messages_that_nobody_settles_are_not_live(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(self: MemoryDriver, queue: str, batch: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    file = tmp_path / "alive"
    async with pulsing(app, file):
        monkeypatch.setattr(MemoryDriver, "settle", hangs)
        await app.publish("tasks", 1)
        await until(app, lambda health: not health["live"], WITHIN + 2)
        assert texts(document(file), "not_live") == ["consumer app:handle.consumer: 1 handled messages are not settled"]


async def test_a_consumer_in_restart_back_off_is_not_ready(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()

    @app.queue("tasks").consumer(lifecycle={"restart": {"initial_delay": "1h", "max_delay": "1h"}})
    async def handle(body: Any) -> None:
        return None

    file = tmp_path / "alive"
    async with pulsing(app, file):
        app._runtime.assembly.consumers["app:handle.consumer"].run.fetching.cancel()  # type: ignore[union-attr]
        await asyncio.sleep(PERIOD * 2)
        told = document(file)
        assert (told["live"], told["ready"]) == (True, False)
        (why,) = texts(told, "not_ready")
        assert why.startswith("consumer app:handle.consumer: it has failed, attempt 1: consumer 'app:handle.consumer'")


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
        assert texts(document(file), "not_ready") == ["thread tasuki keeper: OSError: Too many open files"]
        helper.stop()
        end.set()


async def test_publishing_that_is_refused_is_a_warning(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("tasks")
    async with app.worker(), looking(app):
        app._runtime.assembly.queues["app:tasks"].demand.level = "power"  # type: ignore[union-attr]
        told = app.health.report().as_dict()
    assert (told["live"], told["status"]) == (True, "warning")
    assert texts(told, "warning")[0].startswith("queue app:tasks: publishing is refused")


async def test_a_broker_that_takes_no_messages_is_not_ready(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async with app.worker(), looking(app):
        await asyncio.sleep(PERIOD)
        monkeypatch.setattr(MemoryDriver, "refusal", "memory alarm")
        told = app.health.report().as_dict()
        assert (told["live"], told["ready"]) == (True, False)
        assert [text.partition(": ")[2] for text in texts(told, "not_ready")] == [
            "the broker takes no messages: memory alarm"
        ]


async def test_a_worker_that_starts_or_stops_is_live_and_not_ready(make_app: MakeApp) -> None:
    app, end, starting = make_app(), asyncio.Event(), []

    @app.queue("tasks").consumer()
    async def handle(body: Any) -> None:
        await end.wait()

    @app.on.start
    async def note() -> None:
        starting.extend(texts(app.health.report().as_dict(), "not_ready"))

    assert texts(app.health.report().as_dict(), "not_ready") == ["worker: the app is not open"]
    await app.open()
    assert app.health.report().as_dict()["ready"], "one that is only open has no consumers to start"
    await app.start()
    assert starting == ["worker: starting"]
    await asyncio.sleep(PERIOD)
    assert app.health.report().as_dict()["ready"]
    await app.publish("tasks", 1)
    await asyncio.sleep(1)
    closing = asyncio.create_task(app.close())
    await asyncio.sleep(1)
    told = app.health.report().as_dict()
    assert (told["live"], "worker: stopping, 1 running" in texts(told, "not_ready")) == (True, True)
    end.set()
    await closing
    assert texts(app.health.report().as_dict(), "not_ready") == ["worker: the app is not open"]


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
            assert (document(file)["status"], len(told())) == ("warning", times)
            monkeypatch.undo()
            await asyncio.sleep(PERIOD * 2)  # it works again, so the next failure is news
        assert "cannot count the messages of app:tasks" in told()[0]
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
