"""The health file: touched while messages move, with counters, whatever kind of file it is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki import App, Reject
from tasuki.app.health.health_file import PERIOD
from tasuki.clock import SystemClock
from tests.unit.app.pulse import consuming, looking

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True

MakeApp = Callable[..., App]


@pytest.fixture
def app(make_app: MakeApp) -> App:
    return consuming(make_app)


def age(file: Path) -> float:
    return file.stat().st_mtime


async def test_the_file_is_touched_while_messages_move(app: App, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    async with app.worker():
        app.health.write_into(file)
        async with looking(app):
            for number in range(10):
                await app.publish("tasks", number)
                await asyncio.sleep(PERIOD / 2)
                os.utime(file, (1, 1))
                await asyncio.sleep(PERIOD + 2)
                assert age(file) > 1


async def test_it_holds_counters(make_app: MakeApp, tmp_path: Path) -> None:
    app, file = make_app(), tmp_path / "alive"
    tasks = app.queue("tasks", dead_letter="dead")

    @tasks.consumer()
    async def handle(body: int) -> None:
        if body < 0:
            raise Reject("negative")

    async with app.worker():
        file.write_text("of a process of before")
        app.health.write_into(file)
        assert json.loads(file.read_text())["pid"] == os.getpid()
        assert json.loads(file.read_text())["consumers"]["app:handle.consumer"]["moved_at"] is None
        async with looking(app):
            for body in (1, 2, -1):
                await tasks.publish(body)
            await asyncio.sleep(PERIOD + 2)
            told = json.loads(file.read_text())
            await asyncio.sleep(PERIOD * 3)
            later = json.loads(file.read_text())
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
    assert consumer["moved_at"] == later["consumers"]["app:handle.consumer"]["moved_at"] <= told["time"] < later["time"]
    assert [path.name for path in tmp_path.glob("*alive*")] == ["alive"]


async def test_what_is_no_plain_file_is_touched_and_not_replaced(app: App, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "alive"
    target.write_text("mine")
    link.symlink_to(target)
    async with app.worker():
        app.health.write_into(link)
        os.utime(target, (1, 1))
        async with looking(app):
            await asyncio.sleep(PERIOD + 2)
    assert (link.is_symlink(), target.read_text(), age(target) > 1) == (True, "mine", True)


async def test_a_file_that_cannot_be_replaced_is_touched(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted(self: Path, target: Path) -> Path:
        raise OSError("Device or resource busy")

    file = tmp_path / "alive"
    monkeypatch.setattr(Path, "replace", mounted)
    async with app.worker():
        app.health.write_into(file)
        os.utime(file, (1, 1))
        async with looking(app):
            await asyncio.sleep(PERIOD + 2)
    assert age(file) > 1
    assert [path.name for path in tmp_path.glob("*alive*")] == ["alive"]


async def test_what_waits_behind_its_key_is_not_stuck(make_app: MakeApp) -> None:
    app, seen = make_app(), list[int]()
    lines = app.queue("lines", ordering="key")

    @lines.consumer(concurrency=4, retry={"initial_delay": "1m", "jitter": 0})
    async def handle(body: int) -> None:
        seen.append(body)
        await asyncio.sleep(PERIOD * 9)
        if len(seen) == 1:
            raise ValueError("again, later")

    async with app.worker(), looking(app):
        for number in range(2):
            await app.publish("lines", number, key="k")
        for _ in range(18):
            await asyncio.sleep(PERIOD)
            assert app.health.report().as_dict()["status"] == "ok"
        assert seen == [0]


async def test_a_file_that_cannot_be_written(app: App, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    file = folder / "alive"
    async with app.worker():
        app.health.write_into(file)
        file.unlink()
        folder.rmdir()
        async with looking(app):
            with caplog.at_level(logging.ERROR, "tasuki"):
                await asyncio.sleep(PERIOD + 2)
        assert "cannot write the health file" in caplog.text
    with pytest.raises(OSError, match="gone"):
        app.health.write_into(file)


async def test_a_step_of_the_wall_clock_makes_no_report_old(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    app = App("memory://", clock=clock)
    async with app.worker():
        assert app.health.report().as_dict()["live"]
        stepped = clock.time() + 3600
        monkeypatch.setattr(SystemClock, "time", lambda self: stepped)
        assert app.health.report().as_dict()["live"]
