"""The controller's stops: joined, hurried, cancelled, during each state, late and failing."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.supervisor import State
from tests.unit.supervisor.conftest import HANG, FakeService
from tests.unit.supervisor.watched import AWAY, MakeSpec, Watched, settle

pytestmark = pytest.mark.anyio


async def test_a_double_stop_joins(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.stops = [3]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    await asyncio.gather(watched.controller.stop(), watched.controller.stop(), watched.controller.stop())
    await watched.controller.stop()
    assert service.log.count("stop s") == 1


async def test_a_second_stop_with_less_time_hurries_the_first(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.stops = [3, ValueError("ignored: the first one reports")]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    first = asyncio.ensure_future(watched.controller.stop())
    await settle()
    await watched.controller.stop(0)
    await first
    assert service.stop_timeouts == [10, 0]


async def test_hurry_before_the_stop_has_begun_shortens_it(make_spec: MakeSpec) -> None:
    service = FakeService()
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    await asyncio.gather(watched.controller.stop(), watched.controller.stop(1))
    assert service.stop_timeouts == [1]


async def test_hurry_that_ends_the_first(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.stops = [1, 2]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    first = asyncio.ensure_future(watched.controller.stop())
    await settle()
    await watched.controller.stop(0)
    assert first.done()


async def test_a_cancelled_stop_goes_on(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.stops = [3]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    stop = asyncio.ensure_future(watched.controller.stop())
    await settle()
    stop.cancel()
    await asyncio.wait([stop])
    await watched.controller.stop()
    assert watched.states[-1] == "stopped"
    assert service.log.count("stop s") == 1


async def test_stop_during_start(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.starts = [HANG]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    await watched.controller.stop()
    assert watched.states == ["starting", "stopping", "stopped"]
    assert service.log == ["start s", "stop s", "stopped s"]


async def test_stop_before_the_start_has_begun(make_spec: MakeSpec) -> None:
    service = FakeService()
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await watched.controller.stop()
    assert watched.states == ["starting", "stopping", "stopped"]
    assert service.log[-2:] == ["stop s", "stopped s"]


async def test_stop_during_the_backoff(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.starts = [AWAY]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    assert watched.controller.status.state is State.FAILED
    await watched.controller.stop()
    assert watched.states == ["starting", "failed", "stopped"]
    assert service.log.count("stop s") == 1
    await asyncio.sleep(1000)
    assert service.log.count("start s") == 1


async def test_stop_while_a_failure_is_tidied(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.starts, service.stops = [AWAY], [8]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    await watched.controller.stop()
    assert watched.states == ["starting", "failed", "stopping", "stopped"]
    assert service.log == ["start s", "stop s", "stop s", "stopped s"]


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
    service = FakeService()
    service.stops = [StopTimeoutError("2 handlers were running")]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    with pytest.raises(StopTimeoutError, match="2 handlers") as caught:
        await watched.controller.stop()
    assert caught.value.service == "s"
    assert watched.controller.status.state is State.STOPPED
    assert watched.controller.status.error is caught.value


@pytest.mark.parametrize("step", [HANG, "stubborn"])
async def test_a_stop_that_hangs(make_spec: MakeSpec, step: str) -> None:
    service = FakeService()
    service.stops = [step]
    watched = Watched(make_spec(service, stop_timeout=10))
    watched.controller.launch()
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
    service = FakeService()
    service.stops = [ValueError("no")]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    with pytest.raises(LifecycleError, match="failed to stop: no"):
        await watched.controller.stop()
    watched.controller.launch()
    await settle()
    # What the failed stop left is stopped before the start.
    assert service.log[-4:] == ["stop s", "stopped s", "start s", "started s"]
    await watched.controller.stop()


async def test_a_failing_tidy_is_logged_and_does_not_end_the_restarts(
    make_spec: MakeSpec, caplog: pytest.LogCaptureFixture
) -> None:
    service = FakeService()
    service.starts, service.stops = [AWAY], [ValueError("no")]
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await asyncio.sleep(2)
    assert watched.controller.status.state is State.RUNNING
    assert "failed to stop: no" in caplog.text
    await watched.controller.stop()
