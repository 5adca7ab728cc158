"""What goes wrong is counted: an unavailable broker, a blocked loop, ticks that are late or skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App
from tasuki.app.health.blocked import PATIENCE, LoopWatch
from tasuki.app.schedules.scheduler import Scheduler, identified
from tasuki.errors import BrokerUnavailableError
from tasuki.observe.metrics import PROCESS
from tasuki.schedules.schedule import Tick
from tests.unit.app.project import live

pytestmark = pytest.mark.anyio

Make = Callable[..., App]


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Virtual time, but for the loop that is really blocked."""
    from tasuki.testing.clock import VirtualTimeLoop

    is_real = "blocked" in request.node.name
    return "asyncio", {} if is_real else {"loop_factory": VirtualTimeLoop}


async def test_a_broker_that_is_away_is_down_and_comes_back(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    queue = app.queue("mail")

    @queue.consumer()
    async def handle(body: int) -> None:
        """Nothing."""

    async with app.worker():
        assert app.metrics.snapshot()["drivers"]["app:driver"] == {"system": "memory", "up": 1, "reconnects": 0}
        driver = live(app).drivers["app:driver"]
        receive, is_away = driver.receive, True

        async def unreliable(*args: Any) -> Any:
            if is_away:
                raise BrokerUnavailableError("away", driver="app:driver")
            return await receive(*args)

        monkeypatch.setattr(driver, "receive", unreliable)
        await queue.publish(1)  # ends the receive that waits
        await asyncio.sleep(3)
        assert app.metrics.snapshot()["drivers"]["app:driver"]["up"] == 0
        is_away = False
        await asyncio.sleep(60)
        assert app.metrics.snapshot()["drivers"]["app:driver"] == {"system": "memory", "up": 1, "reconnects": 1}


async def test_a_blocked_loop_is_measured() -> None:
    before, watch = PROCESS.loop_blocked, LoopWatch(lambda: (), period=0.01)
    while not watch.blocked_for:
        watch.tick()
    while watch.blocked_for:
        await asyncio.sleep(0)
    assert PROCESS.loop_blocked - before >= PATIENCE * 0.01
    assert PROCESS.loop_lag > 0


async def scheduler_of(app: App, **options: Any) -> Scheduler:
    @app.queue("mail").every("1h", **options)
    async def tick() -> None:
        """Nothing."""

    await app.open()
    scheduler: Scheduler
    [scheduler] = live(app).schedulers.values()
    return scheduler


async def test_a_late_tick_is_counted_as_late(make_app: Make) -> None:
    app = make_app()
    scheduler = await scheduler_of(app)
    [schedule] = identified(scheduler.schedules, "").values()
    now = int(app._runtime.clock.time())
    await scheduler.publish([Tick(schedule, now - 60)])
    await scheduler.publish([Tick(schedule, now - 1)])
    found = app.metrics.snapshot()["schedules"][schedule.id]
    assert (found["published"], found["late"], found["skipped"]) == (1, 1, 0)
    assert found["last_success"] == pytest.approx(now, abs=1)


async def test_a_tick_whose_predecessor_still_runs_is_skipped(make_app: Make) -> None:
    app = make_app()
    scheduler = await scheduler_of(app, overlap="skip")
    [schedule] = identified(scheduler.schedules, "").values()
    now = int(app._runtime.clock.time())
    await scheduler.publish([Tick(schedule, now - 1)])
    await scheduler.publish([Tick(schedule, now)])
    found = app.metrics.snapshot()["schedules"][schedule.id]
    assert (found["published"], found["skipped"]) == (1, 1)
