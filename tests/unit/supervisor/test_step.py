import asyncio
import logging

import pytest

from tasuki.errors import LifecycleError
from tasuki.supervisor.controller import StepTimeoutError, run_step
from tests.unit.supervisor.conftest import hang_stubbornly

pytestmark = pytest.mark.anyio


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
