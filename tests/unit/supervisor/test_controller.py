"""The controller's starts, failures, back-off and restart limits."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tasuki.errors import LifecycleError, StartTimeoutError, StopTimeoutError
from tasuki.supervisor import State
from tasuki.supervisor.controller import StepTimeoutError, run_step
from tests.unit.supervisor.conftest import HANG, FakeService, hang_stubbornly
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


async def raise_(error: BaseException) -> None:
    raise error


async def test_returns() -> None:
    await run_step(asyncio.sleep(1), name="x", timeout=2)


async def test_raises_unchanged_even_a_timeout() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        await run_step(raise_(TimeoutError("mine")), name="x", timeout=2)


async def test_too_slow_is_cancelled() -> None:
    start = asyncio.get_running_loop().time()
    with pytest.raises(StepTimeoutError):
        await run_step(asyncio.sleep(9), name="x", timeout=2)
    assert asyncio.get_running_loop().time() - start == 2


async def test_finished_while_being_cancelled_counts() -> None:
    async def finish() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            return

    await run_step(finish(), name="x", timeout=2)


async def test_failed_while_being_cancelled_counts() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            raise ValueError("while cancelled") from None

    with pytest.raises(ValueError, match="while cancelled"):
        await run_step(fail(), name="x", timeout=2)


async def test_what_ignores_cancellation_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(StepTimeoutError):
        await run_step(hang_stubbornly(), name="mule", timeout=2)
    assert "mule does not end when cancelled" in caplog.text
    assert asyncio.get_running_loop().time() == 3
    await asyncio.sleep(3600)


async def test_cancelled_with_its_caller() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(9)
        finally:
            ended.append(True)

    task = asyncio.ensure_future(run_step(work(), name="x"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_a_cancellation_of_its_own_is_an_error() -> None:
    with pytest.raises(LifecycleError, match="cancelled from within"):
        await run_step(raise_(asyncio.CancelledError()), name="x")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_it_cannot_end_the_process(error: BaseException) -> None:
    with pytest.raises(LifecycleError, match=type(error).__name__):
        await run_step(raise_(error), name="x")
