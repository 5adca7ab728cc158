"""One attempt at a time: what failures, cancelled callers, a close and a fork do to it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.drivers.toolkit.reconnecting import Attempts

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

EVEN = Backoff(initial_delay=1.0, max_delay=8.0, jitter=0.0)


class ClosedError(Exception):
    """For the callers of a closed one."""


class Broker:
    """Takes ``seconds`` to answer; ``failures`` attempts fail. Notes when each attempt began and ended."""

    def __init__(self, failures: int = 0, seconds: float = 0.0) -> None:
        self.failures, self.seconds = failures, seconds
        self.began: list[float] = []
        self.cancelled = 0

    async def connect(self) -> str:
        loop = asyncio.get_running_loop()
        self.began.append(loop.time())
        number = len(self.began)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if number <= self.failures:
            raise OSError(f"attempt {number}")
        return f"connection {number}"


def attempts(**fields: Any) -> Attempts[str]:
    return Attempts("connect", ClosedError, backoff=EVEN, **fields)


async def test_callers_share_one_attempt() -> None:
    shared, broker = attempts(), Broker(seconds=1.0)
    assert set(await asyncio.gather(*(shared.share(broker.connect) for _ in range(10)))) == {"connection 1"}
    assert len(broker.began) == 1
    assert not shared.is_running


async def test_every_caller_has_the_failure_and_the_next_attempt_waits_longer_each_time() -> None:
    shared, broker = attempts(), Broker(failures=3)
    errors = await asyncio.gather(*(shared.share(broker.connect) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["attempt 1"] * 3
    for _ in range(2):
        with pytest.raises(OSError, match="attempt"):
            await shared.share(broker.connect)
    assert await shared.share(broker.connect) == "connection 4"
    assert broker.began == [0.0, 1.0, 3.0, 7.0]


async def test_a_success_ends_the_pauses() -> None:
    shared, broker = attempts(), Broker(failures=1)
    with pytest.raises(OSError, match="attempt 1"):
        await shared.share(broker.connect)
    await shared.share(broker.connect)
    await shared.share(broker.connect, 0.0)
    assert broker.began == [0.0, 1.0, 1.0]


async def test_the_pause_counts_from_the_failure() -> None:
    shared, broker = attempts(), Broker(failures=1)
    with pytest.raises(OSError, match="attempt 1"):
        await shared.share(broker.connect)
    await asyncio.sleep(5.0)
    assert await shared.share(broker.connect, 0.0) == "connection 2"
    assert broker.began == [0.0, 5.0]


async def test_a_caller_that_does_not_wait_for_the_pause_gets_the_last_failure() -> None:
    shared, broker = attempts(), Broker(failures=1)
    for _ in range(3):
        with pytest.raises(OSError, match="attempt 1"):
            await shared.share(broker.connect, 0.5)
    patient = asyncio.create_task(shared.share(broker.connect))
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="attempt 1"):  # also while an attempt waits for its time
        await shared.share(broker.connect, 0.5)
    assert await patient == "connection 2"
    assert broker.began == [0.0, 1.0]


async def test_a_caller_with_time_makes_attempts_until_the_next_one_would_begin_too_late() -> None:
    shared, broker = attempts(), Broker(failures=9)
    with pytest.raises(OSError, match="attempt 3"):
        await shared.share(broker.connect, 4.0)
    assert broker.began == [0.0, 1.0, 3.0]
    assert asyncio.get_running_loop().time() == 3.0


async def test_an_error_may_ask_for_a_longer_pause() -> None:
    shared, broker = attempts(least_pause=lambda error: 30.0 if str(error) == "attempt 1" else 0.0), Broker(failures=2)
    for _ in range(2):
        with pytest.raises(OSError, match="attempt"):
            await shared.share(broker.connect)
    assert await shared.share(broker.connect) == "connection 3"
    assert broker.began == [0.0, 30.0, 32.0]


async def test_a_cancelled_caller_does_not_end_the_attempt_for_the_others() -> None:
    shared, broker = attempts(), Broker(seconds=1.0)
    first, second = (asyncio.create_task(shared.share(broker.connect)) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second == "connection 1"
    assert first.cancelled()


async def test_an_attempt_that_fails_without_a_caller_is_no_unhandled_error() -> None:
    shared, broker, problems = attempts(), Broker(failures=1, seconds=1.0), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    only = asyncio.create_task(shared.share(broker.connect))
    await asyncio.sleep(0.5)
    only.cancel()
    await asyncio.sleep(1.0)
    assert not shared.is_running
    with pytest.raises(OSError, match="attempt 1"):
        await shared.share(broker.connect, 0.0)
    assert not problems


@pytest.mark.parametrize("failures", [0, 1], ids=["connecting", "pausing"])
async def test_a_close_ends_the_attempt_and_its_callers(failures: int) -> None:
    shared, broker = attempts(), Broker(failures=failures, seconds=0.1)
    if failures:
        with pytest.raises(OSError, match="attempt 1"):
            await shared.share(broker.connect)
    callers = [asyncio.create_task(shared.share(broker.connect)) for _ in range(3)]
    await asyncio.sleep(0.05)
    await shared.close()
    assert not shared.is_running
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ClosedError] * 3
    assert broker.cancelled == (0 if failures else 1)
    with pytest.raises(ClosedError):
        await shared.share(broker.connect)
    await shared.close()


async def test_a_closed_one_may_be_opened_and_has_forgotten_its_failures() -> None:
    shared, broker = attempts(), Broker(failures=1)
    with pytest.raises(OSError, match="attempt 1"):
        await shared.share(broker.connect)
    shared.abort()
    shared.open()
    assert await shared.share(broker.connect, 0.0) == "connection 2"


async def test_opened_while_the_aborted_attempt_still_ends() -> None:
    shared, broker = attempts(), Broker(seconds=1.0)
    old = asyncio.create_task(shared.share(broker.connect))
    await asyncio.sleep(0.5)
    shared.abort()
    shared.open()
    assert await shared.share(broker.connect) == "connection 2"
    with pytest.raises(ClosedError):
        await old


async def test_a_child_process_makes_no_attempt_and_leaves_that_of_the_parent_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared, broker = attempts(), Broker(seconds=1.0)
    of_parent = asyncio.create_task(shared.share(broker.connect))
    await asyncio.sleep(0.5)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ClosedError):
            await shared.share(broker.connect)
        await shared.close()
        shared.open()
        assert not shared.is_running
        assert await shared.share(broker.connect) == "connection 2"
    assert await of_parent == "connection 1"
    assert broker.cancelled == 0
