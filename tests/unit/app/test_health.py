from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Reject
from tasuki.app.health import PATIENCE, PERIOD, Look, Progress, Pulse
from tasuki.contracts.driver import Depth, Received
from tasuki.drivers.memory import MemoryDriver
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


def test_stuck_is_ready_with_room_and_without_progress_for_some_looks() -> None:
    progress = Progress()
    looks = [progress.is_stuck(Look(7, has_room=True, ready=1)) for _ in range(PATIENCE + 2)]
    assert looks == [False] * PATIENCE + [True, True]


@pytest.mark.parametrize(
    "better",
    [
        Look(8, has_room=True, ready=1),
        Look(7, has_room=False, ready=1),
        Look(7, has_room=True, ready=0),
        Look(7, has_room=True, ready=None),
    ],
    ids=["progress", "busy", "empty", "broker away"],
)
def test_one_better_look_starts_the_count_anew(better: Look) -> None:
    progress = Progress()
    for _ in range(PATIENCE):
        assert not progress.is_stuck(Look(7, has_room=True, ready=1))
    assert not progress.is_stuck(better)
    assert not progress.is_stuck(Look(better.delivered, has_room=True, ready=1))


@pytest.fixture
def app(make_app: MakeApp) -> App:
    app = make_app()
    tasks = app.queue("tasks")

    @tasks.consumer()
    async def handle(body: Any) -> None:
        return None

    return app


def age(file: Path) -> float:
    return file.stat().st_mtime


async def test_the_file_is_touched_while_messages_move(app: App, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    async with app.worker():
        pulse = asyncio.create_task(Pulse(file, lambda: app.assembly).run())
        for number in range(10):
            await app.publish("tasks", number)
            await asyncio.sleep(PERIOD / 2)
            os.utime(file, (1, 1))
            await asyncio.sleep(PERIOD)
            assert age(file) > 1
        pulse.cancel()


async def test_it_holds_counters(make_app: MakeApp, tmp_path: Path) -> None:
    app, file = make_app(), tmp_path / "alive"
    tasks = app.queue("tasks", dead_letter="dead")

    @tasks.consumer()
    async def handle(body: int) -> None:
        if body < 0:
            raise Reject("negative")

    async with app.worker():
        file.write_text("of a process of before")
        pulse = asyncio.create_task(Pulse(file, lambda: app.assembly, clock=app.clock).run())
        await asyncio.sleep(PERIOD / 2)
        assert json.loads(file.read_text())["pid"] == os.getpid()
        await asyncio.sleep(PERIOD)
        assert json.loads(file.read_text())["consumers"]["app:handle.consumer"]["moved_at"] is None
        for body in (1, 2, -1):
            await tasks.publish(body)
        await asyncio.sleep(PERIOD)
        told = json.loads(file.read_text())
        await asyncio.sleep(PERIOD * 3)
        later = json.loads(file.read_text())
        pulse.cancel()
    consumer = told["consumers"]["app:handle.consumer"]
    expected = {"delivered": 3, "acked": 2, "dead_lettered": 1, "handler_count": 3, "running": 0, "held": 0}
    assert {name: consumer[name] for name in expected} == expected
    assert told["queues"]["app:tasks"] == {
        "published": 3,
        "rejected": 0,
        "unknown": 0,
        "late_replies": 0,
        "durability": "memory",
        "demanded_durability": None,
    }
    assert told["pid"] == os.getpid()
    assert consumer["moved_at"] == told["time"] == later["consumers"]["app:handle.consumer"]["moved_at"] < later["time"]
    assert [path.name for path in tmp_path.glob("*alive*")] == ["alive"]


async def test_what_is_no_plain_file_is_touched_and_not_replaced(app: App, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "alive"
    target.write_text("mine")
    link.symlink_to(target)
    async with app.worker():
        pulse = asyncio.create_task(Pulse(link, lambda: app.assembly).run())
        await asyncio.sleep(PERIOD / 2)
        os.utime(target, (1, 1))
        await asyncio.sleep(PERIOD)
        pulse.cancel()
    assert (link.is_symlink(), target.read_text(), age(target) > 1) == (True, "mine", True)


async def test_a_file_that_cannot_be_replaced_is_touched(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted(self: Path, target: Path) -> Path:
        raise OSError("Device or resource busy")

    file = tmp_path / "alive"
    monkeypatch.setattr(Path, "replace", mounted)
    async with app.worker():
        pulse = asyncio.create_task(Pulse(file, lambda: app.assembly).run())
        await asyncio.sleep(PERIOD / 2)
        os.utime(file, (1, 1))
        await asyncio.sleep(PERIOD)
        pulse.cancel()
    assert age(file) > 1
    assert [path.name for path in tmp_path.glob("*alive*")] == ["alive"]


async def test_what_waits_behind_its_key_is_not_stuck(make_app: MakeApp, tmp_path: Path) -> None:
    app, seen = make_app(), list[int]()
    lines = app.queue("lines", ordering="key")

    @lines.consumer(concurrency=4, retry={"initial_delay": "1m", "jitter": 0})
    async def handle(body: int) -> None:
        seen.append(body)
        await asyncio.sleep(PERIOD * PATIENCE * 3)
        if len(seen) == 1:
            raise ValueError("again, later")

    async with app.worker():
        pulse = Pulse(tmp_path / "alive", lambda: app.assembly)
        for number in range(2):
            await app.publish("lines", number, key="k")
        for _ in range(PATIENCE * 6):
            await asyncio.sleep(PERIOD)
            assert await pulse.stuck() == []
        assert seen == [0]


async def test_a_consumer_that_stands_still_stops_it(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing_comes(self: MemoryDriver, queue: str, limit: int, wait: float) -> list[Received]:
        await asyncio.sleep(wait)
        return []

    file = tmp_path / "alive"
    monkeypatch.setattr(MemoryDriver, "receive", nothing_comes)
    with caplog.at_level(logging.ERROR, "tasuki"):
        async with app.worker():
            await app.publish("tasks", 1)
            pulse = asyncio.create_task(Pulse(file, lambda: app.assembly).run())
            await asyncio.sleep(PERIOD * (PATIENCE + 1.5))
            os.utime(file, (1, 1))
            await asyncio.sleep(PERIOD * 3)
            assert age(file) == 1
            assert "no progress although messages are ready: app:handle" in caplog.text
            monkeypatch.undo()
            await asyncio.sleep(PERIOD * 3)
            assert age(file) > 1
            pulse.cancel()


async def test_a_broker_that_is_away_is_no_reason_to_restart(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: MemoryDriver, queue: str) -> Depth:
        raise BrokerUnavailableError("away")

    file = tmp_path / "alive"
    async with app.worker():
        monkeypatch.setattr(MemoryDriver, "depth", away)
        pulse = Pulse(file, lambda: app.assembly)
        assert [await pulse.stuck() for _ in range(6)] == [[]] * 6


async def test_a_driver_that_fails_oddly_is_told_once_and_the_pulse_goes_on(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: MemoryDriver, queue: str) -> Depth:
        raise KeyError("a driver's own mistake")

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.exc_info]

    file = tmp_path / "alive"
    async with app.worker():
        pulse = asyncio.create_task(Pulse(file, lambda: app.assembly).run())
        for times in (1, 2):
            monkeypatch.setattr(MemoryDriver, "depth", broken)
            await asyncio.sleep(PERIOD * 3.5)
            os.utime(file, (1, 1))
            await asyncio.sleep(PERIOD * 2)
            assert age(file) > 1
            assert len(told()) == times
            monkeypatch.undo()
            await asyncio.sleep(PERIOD * 2)  # it works again, so the next failure is news
        assert "cannot look into the queue of app:handle" in told()[0]
        assert "a driver's own mistake" in caplog.text
        pulse.cancel()


async def test_many_queues_of_a_broker_that_does_not_answer(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: MemoryDriver, queue: str) -> Depth:
        await asyncio.sleep(PERIOD * 1000)
        raise AssertionError("nobody waits so long")

    async def handle(body: Any) -> None:
        return None

    app, file = make_app(), tmp_path / "alive"
    for number in range(20):
        app.queue(f"q{number}").consumer(name=f"c{number}")(handle)
    async with app.worker():
        monkeypatch.setattr(MemoryDriver, "depth", silent)
        pulse = asyncio.create_task(Pulse(file, lambda: app.assembly).run())
        await asyncio.sleep(PERIOD / 2)
        os.utime(file, (1, 1))
        await asyncio.sleep(PERIOD * 2)
        assert age(file) > 1
        pulse.cancel()


async def test_no_application_no_problem(tmp_path: Path) -> None:
    assert await Pulse(tmp_path / "alive", lambda: None).stuck() == []


async def test_a_file_that_cannot_be_written(app: App, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    file = folder / "alive"
    async with app.worker():
        pulse = asyncio.create_task(Pulse(file, lambda: app.assembly).run())
        await asyncio.sleep(PERIOD / 2)
        file.unlink()
        folder.rmdir()
        with caplog.at_level(logging.ERROR, "tasuki"):
            await asyncio.sleep(PERIOD)
        assert "cannot write the health file" in caplog.text
        pulse.cancel()
    with pytest.raises(OSError, match="gone"):
        await Pulse(file, lambda: app.assembly).run()
