"""Waiting for what another thread does: its outcome, a cancel that is passed on, a loop that has ended meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future

import pytest

from tasuki.handlers.threads import outcome_of

pytestmark = pytest.mark.anyio


def unstoppable() -> None:
    """The cancel of a job that goes on."""


async def test_what_has_ended_already_is_not_waited_for() -> None:
    job: Future[int] = Future()
    job.set_result(7)
    waiting = outcome_of(job, unstoppable)
    with pytest.raises(StopIteration) as done:
        waiting.send(None)
    assert done.value.value == 7


async def test_the_end_in_another_thread_wakes_the_caller() -> None:
    job: Future[int] = Future()
    task = asyncio.ensure_future(outcome_of(job, unstoppable))
    await asyncio.sleep(0)
    thread = threading.Thread(target=job.set_result, args=(7,))
    thread.start()
    assert await task == 7
    thread.join()


async def test_a_cancel_is_passed_on_each_time_and_the_end_is_waited_for() -> None:
    job: Future[int] = Future()
    cancels: list[int] = []
    task = asyncio.ensure_future(outcome_of(job, lambda: cancels.append(1)))
    await asyncio.sleep(0)
    for count in (1, 2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        assert len(cancels) == count
    job.set_result(7)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_job_that_outlives_the_loop_tells_nobody(caplog: pytest.LogCaptureFixture) -> None:
    job: Future[int] = Future()
    loop = asyncio.new_event_loop()
    waiting = outcome_of(job, unstoppable)

    async def begin() -> None:
        waiting.send(None)

    loop.run_until_complete(begin())
    loop.close()
    with caplog.at_level(logging.DEBUG, "concurrent.futures"):
        job.set_result(7)
    waiting.close()
    assert not caplog.records
