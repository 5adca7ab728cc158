"""The health of several processes: the parent's verdict on what they answer, in virtual time."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tasuki.app.health.report import Sheet
from tasuki.app.health.rules import STARTING, Finding, Level
from tasuki.cli.worker.fleet_reports import LOOK, FleetHealth
from tasuki.moments import unix
from tasuki.supervisor.children.asking import ChildAnswer

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Fakes:
    """Stands for the processes: what each answers, by its number."""

    def __init__(self) -> None:
        self.levels: dict[int, Level | None] = {1: "ok", 2: "ok"}
        self.silent: dict[int, float] = {}
        self.asked = 0

    async def ask(self, name: str) -> dict[int, ChildAnswer]:
        assert name == "health"
        self.asked += 1
        now = asyncio.get_running_loop().time()
        return {number: self._answer(number, level, now) for number, level in self.levels.items()}

    def _answer(self, number: int, level: Level | None, now: float) -> ChildAnswer:
        if level is None:
            return ChildAnswer(problem="there is no answer yet")
        report = Sheet().report([("consumer app:c", Finding(level, "why"))], 0.0).as_dict()
        at = self.silent.get(number)
        return ChildAnswer(report, now) if at is None else ChildAnswer(report, at, "it has not answered for 1 s")


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


def health_of(fakes: Fakes, file: Path | None = None) -> FleetHealth:
    children: Any = fakes
    return FleetHealth(children, 2, file)


async def level_after(health: FleetHealth, seconds: float) -> str:
    for _ in range(int(seconds / LOOK)):
        await asyncio.sleep(LOOK)
        await health.look()
    return (await health.look()).status


async def test_one_that_is_ill_makes_all_ill(fakes: Fakes) -> None:
    health = health_of(fakes)
    assert (await health.look()).status == "ok"
    fakes.levels[2] = "not_live"
    assert (await health.look()).of("not_live") == ["process 2: consumer app:c: why"]


async def test_one_of_two_that_is_not_ready_is_a_warning(fakes: Fakes) -> None:
    health = health_of(fakes)
    fakes.levels[2] = None
    assert (await health.look()).of("warning") == ["process 2: starting"]
    fakes.levels[1] = "not_ready"
    assert (await health.look()).of("not_ready") == ["processes: 0 of 2 processes are ready"]


async def test_one_that_never_answers_does_not_start_for_ever(fakes: Fakes) -> None:
    health = health_of(fakes)
    fakes.levels[2] = None
    assert await level_after(health, STARTING - 10) == "warning"
    assert await level_after(health, 14) == "not_live"
    [text] = (await health.look()).of("not_live")
    assert text.startswith("process 2: it has not answered since it started 3")
    fakes.levels[2] = "ok"
    assert (await health.look()).status == "ok"
    fakes.levels[2] = None  # a new one in its place has all the time again
    assert await level_after(health, STARTING - 10) == "warning"


async def test_a_process_that_is_gone_or_silent_is_not_live_within_15_seconds(fakes: Fakes) -> None:
    health = health_of(fakes)
    await health.look()
    del fakes.levels[2]
    assert await level_after(health, 10) == "warning"
    assert await level_after(health, 4) == "not_live"
    fakes.levels[2] = "ok"
    assert await level_after(health, 0) == "ok"
    fakes.silent[2] = asyncio.get_running_loop().time()
    assert await level_after(health, 10) == "warning"
    assert await level_after(health, 4) == "not_live"


async def test_processes_that_were_all_suspended_are_not_gone(fakes: Fakes) -> None:
    health = health_of(fakes)
    del fakes.levels[2]
    assert await level_after(health, 4) == "warning"
    fakes.silent[1] = asyncio.get_running_loop().time()
    await asyncio.sleep(1000)
    assert (await health.look()).is_live
    assert await level_after(health, 10) == "not_ready"
    assert await level_after(health, 4) == "not_live"


async def test_the_file_holds_all(fakes: Fakes, tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    health = health_of(fakes, file)
    await health.look()
    told = json.loads(file.read_text())
    assert (told["live"], sorted(told["processes"])) == (True, ["1", "2"])
    assert unix(told["time"]) <= time.time()


async def test_without_a_file_it_asks_from_the_first_reading_on(fakes: Fakes) -> None:
    health = health_of(fakes)
    running = asyncio.create_task(health.run())
    await asyncio.sleep(LOOK * 5)
    assert fakes.asked == 0
    assert health.report().of("not_ready") == ["processes: they are being asked"]
    await asyncio.sleep(LOOK * 2)
    assert health.report().status == "ok"
    running.cancel()


async def test_a_step_of_the_wall_clock_makes_no_report_old(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    health = health_of(fakes)
    health.report()
    await health.look()
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert health.report().is_live
