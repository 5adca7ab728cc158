"""The controller's starts, failures, back-off and restart limits."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from tasuki.backoff import Backoff
from tasuki.errors import LifecycleError, RestartLimitError, StartTimeoutError
from tasuki.supervisor import RestartPolicy, State
from tests.unit.supervisor.conftest import HANG, FakeService
from tests.unit.supervisor.watched import AWAY, Launched, MakeSpec, Watched, settle

pytestmark = pytest.mark.anyio


async def test_a_life(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec)
    watched.controller.launch()
    await settle()
    assert watched.controller.is_alive
    await watched.controller.stop()
    assert watched.states == ["starting", "running", "stopping", "stopped"]
    assert watched.service.log == ["start s", "started s", "stop s", "stopped s"]
    assert watched.service.stop_timeouts == [10]
    assert watched.controller.is_idle
    assert not watched.controller.needs_stop


async def test_stop_of_what_never_started_does_nothing(make_spec: MakeSpec) -> None:
    watched = Watched(make_spec(FakeService()))
    await watched.controller.stop()
    assert watched.states == []


async def test_failures_are_retried_with_a_backoff_that_grows(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[ValueError("no")] * 9, startup="optional")
    await asyncio.sleep(1000)
    starts = [at for at, state in watched.seen if state is State.STARTING]
    gaps = [round(later - earlier, 6) for earlier, later in itertools.pairwise(starts)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 90, 90]
    assert watched.states[-1] == "running"
    assert watched.controller.status.failures == 9
    await watched.controller.stop()


async def test_each_failure_tells_why_and_when_next(make_spec: MakeSpec, caplog: pytest.LogCaptureFixture) -> None:
    service = FakeService()
    service.starts = [AWAY]
    watched = Watched(make_spec(service))
    with caplog.at_level(logging.INFO):
        watched.controller.launch()
        await asyncio.sleep(2)
    assert [record.getMessage() for record in caplog.records] == [
        "service 's' cannot start: broker is unavailable; next attempt in 1s",
        "service 's' is running (failures before: 1)",
    ]
    assert caplog.records[0].exc_info is None
    await watched.controller.stop()


async def test_an_unexpected_failure_is_logged_with_its_traceback(
    make_spec: MakeSpec, caplog: pytest.LogCaptureFixture
) -> None:
    service = FakeService()
    service.waits = [ZeroDivisionError()]
    watched = Watched(make_spec(service))
    with caplog.at_level(logging.WARNING):
        watched.controller.launch()
        await settle()
    assert "service 's' failed: ZeroDivisionError; next attempt in 1s" in caplog.text
    assert "Traceback" in caplog.text
    await watched.controller.stop()


@pytest.mark.parametrize("error", [ValueError("lost"), asyncio.CancelledError(), SystemExit(1)])
async def test_whatever_ends_a_wait_is_a_failure_which_is_stopped_before_the_next_start(
    make_spec: MakeSpec, error: BaseException
) -> None:
    watched = Launched(make_spec, waits=[error])
    await asyncio.sleep(2)
    assert watched.states == ["starting", "running", "failed", "starting", "running"]
    assert watched.service.log == ["start s", "started s", "stop s", "stopped s", "start s", "started s"]
    await watched.controller.stop()


async def test_a_stable_run_resets_the_backoff(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[AWAY, AWAY, None, AWAY], stable_threshold=5)
    await asyncio.sleep(4)
    assert watched.controller.status.failures == 2
    await asyncio.sleep(6)
    watched.service.fail(ValueError("lost"))
    await settle()
    assert watched.controller.status.failures == 1
    await asyncio.sleep(10)
    starts = [at for at, state in watched.seen if state is State.STARTING]
    assert [round(at, 2) for at in starts] == [0, 1, 3, 11, 13]
    await watched.controller.stop()


async def test_a_start_that_hangs(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[HANG], start_timeout=4)
    await asyncio.sleep(4.5)
    error = watched.controller.status.error
    assert isinstance(error, StartTimeoutError)
    assert str(error) == "service 's' was not running after 4s (start_timeout)"
    assert error.service == "s"
    await asyncio.sleep(1)
    assert watched.controller.status.state is State.RUNNING
    await watched.controller.stop()


async def test_a_start_that_ignores_its_cancellation(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=["stubborn"], start_timeout=4)
    await asyncio.sleep(10)
    assert watched.controller.status.state is State.RUNNING
    await watched.controller.stop()
    await asyncio.sleep(3600)


async def test_its_own_timeout_is_not_taken_for_the_start_timeout(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[TimeoutError("dns")], startup="optional")
    await settle()
    assert str(watched.controller.status.error) == "dns"
    await watched.controller.stop()


async def test_a_definite_error_of_a_required_service_is_final(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[ValueError("bad option")])
    await settle()
    status = watched.controller.status
    assert status.has_given_up
    assert isinstance(status.error, LifecycleError)
    assert str(status.error) == "service 's' cannot start: bad option"
    assert isinstance(status.error.__cause__, ValueError)
    assert watched.controller.is_idle
    assert not watched.controller.needs_stop  # what it held was freed
    await watched.controller.stop()


async def test_launch_after_giving_up_begins_anew(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[ValueError("bad option")])
    await settle()
    watched.controller.launch()
    assert not watched.controller.status.has_given_up
    assert watched.controller.status.failures == 0
    await settle()
    assert watched.controller.status.state is State.RUNNING
    await watched.controller.stop()


async def test_the_restart_limit(make_spec: MakeSpec) -> None:
    watched = Launched(make_spec, starts=[AWAY] * 5, restart=RestartPolicy(Backoff(jitter=0), max_attempts=2))
    await asyncio.sleep(100)
    error = watched.controller.status.error
    assert isinstance(error, RestartLimitError)
    assert "failed 3 times in a row (restart.max_attempts: 2): broker is unavailable" in str(error)
    assert watched.service.log.count("start s") == 3


async def test_exit_and_start_again(make_spec: MakeSpec) -> None:
    service = FakeService()
    service.end.set()
    watched = Watched(make_spec(service))
    watched.controller.launch()
    await settle()
    assert watched.states == ["starting", "running", "exited"]
    assert watched.controller.is_idle
    watched.controller.launch()
    await settle()
    await watched.controller.stop()
    assert watched.states[3:] == ["starting", "running", "exited", "stopping", "stopped"]
    assert service.log.count("start s") == service.log.count("stop s") == 2


async def test_an_illegal_step_is_a_bug(make_spec: MakeSpec) -> None:
    watched = Watched(make_spec(FakeService()))
    with pytest.raises(AssertionError, match="went from unknown to running"):
        watched.controller._enter(State.RUNNING)
