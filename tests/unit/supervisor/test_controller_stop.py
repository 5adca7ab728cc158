"""The controller's stops: joined, hurried, cancelled, during each state, late and failing."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.supervisor import State
from tests.unit.supervisor.conftest import HANG, FakeService
from tests.unit.supervisor.watched import AWAY, Launched, MakeSpec, Watched, settle

pytestmark = pytest.mark.anyio


async def test_a_double_stop_joins(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, stops=[3])
    await settle()
    await asyncio.gather(watched.controller.stop(), watched.controller.stop(), watched.controller.stop())
    await watched.controller.stop()
    assert watched.service.log.count("stop s") == 1


async def test_a_second_stop_with_less_time_hurries_the_first(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, stops=[3, ValueError("ignored: the first one reports")])
    await settle()
    first = asyncio.ensure_future(watched.controller.stop())
    await settle()
    await watched.controller.stop(0)
    await first
    assert watched.service.stop_timeouts == [10, 0]


async def test_hurry_before_the_stop_has_begun_shortens_it(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec)
    await settle()
    await asyncio.gather(watched.controller.stop(), watched.controller.stop(1))
    assert watched.service.stop_timeouts == [1]


async def test_hurry_that_ends_the_first(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, stops=[1, 2])
    await settle()
    first = asyncio.ensure_future(watched.controller.stop())
    await settle()
    await watched.controller.stop(0)
    assert first.done()


async def test_a_cancelled_stop_goes_on(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, stops=[3])
    await settle()
    stop = asyncio.ensure_future(watched.controller.stop())
    await settle()
    stop.cancel()
    await asyncio.wait([stop])
    await watched.controller.stop()
    assert watched.states[-1] == "stopped"
    assert watched.service.log.count("stop s") == 1


async def test_stop_during_start(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[HANG])
    await settle()
    await watched.controller.stop()
    assert watched.states == ["starting", "stopping", "stopped"]
    assert watched.service.log == ["start s", "stop s", "stopped s"]


async def test_stop_before_the_start_has_begun(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec)
    await watched.controller.stop()
    assert watched.states == ["starting", "stopping", "stopped"]
    assert watched.service.log[-2:] == ["stop s", "stopped s"]


async def test_stop_during_the_backoff(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[AWAY])
    await settle()
    assert watched.controller.status.state is State.FAILED
    await watched.controller.stop()
    assert watched.states == ["starting", "failed", "stopped"]
    assert watched.service.log.count("stop s") == 1
    await asyncio.sleep(1000)
    assert watched.service.log.count("start s") == 1


async def test_stop_while_a_failure_is_tidied(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[AWAY], stops=[8])
    await settle()
    await watched.controller.stop()
    assert watched.states == ["starting", "failed", "stopping", "stopped"]
    assert watched.service.log == ["start s", "stop s", "stop s", "stopped s"]


async def test_launch_during_a_stop_is_ignored(make_spec: MakeSpec) -> None:
    watched = Watched(make_spec(FakeService()))
    watched.controller.launch()
    await settle()
    stop = asyncio.ensure_future(watched.controller.stop())
    await asyncio.sleep(0)
    watched.controller.launch()
    await stop
    assert watched.controller.status.state is State.STOPPED


async def test_a_stop_that_hands_work_back(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, stops=[StopTimeoutError("2 handlers were running")])
    await settle()
    with pytest.raises(StopTimeoutError, match="2 handlers") as caught:
        await watched.controller.stop()
    assert caught.value.service == "s"
    assert watched.controller.status.state is State.STOPPED
    assert watched.controller.status.error is caught.value


@pytest.mark.parametrize("step", [HANG, "stubborn"])
async def test_a_stop_that_hangs(make_spec: MakeSpec, step: str) -> None:
    watched = Launched(make_spec, stops=[step], stop_timeout=10)
    await settle()
    begin = asyncio.get_running_loop().time()
    with pytest.raises(StopTimeoutError, match="did not stop within 10s"):
        await watched.controller.stop()
    assert asyncio.get_running_loop().time() - begin <= 16
    assert watched.controller.status.state is State.FAILED
    assert watched.controller.needs_stop
    await watched.controller.stop()
    assert watched.states[-1] == "stopped"
    await asyncio.sleep(3600)


async def test_a_stop_that_fails(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, stops=[ValueError("no")])
    await settle()
    with pytest.raises(LifecycleError, match="failed to stop: no"):
        await watched.controller.stop()
    watched.controller.launch()
    await settle()
    # What the failed stop left is stopped before the start.
    assert watched.service.log[-4:] == ["stop s", "stopped s", "start s", "started s"]
    await watched.controller.stop()


async def test_a_failing_tidy_is_logged_and_does_not_end_the_restarts(
    make_spec: MakeSpec, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Launched(make_spec, starts=[AWAY], stops=[ValueError("no")])
    await asyncio.sleep(2)
    assert watched.controller.status.state is State.RUNNING
    assert "failed to stop: no" in caplog.text
    await watched.controller.stop()
